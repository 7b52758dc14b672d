# SPDX-License-Identifier: Apache-2.0
"""Paid work that is one request: what a promotion and an extraction have in common."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from airflow_provider_piktid.common.paid import PaidRequests, RecordedWork, Terms
from airflow_provider_piktid.common.protocols import SlotWait, Step
from airflow_provider_piktid.common.records import PaidRecord, Store
from airflow_provider_piktid.exceptions import PiktidError, PiktidSubmissionError
from airflow_provider_piktid.jobs.queue import AccountLimits
from airflow_provider_piktid.jobs.submission import wait_for_limit
from airflow_provider_piktid.jobs.waiting import SyncWaiter, slot_timeout, slot_wait

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidClient
    from airflow_provider_piktid.common.events import JobEvent
    from airflow_provider_piktid.common.records import CurrentTask
    from airflow_provider_piktid.hooks.piktid import PiktidSettings


@dataclass
class OneRequestRecord(PaidRecord):
    """The record of one request, a ``PaidRequest``."""

    item: Any

    @property
    def is_sent(self) -> bool:
        return bool(self.item.state == "submitted")


R = TypeVar("R", bound=OneRequestRecord)


class OneRequestRun(RecordedWork[R]):
    """
    What one process does of a task that pays for one request. It is its own port to the kernel.

    PiktID lists nothing that shows what became of a lost reply.
    """

    #: What is waited for, for messages.
    pending: ClassVar[str]

    def __init__(
        self,
        terms: Terms,
        *,
        task: CurrentTask,
        settings: PiktidSettings,
        client: PiktidClient,
        store: Store[R],
        parse: Callable[[Any], R],
        log: Any,
    ) -> None:
        super().__init__(store, parse, log)
        self._terms = terms
        self._task = task
        self._settings = settings
        self._client = client
        self._limits = AccountLimits(settings.jobs_per_minute, settings.active_jobs, settings.rate_window)
        self._queue_until = time.time() + terms.queue_timeout

    @property
    def outstanding(self) -> list[str]:
        """The request is answered at once: nothing of it still runs."""
        return []

    def leave(self) -> None:
        """There is nothing to publish before the end."""

    @abstractmethod
    def _sent(self) -> Step:
        """Go on after the request."""

    def _submit(self) -> Step:
        requests = PaidRequests([self.record.item], self, self._terms, save=self.save, log=self.log)
        wait = requests.advance()
        if wait is None:
            return self._sent()
        self.save()
        if time.time() >= self._queue_until:
            raise self._no_room()
        return slot_wait(
            wait,
            self._waiter(),
            active=[],
            unsent=1,
            until=self._queue_until,
            state=self._state() | {"queue_until": self._queue_until},
            message=f"{self.pending}; waiting: {wait.reason}.",
        )

    def _after_room(self, event: JobEvent) -> Step:
        """Go on after a wait for room in the account."""
        event.require("slot", "timeout")
        self._queue_until = float(event.resume_state.get("queue_until") or self._queue_until)
        if event.status == "timeout":
            raise self._no_room()
        return self._submit()

    def _no_room(self) -> Exception:
        return slot_timeout(self._terms.connection, 1, 1, self._terms.queue_timeout, [])

    def _state(self) -> dict[str, Any]:
        """Return what a wait hands back."""
        return {"record": self.record.to_json()}

    def _waiter(self) -> SyncWaiter:
        return SyncWaiter(self._client, self._settings, self._terms.poll_interval, self.log)

    # -- the port -------------------------------------------------------------------------------------------

    def ready(self, item: Any) -> SlotWait | None:
        return None

    @abstractmethod
    def send(self, item: Any) -> None: ...

    def find(self, item: Any) -> bool:
        return False

    def refused(self, item: Any, error: PiktidError) -> SlotWait:
        return wait_for_limit(error, self._limits, time.time())

    @abstractmethod
    def unknown(self, item: Any) -> PiktidSubmissionError: ...

    @abstractmethod
    def label(self, item: Any) -> str: ...
