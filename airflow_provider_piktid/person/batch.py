# SPDX-License-Identifier: Apache-2.0
"""The steps of person generation: ask, each once; fetch what came; say what is late."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_piktid.common.task import run_bounded
from airflow_provider_piktid.exceptions import (
    PiktidAPIError,
    PiktidConnectionError,
    PiktidDownloadError,
    PiktidError,
    PiktidLinkError,
    PiktidNotFoundError,
    PiktidRateLimitError,
    PiktidResponseError,
    PiktidSubmissionError,
)
from airflow_provider_piktid.files import formats, receive
from airflow_provider_piktid.person.record import Findings, Generation, PersonRecord, output_name

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidV1Client, PiktidV1Client
    from airflow_provider_piktid.files.storage import Location
    from airflow_provider_piktid.models.v1 import PersonNotification

#: Between two tries while the account takes no more requests, if the server does not say.
BUSY_SECONDS = 15.0

#: A picture that arrives cut off is fetched again this often.
FETCH_TRIES = 3


@dataclass(frozen=True)
class Terms:
    """
    What the DAG author decided about asking and waiting.

    :param stagger: Seconds between the first request of a picture and the others.
    :param timeout: Seconds from a request until it counts as late.
    :param grace: The same for a request whose reply was lost, and for what a retry finds late already.
    :param on_ambiguous: ``fail``, or ``resubmit`` once what stays unknown.
    :param options: Passed through.
    """

    stagger: float
    timeout: float
    grace: float
    on_ambiguous: Literal["fail", "resubmit"]
    options: Mapping[str, Any] | None


class PersonBatch:
    """
    The generations of one record.

    :param upload: Uploads the picture again and notes it in the record; raises if that is impossible.
    :param save: Writes the record; called before and after each paid request.
    """

    def __init__(
        self,
        record: PersonRecord,
        client: PiktidV1Client,
        terms: Terms,
        *,
        upload: Callable[[], None],
        save: Callable[[], None],
        log: Any,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._record = record
        self._client = client
        self._terms = terms
        self._upload = upload
        self._save = save
        self._log = log
        self._clock = clock
        self._renewed = False

    # -- asking ---------------------------------------------------------------------------------------------

    def ask(self) -> float | None:
        """
        Send as many paid requests as it is time for.

        :return: None if all were sent, else the epoch second to call this again at.
        :raises PiktidError: The first request was refused for another reason than the rate.
        """
        while planned := self._record.in_state("planned"):
            if self._record.id_image is None:
                self._upload()
            due = self._due()
            if due > self._clock():
                return due
            busy_until = self._ask_one(planned[0])
            if busy_until is not None:
                return busy_until
        return None

    def _due(self) -> float:
        """The first request of a picture goes alone: it makes what the others reuse."""
        asked = [
            item.asked_at
            for item in self._record.generations
            if item.asked_at and item.id_image == self._record.id_image
        ]
        return min(asked) + self._terms.stagger if asked else 0.0

    def _ask_one(self, item: Generation) -> float | None:
        item.state, item.id_image, item.asked_at = "intent", self._record.id_image, self._clock()
        item.asks += 1
        self._save()
        group, word = item.keyword
        try:
            accepted = self._client.generate(
                item.id_image or "", item.id_person, {group: word}, options=self._terms.options, wait=False
            )
        except PiktidSubmissionError as error:
            self._log.warning("%s Looking for its notification before anything else.", error)
            return None
        except PiktidError as error:
            item.plan_again()
            item.asks -= 1
            return self._refused(item, error)
        item.state, item.id_task = "requested", accepted.id_task
        self._save()
        self._log.info("Asked for %s.", item.label)
        return None

    def _refused(self, item: Generation, error: PiktidError) -> float | None:
        """Nothing was paid. What was paid before is waited for all the same."""
        self._save()
        if isinstance(error, PiktidRateLimitError):
            pause = error.retry_after or BUSY_SECONDS * random.uniform(0.8, 1.2)
            self._log.info("The account takes no more requests now; going on in %.0f s.", pause)
            return self._clock() + max(1.0, pause)
        if isinstance(error, PiktidNotFoundError) and self._record.uploaded_at and not self._renewed:
            self._log.warning("PiktID does not know the uploaded picture any more; uploading it again.")
            self._renewed, self._record.id_image = True, None
            return None
        if not self._record.in_state("intent", "requested", "done"):
            raise error
        self._log.warning("%s Waiting for what was asked for before.", error)
        self._record.refused_for_good = error.permanent
        for planned in self._record.in_state("planned"):
            planned.state, planned.error = "refused", str(error)
        self._save()
        return None

    # -- waiting --------------------------------------------------------------------------------------------

    def deadline(self, item: Generation) -> float:
        """Epoch second from which an outstanding generation counts as late."""
        limit = self._terms.timeout if item.state == "requested" else self._terms.grace
        return max((item.asked_at or 0.0) + limit, self._record.attached_at + min(limit, self._terms.grace))

    def late(self) -> list[Generation]:
        """Outstanding generations that are waited for no longer in this try."""
        now = self._clock()
        return [item for item in self._record.outstanding if self.deadline(item) <= now]

    def waiting(self) -> list[Generation]:
        now = self._clock()
        return [item for item in self._record.outstanding if self.deadline(item) > now]

    def resubmit_late(self) -> None:
        """Plan late ones again where the DAG author chose to; each once, and not in the try that asked for it."""
        if self._terms.on_ambiguous != "resubmit":
            return
        for item in self.late():
            asked_before = (item.asked_at or 0.0) < self._record.attached_at
            if item.resubmitted or (item.state == "requested" and not asked_before):
                continue
            self._log.warning("Nothing came of %s; asking again as told, which may pay twice.", item.label)
            item.plan_again()
            item.resubmitted = True
            self._save()

    # -- collecting -----------------------------------------------------------------------------------------

    def collect(
        self, findings: Findings, *, folder: Location | None, stem: str, delete: bool, limit: int
    ) -> None:
        """
        Make results safe and note failures. Notifications are deleted only after that.

        :param folder: Where pictures go; None: nowhere, and their notifications stay.
        :param limit: Downloads at once.
        """
        if not findings.settled and not findings.ids:
            return
        items = {item.label: item for item in self._record.generations}
        for name in findings.assumed:
            self._log.warning("PiktID did not say which keyword a result is for; taken as %s.", name)
        for name, reason in findings.failed.items():
            items[name].state, items[name].error = "failed", reason
            self._log.warning("PiktID failed to generate %s: %s", name, reason)
        found = [(items[name], notification) for name, notification in findings.found.items()]
        if folder is not None:
            self._client.run(self._fetch_all, found, folder, stem, limit)
        else:
            for item, _ in found:
                item.state, item.error = "done", None
        spent = [mark for mark in findings.ids if not self._keeps(mark, found)]
        self._record.used = list(dict.fromkeys([*self._record.used, *spent]))
        self._save()
        if delete:
            self._client.run(delete_ids, spent)

    @staticmethod
    def _keeps(mark: int | str, found: list[tuple[Generation, PersonNotification]]) -> bool:
        """Whether a notification still has to lead to a result that could not be fetched."""
        return any(item.state != "done" and notification.identity == mark for item, notification in found)

    async def _fetch_all(
        self,
        client: AsyncPiktidV1Client,
        found: list[tuple[Generation, PersonNotification]],
        folder: Location,
        stem: str,
        limit: int,
    ) -> None:
        async def fetch(pair: tuple[Generation, PersonNotification]) -> None:
            item, notification = pair
            try:
                item.file = await _fetch(client, notification.link or "", item, folder, stem)
            except (PiktidError, OSError) as error:
                reason = str(error) if isinstance(error, PiktidError) else type(error).__name__
                item.state, item.error = "expired", f"made, but not fetched: {reason}"
                self._log.warning("%s: %s", item.label, item.error)
            else:
                item.state, item.error = "done", None
                self._log.info("Fetched %s: %s", item.label, item.file)

        await run_bounded(fetch, found, limit)


async def delete_ids(client: AsyncPiktidV1Client, marks: list[int | str]) -> None:
    """
    Delete notifications that were used; those without an id cannot be.

    A failure is no reason to fail a paid task: they expire by themselves after ten minutes.
    """

    async def delete(mark: int | str) -> None:
        if isinstance(mark, int):
            with contextlib.suppress(PiktidError):
                await client.delete_notification(mark)

    await run_bounded(delete, marks, 8)


async def _fetch(
    client: AsyncPiktidV1Client, link: str, item: Generation, folder: Location, stem: str
) -> str:
    """Fetch one picture; it appears under its name only once it is whole."""

    async def land(stream: Any) -> str:
        async with receive.collect(folder, stream.chunks(), "person") as landed:
            if not await receive.holds_picture(landed):
                raise PiktidDownloadError(f"it arrived cut off or is no picture ({landed.size} bytes)")
            found = formats.sniff(landed.head)
            target = folder.join(output_name(stem, item, formats.EXTENSIONS[found][0] if found else ".jpg"))
            await receive.publish(landed, target)
            return target.uri

    for attempt in range(1, FETCH_TRIES + 1):
        try:
            return await client.fetch(link, land)
        except (PiktidConnectionError, PiktidDownloadError, PiktidAPIError, PiktidResponseError) as error:
            if attempt == FETCH_TRIES or isinstance(error, PiktidLinkError):
                raise
    raise AssertionError("unreachable")
