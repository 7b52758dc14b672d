# SPDX-License-Identifier: Apache-2.0
"""
Who may try to submit next, among the waiting tasks of one triggerer process.

An account allows so many submissions a minute and so many jobs at once. Waking every waiting task whenever a
job ends would send a herd of refused requests; so they queue here, and one is let through when a slot is
likely. It is a brake, not a lock: other processes are not seen, and the server's refusal stays the authority.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

#: A task let through counts as an active job for this long, until its trigger watches the new job.
SETTLING_SECONDS = 20.0

#: A task at the head of the queue goes through after this long even if the account still looks full:
#: what this process believes may be wrong, and asking is free.
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Limits:
    """
    What the account allows.

    :param jobs_per_minute: Submissions in each window.
    :param active_jobs: Jobs at once.
    :param rate_window: Length of the window in seconds.
    """

    jobs_per_minute: int = 5
    active_jobs: int = 5
    rate_window: float = 60.0


@dataclass(eq=False)
class _Ticket:
    ready_at: float
    impatient_at: float
    until_job_ends: bool
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Turnstile:
    """One queue of waiting tasks, for one account and event loop."""

    def __init__(self) -> None:
        self._queue: deque[_Ticket] = deque()
        self._watched: Counter[str] = Counter()
        self._released: deque[float] = deque()
        self._settling: deque[float] = deque()

    @contextlib.contextmanager
    def watching(self, job_ids: list[str]) -> Iterator[Watching]:
        """Count jobs as active while they are watched, until :meth:`Watching.ended` says otherwise."""
        watch = Watching(self, job_ids)
        try:
            yield watch
        finally:
            watch.close()

    async def turn(self, limits: Limits, delay: float, *, until_job_ends: bool = True) -> None:
        """
        Return when it is this task's turn and a slot is likely.

        :param delay: Seconds not to try for, as the server was asked a moment ago.
        :param until_job_ends: A job that ends cuts the delay short, for the first such task in the queue.
        """
        now = time.monotonic()
        ticket = _Ticket(now + delay, now + max(delay, PATIENCE_SECONDS), until_job_ends)
        self._queue.append(ticket)
        try:
            while (seconds := self._seconds_until(ticket, limits)) > 0:
                ticket.changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ticket.changed.wait(), seconds)
            self._released.append(time.monotonic())
            self._settling.append(time.monotonic())
        finally:
            self._queue.remove(ticket)
            self._tell()

    def _seconds_until(self, ticket: _Ticket, limits: Limits) -> float:
        now = time.monotonic()
        if ticket.ready_at > now:
            return ticket.ready_at - now
        if any(other.ready_at <= now for other in self._before(ticket)):
            return limits.rate_window
        _forget(self._released, before=now - limits.rate_window)
        _forget(self._settling, before=now - SETTLING_SECONDS)
        if len(self._released) >= limits.jobs_per_minute:
            return self._released[-limits.jobs_per_minute] + limits.rate_window - now
        if len(self._watched) + len(self._settling) < limits.active_jobs or ticket.impatient_at <= now:
            return 0.0
        settled = self._settling[0] + SETTLING_SECONDS if self._settling else ticket.impatient_at
        return max(0.01, min(settled, ticket.impatient_at) - now)

    def _before(self, ticket: _Ticket) -> Iterator[_Ticket]:
        for other in self._queue:
            if other is ticket:
                return
            yield other

    def _tell(self) -> None:
        for ticket in self._queue:
            ticket.changed.set()

    def job_ended(self) -> None:
        """Let the first waiting task try at once."""
        now = time.monotonic()
        for ticket in self._queue:
            if ticket.until_job_ends and ticket.ready_at > now:
                ticket.ready_at = now
                break
        self._tell()


class Watching:
    """Jobs that one trigger watches."""

    def __init__(self, turnstile: Turnstile, job_ids: list[str]) -> None:
        self._turnstile = turnstile
        self._open = set(job_ids)
        turnstile._watched.update(self._open)
        # A task that was let through and now watches its job is counted by the job from here on.
        for _ in range(min(len(self._open), len(turnstile._settling))):
            turnstile._settling.popleft()

    def ended(self, job_id: str) -> None:
        if job_id in self._open:
            self._drop(job_id)
            self._turnstile.job_ended()

    def close(self) -> None:
        for job_id in list(self._open):
            self._drop(job_id)

    def _drop(self, job_id: str) -> None:
        self._open.discard(job_id)
        self._turnstile._watched[job_id] -= 1
        if self._turnstile._watched[job_id] <= 0:
            del self._turnstile._watched[job_id]


def _forget(moments: deque[float], *, before: float) -> None:
    while moments and moments[0] <= before:
        moments.popleft()


_turnstiles: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Turnstile]] = (
    weakref.WeakKeyDictionary()
)


def turnstile(conn_id: str) -> Turnstile:
    """Return the queue of a connection on the running event loop."""
    return _turnstiles.setdefault(asyncio.get_running_loop(), {}).setdefault(conn_id, Turnstile())
