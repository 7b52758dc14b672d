# SPDX-License-Identifier: Apache-2.0
"""
The queue in which the tasks of one triggerer process wait to submit.

An account has limits for submissions per minute and for active jobs. If every waiting task tried whenever a job
ends, most requests would be refused. So tasks queue here, and one is released when a slot is likely to be free. This
only reduces requests and is not a lock: it does not know other processes, and the server decides. A released task
counts with all jobs that it may submit: otherwise a second one would start, be refused, and wait again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
import weakref
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from airflow_provider_piktid.get_provider_info import (
    DEFAULT_ACTIVE_JOBS,
    DEFAULT_JOBS_PER_MINUTE,
    DEFAULT_RATE_WINDOW,
)

#: The jobs of a released task count as active for this long, unless it returns earlier.
SETTLING_SECONDS = 20.0

#: The first task of the queue is released after this long even if the limits still seem to be reached: the counts of
#: this process may be outdated, and a refused request is free.
PATIENCE_SECONDS = 60.0

#: Submissions are counted for this long; rate windows are shorter.
KEPT_SECONDS = 3600.0


@dataclass(frozen=True)
class AccountLimits:
    """
    The limits of an account.

    :param jobs_per_minute: Submissions in each window. Default: 5, PiktID's limit.
    :param active_jobs: Concurrent jobs. Default: 5, PiktID's limit.
    :param rate_window: Length of the window in seconds. Default: 60.
    """

    jobs_per_minute: int = DEFAULT_JOBS_PER_MINUTE
    active_jobs: int = DEFAULT_ACTIVE_JOBS
    rate_window: float = DEFAULT_RATE_WINDOW


@dataclass(eq=False)
class _Place:
    ready_at: float
    impatient_at: float
    until_job_ends: bool
    jobs: int
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class AdmissionQueue:
    """
    One queue of waiting tasks, for one account and event loop.

    :param settling: Seconds for which the jobs of a released task count as active. Default: 20.
    :param patience: Seconds after which the first task is released even if the account looks full. Default: 60.
    """

    def __init__(self, settling: float = SETTLING_SECONDS, patience: float = PATIENCE_SECONDS) -> None:
        self._settling = settling
        self._patience = patience
        self._queue: deque[_Place] = deque()
        self._watched: Counter[str] = Counter()
        #: Job id to the time of its submission. ``time.monotonic()``, as all times here.
        self._submitted: dict[str, float] = {}
        #: Ticket to the times of the release, one for each job to submit, for tasks that have not returned yet.
        self._released: dict[str, list[float]] = {}

    def watching(
        self,
        job_ids: list[str],
        submitted_at: Mapping[str, float] | None = None,
        *,
        ticket: str | None = None,
    ) -> ActiveJobs:
        """
        Count jobs as active until the end of a ``with`` block, or until :meth:`ActiveJobs.ended` is called for one.

        :param submitted_at: Job id to submission time, epoch seconds, for the rate limit.
        :param ticket: Ticket of the turn in which these jobs were submitted. Default: none.
        """
        self._returned(ticket)
        lead = time.monotonic() - time.time()
        _forget(self._submitted, before=time.monotonic() - KEPT_SECONDS)
        self._submitted.update({job_id: moment + lead for job_id, moment in (submitted_at or {}).items()})
        return ActiveJobs(self, job_ids)

    async def turn(
        self,
        limits: AccountLimits,
        delay: float,
        *,
        until_job_ends: bool = True,
        jobs: int = 1,
        ticket: str | None = None,
    ) -> str:
        """
        Return when it is this task's turn and a slot is likely.

        :param delay: Seconds before which trying is pointless, as the server has just refused.
        :param until_job_ends: Whether the end of a job ends the delay, for the first such task in the queue. Default:
            True.
        :param jobs: Jobs that the task has still to submit. Default: 1.
        :param ticket: Ticket of the task's last turn, which ends with this call. Default: none.
        :return: A ticket, to be passed when the task returns with or without a new job.
        """
        self._returned(ticket)
        now = time.monotonic()
        at_once = max(1, min(jobs, limits.active_jobs, limits.jobs_per_minute))
        place = _Place(now + delay, now + max(delay, self._patience), until_job_ends, at_once)
        self._queue.append(place)
        try:
            while (seconds := self._seconds_until(place, limits)) > 0:
                place.changed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await place.changed.wait()
            ticket = uuid.uuid4().hex
            self._released[ticket] = [time.monotonic()] * place.jobs
            return ticket
        finally:
            self._queue.remove(place)
            self._wake()

    def _returned(self, ticket: str | None) -> None:
        """End a turn: the task has returned with or without a new job."""
        if ticket and self._released.pop(ticket, None) is not None:
            self._wake()

    def _seconds_until(self, place: _Place, limits: AccountLimits) -> float:
        now = time.monotonic()
        if place.ready_at > now:
            return place.ready_at - now
        if any(other.ready_at <= now for other in self._before(place)):
            return limits.rate_window
        _forget(self._submitted, before=now - limits.rate_window)
        self._forget_released(before=now - max(limits.rate_window, self._settling))
        released = [moment for moments in self._released.values() for moment in moments]
        recent = sorted(
            moment for moment in (*self._submitted.values(), *released) if moment > now - limits.rate_window
        )
        if len(recent) >= limits.jobs_per_minute:
            return recent[-limits.jobs_per_minute] + limits.rate_window - now
        settling = [moment for moment in released if moment > now - self._settling]
        if len(self._watched) + len(settling) < limits.active_jobs or place.impatient_at <= now:
            return 0.0
        settled = min(settling) + self._settling if settling else place.impatient_at
        return max(0.01, min(settled, place.impatient_at) - now)

    def _forget_released(self, *, before: float) -> None:
        self._released = {ticket: times for ticket, times in self._released.items() if times[0] > before}

    def _before(self, place: _Place) -> Iterator[_Place]:
        for other in self._queue:
            if other is place:
                return
            yield other

    def _wake(self) -> None:
        for place in self._queue:
            place.changed.set()

    def count_in(self, job_ids: Iterable[str]) -> None:
        """Count jobs as active; several triggers may watch the same jobs."""
        self._watched.update(job_ids)

    def count_out(self, job_ids: Iterable[str]) -> None:
        self._watched.subtract(job_ids)
        self._watched = +self._watched

    def job_ended(self) -> None:
        """Release the first waiting task at once."""
        now = time.monotonic()
        for place in self._queue:
            if place.until_job_ends and place.ready_at > now:
                place.ready_at = now
                break
        self._wake()


class ActiveJobs:
    """The active jobs that one trigger watches; a context manager."""

    __slots__ = ("_open", "_queue")

    def __init__(self, queue: AdmissionQueue, job_ids: list[str]) -> None:
        self._queue = queue
        self._open = list(dict.fromkeys(job_ids))
        queue.count_in(self._open)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.count_out(self._open)
        self._open = []

    def ended(self, job_id: str) -> None:
        """Stop counting a job and release the next task."""
        if job_id in self._open:
            self._open.remove(job_id)
            self._queue.count_out([job_id])
            self._queue.job_ended()


def _forget(moments: dict[str, float], *, before: float) -> None:
    for name in [name for name, moment in moments.items() if moment <= before]:
        del moments[name]


_queues: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, AdmissionQueue]] = (
    weakref.WeakKeyDictionary()
)


def admission_queue(conn_id: str) -> AdmissionQueue:
    """Return the queue of a connection on the running event loop."""
    return _queues.setdefault(asyncio.get_running_loop(), {}).setdefault(conn_id, AdmissionQueue())
