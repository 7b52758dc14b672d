# SPDX-License-Identifier: Apache-2.0
"""Paid requests that start no job: what regenerations, promotions and extractions have in common."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_piktid.common.paid import PaidRequests, RecordedWork, Terms
from airflow_provider_piktid.common.protocols import SlotWait, Step
from airflow_provider_piktid.common.records import PaidRecord, Store
from airflow_provider_piktid.exceptions import PiktidError, PiktidJobTimeout, PiktidSubmissionError
from airflow_provider_piktid.jobs.queue import AccountLimits
from airflow_provider_piktid.jobs.submission import wait_for_limit
from airflow_provider_piktid.jobs.waiting import SyncWaiter, slot_timeout, slot_wait

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidClient
    from airflow_provider_piktid.common.events import JobEvent
    from airflow_provider_piktid.common.records import CurrentTask
    from airflow_provider_piktid.hooks.piktid import PiktidSettings

R = TypeVar("R", bound=PaidRecord)


class RequestRun(RecordedWork[R]):
    """
    What one process does of a task that pays for requests. It is its own port to the kernel.

    :param parse: Reads the record.
    """

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
        """The requests start no job that this task could name."""
        return []

    def leave(self) -> None:
        """There is nothing to publish before the end."""

    @property
    @abstractmethod
    def _items(self) -> list[Any]:
        """The paid requests of the record."""

    @property
    def _unsent(self) -> int:
        return sum(item.state != "submitted" for item in self._items)

    @abstractmethod
    def _progress(self) -> str:
        """Return what is not sent yet, for messages."""

    @abstractmethod
    def _sent(self) -> Step:
        """Go on after all requests."""

    def _submit(self) -> Step:
        wait = PaidRequests(self._items, self, self._terms, save=self.save, log=self.log).advance()
        if wait is None:
            return self._sent()
        self.save()
        if time.time() >= self._queue_until:
            raise self._no_room()
        return slot_wait(
            wait,
            self._waiter(),
            active=[],
            unsent=self._unsent,
            until=self._queue_until,
            state=self._state() | {"queue_until": self._queue_until},
            message=f"{self._progress()}; waiting: {wait.reason}.",
        )

    def _after_room(self, event: JobEvent) -> Step:
        """Go on after a wait for room in the account."""
        event.require("slot", "timeout")
        self._queue_until = float(event.resume_state.get("queue_until") or self._queue_until)
        if event.status == "timeout":
            raise self._no_room()
        return self._submit()

    def _no_room(self) -> PiktidJobTimeout:
        terms = self._terms
        return slot_timeout(
            terms.connection, self._unsent, len(self._items), terms.queue_timeout, self.record.job_ids
        )

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

    @abstractmethod
    def find(self, item: Any) -> bool: ...

    def refused(self, item: Any, error: PiktidError) -> SlotWait:
        return wait_for_limit(error, self._limits, time.time())

    @abstractmethod
    def unknown(self, item: Any) -> PiktidSubmissionError: ...

    @abstractmethod
    def label(self, item: Any) -> str: ...
