# SPDX-License-Identifier: Apache-2.0
"""
Wait for jobs, for triggers and the sync path.

Only the status counts, notifications are hints: subscribe, then get the status, and get it again at every event of
these jobs, at every reconnect, and every two minutes. Without a stream, poll. All waits of an account share one stream
and one client, see ``jobs.hub``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from airflow_provider_piktid.common.concurrency import run_bounded
from airflow_provider_piktid.common.events import JobEvent
from airflow_provider_piktid.exceptions import (
    TRANSIENT_ERRORS,
    PiktidAuthError,
    PiktidError,
    PiktidNotFoundError,
)
from airflow_provider_piktid.jobs.hub import Connect, subscribe
from airflow_provider_piktid.jobs.outcome import LOST

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidClient
    from airflow_provider_piktid.models.v2 import Job, Notification

log = logging.getLogger(__name__)

_TERMINAL_WORDS = frozenset({"completed", "failed", "aborted", "error"})


@dataclass(frozen=True)
class WatchOptions:
    """
    How to wait.

    :param until: ``all``: return when every job has ended; ``any``: when at least one has. Default: ``all``.
    :param end_time: Deadline, epoch seconds. Default: none.
    :param poll_interval: Seconds between two status requests of a job while there is no stream, or more if so many wait
        that they would send more than 20 requests a second. Default: 10.
    :param status_interval: The same while there is a stream; the maximum delay if the last event is lost. Default:
        120.
    :param lost_tries: A job counts as lost after this many answers 404 in a row ...
    :param lost_seconds: ... over at least so many seconds. Default: 5 and 30; the official clients accept ten
        answers three seconds apart.
    :param subscribe_seconds: How long the first status request waits for the subscription. Default: 5.
    :param coalesce_seconds: Progress events within this time lead to one status request. Default: 1.
    :param lookup_failures: Consecutive failures to look up the connection before giving up. Default: 5.
    :param stream: Whether to listen to notifications. Default: True.
    """

    until: Literal["all", "any"] = "all"
    end_time: float = float("inf")
    poll_interval: float = 10.0
    status_interval: float = 120.0
    lost_tries: int = 5
    lost_seconds: float = 30.0
    subscribe_seconds: float = 5.0
    coalesce_seconds: float = 1.0
    lookup_failures: int = 5
    stream: bool = True


@dataclass(slots=True)
class WatchResult:
    """
    The result of a wait. With ``all``, jobs are missing only if ``timed_out`` is set.

    :param ended: Job id to status word, for the jobs that have ended.
    :param notification_ids: Notifications of these jobs, at most 1,000; the others expire after ten minutes.
    """

    ended: dict[str, str] = field(default_factory=dict)
    notification_ids: list[int] = field(default_factory=list)
    timed_out: bool = False

    def to_event(self) -> JobEvent:
        """Return the trigger event with this result."""
        return JobEvent(
            "timeout" if self.timed_out else "done",
            ended=self.ended,
            notification_ids=self.notification_ids,
        )


#: Called with each status that differs from the last one of the same job.
ProgressCallback = Callable[["Job"], None]


class JobWatcher:
    """
    Waits for one set of jobs.

    :param connect: Looks up the connection. Called again after a failure, and after the token was refused, as it may
        have been replaced in the connection.
    """

    #: Notification ids kept for deletion; the others expire after ten minutes.
    MAX_NOTIFICATION_IDS = 1000

    def __init__(
        self,
        connect: Connect,
        job_ids: Iterable[str],
        options: WatchOptions,
        *,
        on_change: ProgressCallback | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._job_ids = tuple(dict.fromkeys(job_ids))
        self._options = options
        self._on_change = on_change or (lambda job: None)
        self._clock = clock
        self._subscription = subscribe(
            connect, job_ids=self._job_ids, on_hint=self._hint, on_live=self._set_live, stream=options.stream
        )
        self._result = WatchResult()
        #: Job id to what was reported of it last. Not the jobs themselves: a thousand waits keep little.
        self._seen: dict[str, tuple[object, ...]] = {}
        #: Job id to the time of the first of its answers 404 in a row, and their number.
        self._missing: dict[str, tuple[float, int]] = {}
        self._hinted: dict[str, None] = {}
        #: When to get the status of the hinted jobs, and of all; ``time.monotonic()``.
        self._hinted_due = float("inf")
        self._all_due = float("-inf")
        self._spreading = False
        #: None until the first attempt to open the stream has ended.
        self._live: bool | None = None
        self._failing = False
        self._refused = False
        self._waking: asyncio.Future[None] | None = None

    async def wait(self) -> WatchResult:
        """
        Return when enough jobs have ended or the deadline has passed.

        :raises PiktidAuthError: The token is refused, also after the connection was looked up again.
        :raises PiktidAPIError: The API refuses the status request for a reason that waiting does not resolve.
        """
        while True:
            await self._subscribe()
            try:
                return await self._watch()
            except PiktidAuthError:
                if self._refused:
                    raise
                self._refused = True
            finally:
                await self._subscription.leave()

    async def _subscribe(self) -> None:
        """Look up the connection and subscribe; try again if the lookup fails."""
        self._live, self._all_due = None, float("-inf")
        failures = 0
        while True:
            try:
                return await self._subscription.enter()
            except PiktidError:
                raise
            except Exception as error:
                failures += 1
                if failures >= self._options.lookup_failures:
                    raise
                log.warning("Could not look up the connection (%s); trying again.", type(error).__name__)
            await asyncio.sleep(max(0.0, min(self._options.poll_interval, self._remaining())))

    async def _watch(self) -> WatchResult:
        if self._options.stream:
            deadline = time.monotonic() + self._options.subscribe_seconds
            while self._live is None and self._remaining() > 0 and time.monotonic() < deadline:
                await self._sleep_until(deadline)
        while True:
            late = self._remaining() <= 0
            due = self._take_due(everything=late)
            if due:
                await self._poll(due)
            if self._enough():
                return self._result
            if late:
                self._result.timed_out = True
                return self._result
            await self._sleep_until(min(self._all_due, self._hinted_due))

    # -- status ---------------------------------------------------------------------------------------------

    def _enough(self) -> bool:
        ended = self._result.ended
        return bool(ended) if self._options.until == "any" else len(ended) >= len(self._job_ids)

    def _take_due(self, *, everything: bool) -> list[str]:
        """Return the jobs whose status to get now: all that have not ended, the hinted ones, or none."""
        now = time.monotonic()
        due = [job_id for job_id in self._job_ids if job_id not in self._result.ended]
        if everything or now >= self._all_due:
            self._all_due, self._spreading = float("inf"), False
        elif now >= self._hinted_due:
            due = [job_id for job_id in due if job_id in self._hinted]
        else:
            return []
        self._hinted.clear()
        self._hinted_due = float("inf")
        return due

    async def _poll(self, due: list[str]) -> None:
        failure: PiktidError | None = None
        for job_id, answer in zip(due, await self._ask(due), strict=True):
            if isinstance(answer, PiktidNotFoundError):
                self._handle_not_found(job_id)
            elif isinstance(answer, TRANSIENT_ERRORS):
                failure = answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                self._update(answer, job_id)
        self._refused = False
        self._log_failure(failure)
        self._all_due = min(self._all_due, time.monotonic() + self._interval())

    async def _ask(self, due: list[str]) -> list[Job | BaseException]:
        """Get the status of jobs. Waiters share no answers: one may be older than what another waiter has heard."""
        get_job = self._subscription.get_job
        if len(due) > 1:
            return await asyncio.gather(*(get_job(job_id) for job_id in due), return_exceptions=True)
        try:
            return [await get_job(due[0])]
        except Exception as error:  # noqa: BLE001 - handled as the results of `gather`
            return [error]

    def _update(self, job: Job, job_id: str) -> None:
        self._missing.pop(job_id, None)
        progress = job.status, job.processed_images, job.total_images, job.post_processing_status
        if self._seen.get(job_id) != progress:
            self._seen[job_id] = progress
            self._on_change(job)
        if job.done:
            self._result.ended[job_id] = job.status

    def _handle_not_found(self, job_id: str) -> None:
        """One 404 says little: a new job is not visible yet, and a server may answer from an old copy."""
        now, options = self._clock(), self._options
        since, tries = self._missing.get(job_id, (now, 0))
        if tries + 1 >= options.lost_tries and now >= since + options.lost_seconds:
            self._missing.pop(job_id, None)
            self._result.ended[job_id] = LOST
        else:
            self._missing[job_id] = since, tries + 1
            log.debug("Job %s answers 404 (%d in a row).", job_id, tries + 1)

    def _log_failure(self, error: PiktidError | None) -> None:
        if error is not None and not self._failing:
            log.warning("Could not get the job status; will keep polling: %s", error)
        elif error is None and self._failing:
            log.info("The PiktID API is reachable again.")
        self._failing = error is not None

    # -- waiting --------------------------------------------------------------------------------------------

    def _remaining(self) -> float:
        return self._options.end_time - self._clock()

    def _interval(self) -> float:
        """Return the seconds until the next status of all jobs, if nothing happens."""
        options = self._options
        seconds = max(options.poll_interval, self._subscription.spread)
        if self._live and not self._failing:
            seconds = options.status_interval
        if self._missing:
            # Find out soon whether a job is lost: do not wait for the long interval.
            soon = max(0.05, options.lost_seconds / options.lost_tries)
            seconds = min(seconds, options.poll_interval, soon)
        return seconds

    async def _sleep_until(self, moment: float) -> None:
        """Sleep until a time of ``time.monotonic()``, the deadline, or :meth:`_wake`."""
        loop = asyncio.get_running_loop()
        # For a thousand waits less memory than an event and a timeout, and nothing that swallows a cancellation.
        self._waking = loop.create_future()
        timer = loop.call_later(max(0.0, min(moment - time.monotonic(), self._remaining())), self._wake)
        try:
            await self._waking
        finally:
            timer.cancel()

    def _wake(self) -> None:
        if self._waking is not None and not self._waking.done():
            self._waking.set_result(None)

    def _set_live(self, live: bool) -> None:
        """Without a stream the short interval applies; where it begins and ends, events may have been missed."""
        if live != bool(self._live):
            self._ask_for_all(0.0)
        self._live = live
        self._wake()

    def _hint(self, notification: Notification) -> None:
        job_id = notification.job_id
        if job_id is None:
            # It may be about any of the jobs.
            self._ask_for_all(self._options.coalesce_seconds)
            return
        ids = self._result.notification_ids
        number = notification.id
        if number is not None and number not in ids and len(ids) < self.MAX_NOTIFICATION_IDS:
            ids.append(number)
        self._hinted[job_id] = None
        ends = notification.name in ("completed", "error") or notification.status in _TERMINAL_WORDS
        # Events that do not report an end are gathered: one round of requests answers them all.
        delay = 0.0 if ends else self._options.coalesce_seconds
        self._hinted_due = min(self._hinted_due, time.monotonic() + delay)
        self._wake()

    def _ask_for_all(self, delay: float) -> None:
        """Get the status of all jobs soon, at a random moment: all who wait on the account have the same reason."""
        if not self._spreading:
            self._spreading = True
            delay = max(delay, random.uniform(0.0, self._subscription.spread))
            self._all_due = min(self._all_due, time.monotonic() + delay)
            self._wake()


def progress_line(job: Job) -> str:
    """Describe a status in one line: ``Job job-1: processing, 3/10 images``."""
    counts = f", {job.processed_images or 0}/{job.total_images} images" if job.total_images else ""
    post = f", post-processing {job.post_processing_status}" if job.post_processing_status else ""
    return f"Job {job.job_id}: {job.status}{counts}{post}"


async def delete_notifications(client: AsyncPiktidClient, ids: list[int]) -> int:
    """
    Delete processed notifications and return how many were deleted.

    A failure does not fail a paid task, as they expire after ten minutes.
    """

    async def delete(notification_id: int) -> bool:
        with contextlib.suppress(PiktidError):
            await client.delete_notification(notification_id)
            return True
        return False

    return sum(await run_bounded(delete, ids, 8))
