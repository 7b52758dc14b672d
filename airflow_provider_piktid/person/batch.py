# SPDX-License-Identifier: Apache-2.0
"""The steps of person generation: request each one once, download results, detect late ones."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.common.concurrency import run_bounded
from airflow_provider_piktid.common.paid import PaidRequests, Terms
from airflow_provider_piktid.common.protocols import SlotWait
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
from airflow_provider_piktid.files.receive import FETCH_TRIES
from airflow_provider_piktid.person.matching import Findings
from airflow_provider_piktid.person.record import Generation, PersonRecord, output_name

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidV1Client, PiktidV1Client
    from airflow_provider_piktid.files.storage import Location
    from airflow_provider_piktid.models.v1 import PersonNotification

#: Seconds between two tries while the rate limit is reached, if the server does not send `Retry-After`.
BUSY_SECONDS = 15.0


class PersonPort:
    """
    The port of the kernel for person generation.

    :param stagger: Seconds between the first request of a picture and the others.
    :param options: Passed through.
    :param upload: Uploads the picture again and updates the record; raises if that is impossible.
    """

    def __init__(
        self,
        record: PersonRecord,
        client: PiktidV1Client,
        *,
        stagger: float,
        options: Mapping[str, Any] | None,
        upload: Callable[[], None],
        log: Any,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._record = record
        self._client = client
        self._stagger = stagger
        self._options = options
        self._upload = upload
        self._log = log
        self._clock = clock
        self._renewed = False

    def ready(self, item: Generation) -> SlotWait | None:
        if self._record.id_image is None:
            self._upload()
        due = self._due()
        if due > self._clock():
            return SlotWait("the first request of a picture is sent before the others", due)
        item.id_image = self._record.id_image
        item.paid_requests += 1
        return None

    def _due(self) -> float:
        """Return when the next request may be sent: the others reuse intermediate results of the first one."""
        sent = [
            item.intent_at
            for item in self._record.generations
            if item.intent_at and item.id_image == self._record.id_image
        ]
        return min(sent) + self._stagger if sent else 0.0

    def send(self, item: Generation) -> None:
        group, word = item.keyword
        accepted = self._client.generate(
            item.id_image or "", item.id_person, {group: word}, options=self._options, wait=False
        )
        item.id_task = accepted.id_task
        self._log.info("Requested %s.", item.label)

    def find(self, item: Generation) -> None:
        """Return None: the outcome is in a notification, which is awaited with those of the other requests."""

    def refused(self, item: Generation, error: PiktidError) -> SlotWait | None:
        """Handle a refusal, after which nothing is paid. Earlier paid requests are still awaited."""
        item.paid_requests -= 1
        if isinstance(error, PiktidRateLimitError):
            pause = max(1.0, error.retry_after or BUSY_SECONDS * random.uniform(0.8, 1.2))
            self._log.info("Rate limit of the account reached; continuing in %.0f s.", pause)
            return SlotWait("submission rate limit of the account reached", self._clock() + pause)
        if isinstance(error, PiktidNotFoundError) and self._record.uploaded_at and not self._renewed:
            self._log.warning("PiktID no longer knows the uploaded picture; uploading it again.")
            self._renewed, self._record.id_image = True, None
            return None
        if not self._record.in_state("intent", "submitted", "done"):
            raise error
        self._log.warning("%s Waiting for the earlier requests.", error)
        self._record.refused_for_good = error.permanent
        for planned in self._record.in_state("planned"):
            planned.state, planned.error = "refused", str(error)
        return None

    def unknown(self, item: Generation) -> PiktidSubmissionError:
        raise AssertionError("unreachable: a lost reply is awaited, see `find`")

    def label(self, item: Generation) -> str:
        return item.label


class PersonBatch:
    """
    The generations of one record.

    :param requests: The kernel with the same record.
    :param save: Writes the record; called before and after each paid request.
    """

    def __init__(
        self,
        record: PersonRecord,
        client: PiktidV1Client,
        terms: Terms,
        requests: PaidRequests[Generation],
        *,
        save: Callable[[], None],
        log: Any,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._record = record
        self._client = client
        self._terms = terms
        self._requests = requests
        self._save = save
        self._log = log
        self._clock = clock

    def advance(self) -> SlotWait | None:
        """
        Send as many paid requests as possible now, and late ones again if ``on_lost_reply`` is ``resubmit``.

        :return: None if all are sent, otherwise what to wait for before calling this again.
        :raises PiktidError: The first request was refused, but not for the rate limit.
        """
        for item in self.late():
            # At most once each; one that PiktID accepted only in a later try.
            if item.state == "intent" or (item.intent_at or 0.0) < self._record.attached_at:
                self._requests.resubmit(item)
        wait = self._requests.advance()
        self._save()
        return wait

    def deadline(self, item: Generation) -> float:
        """Return the epoch second from which an outstanding generation counts as late."""
        grace = self._terms.lost_reply_grace
        limit = self._terms.timeout if item.state == "submitted" else grace
        return max((item.intent_at or 0.0) + limit, self._record.attached_at + min(limit, grace))

    def late(self) -> list[Generation]:
        """Return outstanding generations that this try no longer waits for."""
        now = self._clock()
        return [item for item in self._record.outstanding if self.deadline(item) <= now]

    def waiting(self) -> list[Generation]:
        """Return outstanding generations that this try waits for."""
        now = self._clock()
        return [item for item in self._record.outstanding if self.deadline(item) > now]

    # -- collecting -----------------------------------------------------------------------------------------

    def collect(
        self, findings: Findings, *, folder: Location | None, stem: str, delete: bool, limit: int
    ) -> None:
        """
        Download results and record failures. Notifications are deleted only afterwards.

        :param folder: Folder of the results; None: do not download them.
        :param delete: Delete the processed notifications.
        :param limit: Concurrent downloads.
        """
        if not findings.settled and not findings.ids:
            return
        items = {item.label: item for item in self._record.generations}
        for name in findings.assumed:
            self._log.warning("A result has no keyword; assuming that it is %s.", name)
        for name, reason in findings.failed.items():
            items[name].state, items[name].error = "failed", reason
            self._log.warning("PiktID failed to generate %s: %s", name, reason)
        found = [(items[name], notification) for name, notification in findings.found.items()]
        if folder is not None:
            self._client.run(self._fetch_all, found, folder, stem, limit)
        else:
            for item, _ in found:
                item.state, item.error = "done", None
        processed = [mark for mark in findings.ids if not self._is_needed(mark, found)]
        self._record.used = list(dict.fromkeys([*self._record.used, *processed]))
        self._save()
        if delete:
            self._client.run(delete_ids, processed)

    @staticmethod
    def _is_needed(mark: int | str, found: list[tuple[Generation, PersonNotification]]) -> bool:
        """Return whether a notification is needed for a result that could not be downloaded."""
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
                item.state, item.error = "expired", f"generated, but not downloaded: {reason}"
                self._log.warning("%s: %s", item.label, item.error)
            else:
                item.state, item.error = "done", None
                self._log.info("Downloaded %s: %s", item.label, item.file)

        await run_bounded(fetch, found, limit)


async def delete_ids(client: AsyncPiktidV1Client, marks: list[int | str]) -> None:
    """
    Delete processed notifications; those without an id cannot be deleted.

    A failure does not fail a paid task, as they expire after ten minutes.
    """

    async def delete(mark: int | str) -> None:
        if isinstance(mark, int):
            with contextlib.suppress(PiktidError):
                await client.delete_notification(mark)

    await run_bounded(delete, marks, 8)


async def _fetch(
    client: AsyncPiktidV1Client, link: str, item: Generation, folder: Location, stem: str
) -> str:
    """Download one picture atomically and return its URI."""

    async def save(stream: Any) -> str:
        async with receive.receive(folder, stream.chunks(), "person") as received:
            if not await receive.is_whole_picture(received):
                raise PiktidDownloadError(f"it is truncated or not an image ({received.size} bytes)")
            found = formats.sniff(received.head)
            target = folder.join(output_name(stem, item, formats.EXTENSIONS[found][0] if found else ".jpg"))
            await receive.publish(received, target)
            return target.uri

    for attempt in range(1, FETCH_TRIES + 1):
        try:
            return await client.fetch(link, save)
        except (PiktidConnectionError, PiktidDownloadError, PiktidAPIError, PiktidResponseError) as error:
            if attempt == FETCH_TRIES or isinstance(error, PiktidLinkError):
                raise
    raise AssertionError("unreachable")
