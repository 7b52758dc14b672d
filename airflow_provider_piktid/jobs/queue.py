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
import uuid
import weakref
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

#: A task let through counts as an active job for this long, unless it comes back before.
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
class _Place:
    ready_at: float
    impatient_at: float
    until_job_ends: bool
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Turnstile:
    """One queue of waiting tasks, for one account and event loop."""

    def __init__(self) -> None:
        self._queue: deque[_Place] = deque()
        self._watched: Counter[str] = Counter()
        #: When jobs were submitted, by job id. ``time.monotonic()``, as all moments here.
        self._submitted: dict[str, float] = {}
        #: When tasks were let through that have not come back yet, by ticket.
        self._released: dict[str, float] = {}

    @contextlib.contextmanager
    def watching(
        self,
        job_ids: list[str],
        submitted_at: Mapping[str, float] | None = None,
        *,
        ticket: str | None = None,
    ) -> Iterator[Watching]:
        """
        Count jobs as active while they are watched, until :meth:`Watching.ended` says otherwise.

        :param submitted_at: Job id to submission time, epoch seconds: what the rate is counted by.
        :param ticket: The turn that led to these jobs, if one did.
        """
        self._returned(ticket)
        lead = time.monotonic() - time.time()
        self._submitted.update({job_id: moment + lead for job_id, moment in (submitted_at or {}).items()})
        watch = Watching(self, job_ids)
        try:
            yield watch
        finally:
            watch.close()

    async def turn(
        self, limits: Limits, delay: float, *, until_job_ends: bool = True, ticket: str | None = None
    ) -> str:
        """
        Return when it is this task's turn and a slot is likely.

        :param delay: Seconds not to try for, as the server was asked a moment ago.
        :param until_job_ends: A job that ends cuts the delay short, for the first such task in the queue.
        :param ticket: That of the task's last turn, which came to an end by this.
        :return: A ticket, to be shown when the task comes back with or without a new job.
        """
        self._returned(ticket)
        now = time.monotonic()
        place = _Place(now + delay, now + max(delay, PATIENCE_SECONDS), until_job_ends)
        self._queue.append(place)
        try:
            while (seconds := self._seconds_until(place, limits)) > 0:
                place.changed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await place.changed.wait()
            ticket = uuid.uuid4().hex
            self._released[ticket] = time.monotonic()
            return ticket
        finally:
            self._queue.remove(place)
            self._tell()

    def _returned(self, ticket: str | None) -> None:
        """What a turn led to is known: a job that is watched, or nothing."""
        if ticket and self._released.pop(ticket, None) is not None:
            self._tell()

    def _seconds_until(self, place: _Place, limits: Limits) -> float:
        now = time.monotonic()
        if place.ready_at > now:
            return place.ready_at - now
        if any(other.ready_at <= now for other in self._before(place)):
            return limits.rate_window
        _forget(self._submitted, before=now - limits.rate_window)
        _forget(self._released, before=now - max(limits.rate_window, SETTLING_SECONDS))
        recent = sorted(
            moment
            for moment in (*self._submitted.values(), *self._released.values())
            if moment > now - limits.rate_window
        )
        if len(recent) >= limits.jobs_per_minute:
            return recent[-limits.jobs_per_minute] + limits.rate_window - now
        settling = [moment for moment in self._released.values() if moment > now - SETTLING_SECONDS]
        if len(self._watched) + len(settling) < limits.active_jobs or place.impatient_at <= now:
            return 0.0
        settled = min(settling) + SETTLING_SECONDS if settling else place.impatient_at
        return max(0.01, min(settled, place.impatient_at) - now)

    def _before(self, place: _Place) -> Iterator[_Place]:
        for other in self._queue:
            if other is place:
                return
            yield other

    def _tell(self) -> None:
        for place in self._queue:
            place.changed.set()

    def job_ended(self) -> None:
        """Let the first waiting task try at once."""
        now = time.monotonic()
        for place in self._queue:
            if place.until_job_ends and place.ready_at > now:
                place.ready_at = now
                break
        self._tell()


class Watching:
    """Jobs that one trigger watches."""

    def __init__(self, turnstile: Turnstile, job_ids: list[str]) -> None:
        self._turnstile = turnstile
        self._open = set(job_ids)
        turnstile._watched.update(self._open)

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


def _forget(moments: dict[str, float], *, before: float) -> None:
    for name in [name for name, moment in moments.items() if moment <= before]:
        del moments[name]


_turnstiles: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Turnstile]] = (
    weakref.WeakKeyDictionary()
)


def turnstile(conn_id: str) -> Turnstile:
    """Return the queue of a connection on the running event loop."""
    return _turnstiles.setdefault(asyncio.get_running_loop(), {}).setdefault(conn_id, Turnstile())
