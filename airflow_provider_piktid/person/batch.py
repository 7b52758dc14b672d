# SPDX-License-Identifier: Apache-2.0
"""The paid requests of a person generation: send each one once, detect late ones."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.common import metrics
from airflow_provider_piktid.common.paid import PaidRequests, Terms
from airflow_provider_piktid.common.protocols import SlotWait
from airflow_provider_piktid.exceptions import (
    PiktidError,
    PiktidNotFoundError,
    PiktidRateLimitError,
    PiktidSubmissionError,
)
from airflow_provider_piktid.person.record import Generation, PersonRecord

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidV1Client

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
        metrics.count("generations.submitted")
        self._log.info("Requested %s.", item.label)

    def find(self, item: Generation) -> None:
        """Return None: the outcome is in a notification, which is awaited with those of the other requests."""

    def refused(self, item: Generation, error: PiktidError) -> SlotWait | None:
        """Handle a refusal, after which nothing is paid. Earlier paid requests are still awaited."""
        item.paid_requests -= 1
        if isinstance(error, PiktidRateLimitError):
            pause = max(1.0, error.retry_after or BUSY_SECONDS * random.uniform(0.8, 1.2))
            metrics.count("refused.rate")
            metrics.waited("room.wait", pause)
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
        terms: Terms,
        requests: PaidRequests[Generation],
        *,
        save: Callable[[], None],
    ) -> None:
        self._record = record
        self._terms = terms
        self._requests = requests
        self._save = save

    def advance(self, now: float) -> SlotWait | None:
        """
        Send as many paid requests as possible, and late ones again if ``on_lost_reply`` is ``resubmit``.

        :param now: Epoch second at which a request is late or not. Sending takes time, and :meth:`waiting` needs the
            same one: otherwise a request that becomes late in between is neither sent nor awaited.
        :return: None if all are sent, otherwise what to wait for before calling this again.
        :raises PiktidError: The first request was refused, but not for the rate limit.
        """
        for item in self._late(now):
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

    def waiting(self, now: float) -> list[Generation]:
        """Return outstanding generations that this try waits for."""
        return [item for item in self._record.outstanding if self.deadline(item) > now]

    def _late(self, now: float) -> list[Generation]:
        """Return outstanding generations that this try no longer waits for."""
        return [item for item in self._record.outstanding if self.deadline(item) <= now]
