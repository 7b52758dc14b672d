# SPDX-License-Identifier: Apache-2.0
"""
Wait for jobs, for triggers and the sync path.

Only the status counts, notifications are hints: subscribe, then get the status, and get it again at every event of
these jobs, at every reconnect, and every two minutes. Without a stream, poll.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from airflow_provider_piktid.common.concurrency import run_bounded
from airflow_provider_piktid.common.events import JobEvent
from airflow_provider_piktid.exceptions import (
    TRANSIENT_ERRORS,
    PiktidAPIError,
    PiktidAuthError,
    PiktidError,
    PiktidNotFoundError,
)
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
    :param poll_interval: Seconds between two status requests of a job while there is no stream. Default: 10.
    :param status_interval: The same while there is a stream; the maximum delay if the last event is lost. Default:
        120.
    :param lost_tries: A job counts as lost after this many answers 404 in a row ...
    :param lost_seconds: ... over at least so many seconds. Default: 5 and 30; the official clients accept ten
        answers three seconds apart.
    :param subscribe_seconds: How long the first status request waits for the subscription. Default: 5.
    :param coalesce_seconds: Progress events within this time lead to one status request. Default: 1.
    :param lookup_failures: Consecutive failures to get a client before giving up. Default: 5.
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


@dataclass
class WatchResult:
    """The result of a wait. With ``all``, jobs are still running only if ``timed_out`` is set."""

    jobs: dict[str, Job] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    notification_ids: list[int] = field(default_factory=list)
    timed_out: bool = False

    @property
    def ended(self) -> dict[str, str]:
        """Job id to status word, for the jobs that have ended."""
        words = {job_id: job.status for job_id, job in self.jobs.items() if job.done}
        return words | dict.fromkeys(sorted(self.lost), LOST)

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

    :param connect: Returns a client. Called again after a failure, and after the token was refused, as it may have
        been replaced in the connection.
    """

    #: Notification ids kept for deletion; the others expire after ten minutes.
    MAX_NOTIFICATION_IDS = 1000

    def __init__(
        self,
        connect: Callable[[], Awaitable[AsyncPiktidClient]],
        job_ids: Iterable[str],
        options: WatchOptions,
        *,
        on_change: ProgressCallback | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._connect = connect
        self._job_ids = list(dict.fromkeys(job_ids))
        self._options = options
        self._on_change = on_change or (lambda job: None)
        self._clock = clock
        self._client: AsyncPiktidClient | None = None
        self._listener: asyncio.Task[None] | None = None
        self._result = WatchResult()
        #: Job id to the time of the first of its answers 404 in a row, and their number.
        self._missing: dict[str, tuple[float, int]] = {}
        self._wake = asyncio.Event()
        self._subscribed = asyncio.Event()
        self._hinted: set[str] = set()
        self._polled_all_at = float("-inf")
        self._live = False
        self._failing = False
        self._coalescing: asyncio.TimerHandle | None = None

    async def wait(self) -> WatchResult:
        """
        Return when enough jobs have ended or the deadline has passed.

        :raises PiktidAuthError: The token is refused, also after the connection was looked up again.
        :raises PiktidAPIError: The API refuses the status request for a reason that waiting does not resolve.
        """
        lookups_failed = 0
        refused_before = False
        try:
            while True:
                try:
                    client = await self._ensure_client()
                    lookups_failed = 0
                except PiktidError:
                    raise
                except Exception as error:
                    lookups_failed += 1
                    if lookups_failed >= self._options.lookup_failures:
                        raise
                    log.warning("Could not look up the connection (%s); trying again.", type(error).__name__)
                    await self._pause()
                    continue
                try:
                    await self._poll(client)
                    refused_before = False
                except PiktidAuthError:
                    if refused_before:
                        raise
                    refused_before = True
                    await self._drop_client()
                    continue
                if self._enough():
                    return self._result
                if self._clock() >= self._options.end_time:
                    self._result.timed_out = True
                    return self._result
                await self._pause()
        finally:
            await self._drop_client()

    async def _ensure_client(self) -> AsyncPiktidClient:
        if self._client is None:
            self._client = await self._connect()
            if self._options.stream:
                self._listener = asyncio.create_task(self._listen(self._client))
                # Not `wait_for`: on Python 3.11 it may swallow a cancellation, and the wait never ends.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._options.subscribe_seconds):
                        await self._subscribed.wait()
        return self._client

    async def _drop_client(self) -> None:
        if self._coalescing is not None:
            self._coalescing.cancel()
        if self._listener is not None:
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._listener
            self._listener = None
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    # -- polling --------------------------------------------------------------------------------------------

    def _outstanding(self) -> list[str]:
        ended = self._result.ended
        return [job_id for job_id in self._job_ids if job_id not in ended]

    def _enough(self) -> bool:
        ended = self._result.ended
        return bool(ended) if self._options.until == "any" else len(ended) >= len(self._job_ids)

    async def _poll(self, client: AsyncPiktidClient) -> None:
        hinted, self._hinted = self._hinted, set()
        self._wake.clear()
        now = time.monotonic()
        everything = not hinted or now - self._polled_all_at >= self._interval()
        if everything:
            self._polled_all_at = now
        due = [job_id for job_id in self._outstanding() if everything or job_id in hinted]
        gate = asyncio.Semaphore(8)

        async def get(job_id: str) -> Job:
            async with gate:
                return await client.get_job(job_id)

        answers = await asyncio.gather(*(get(job_id) for job_id in due), return_exceptions=True)
        failure: PiktidError | None = None
        for job_id, answer in zip(due, answers, strict=True):
            if isinstance(answer, PiktidNotFoundError):
                self._handle_not_found(job_id)
            elif isinstance(answer, TRANSIENT_ERRORS):
                failure = answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                self._update(job_id, answer)
        self._log_failure(failure)

    def _update(self, job_id: str, job: Job) -> None:
        before = self._result.jobs.get(job_id)
        self._result.jobs[job_id] = job
        self._missing.pop(job_id, None)
        if before is None or _progress(before) != _progress(job):
            self._on_change(job)

    def _handle_not_found(self, job_id: str) -> None:
        """One 404 says little: a new job is not visible yet, and a server may answer from an old copy."""
        now, options = self._clock(), self._options
        since, tries = self._missing.get(job_id, (now, 0))
        self._missing[job_id] = since, tries + 1
        if tries + 1 >= options.lost_tries and now >= since + options.lost_seconds:
            self._result.lost.add(job_id)
        else:
            log.debug("Job %s answers 404 (%d in a row).", job_id, tries + 1)

    def _log_failure(self, error: PiktidError | None) -> None:
        if error is not None and not self._failing:
            log.warning("Could not get the job status; will keep polling: %s", error)
        elif error is None and self._failing:
            log.info("The PiktID API is reachable again.")
        self._failing = error is not None

    # -- waiting --------------------------------------------------------------------------------------------

    def _interval(self) -> float:
        return self._options.status_interval if self._live else self._options.poll_interval

    async def _pause(self) -> None:
        options = self._options
        seconds = self._interval()
        if self._missing.keys() - self._result.lost:
            # Find out soon whether a job is lost: do not wait for the long interval.
            seconds = min(
                seconds, options.poll_interval, max(0.05, options.lost_seconds / options.lost_tries)
            )
        seconds = min(seconds, max(0.0, options.end_time - self._clock()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _listen(self, client: AsyncPiktidClient) -> None:
        """Read the stream until the wait ends; reconnect with increasing delays."""
        failures = 0
        only = self._job_ids[0] if len(self._job_ids) == 1 else None
        while True:
            opened = time.monotonic()
            try:
                async for frame in client.stream_notifications(job_id=only):
                    if frame.notification is not None:
                        self._hint(frame.notification)
                    if frame.kind == "backfill_complete" or not self._live:
                        self._go_live()
            except PiktidError as error:
                log.debug("Notification stream: %s", error)
                if isinstance(error, PiktidAPIError) and not isinstance(error, TRANSIENT_ERRORS):
                    failures = max(failures, 5)
            finally:
                if self._live:
                    # Without a stream the short interval applies: get the status now, and poll until it is back.
                    self._live = False
                    self._wake.set()
                self._subscribed.set()
            failures = 0 if time.monotonic() - opened > 30 else failures + 1
            await asyncio.sleep(min(60.0, 2.0 ** min(failures, 6)) * random.uniform(0.5, 1.0))

    def _go_live(self) -> None:
        """Use the long interval; after a reconnect, get the status of all jobs, as events may have been missed."""
        self._live = True
        if self._subscribed.is_set():
            self._polled_all_at = float("-inf")
            self._wake.set()
        self._subscribed.set()

    def _hint(self, notification: Notification) -> None:
        job_id = notification.job_id
        if job_id is None:
            # It may be about any of the jobs.
            self._hinted.update(self._outstanding())
            self._wake_soon()
            return
        if job_id not in self._job_ids:
            return
        ids = self._result.notification_ids
        number = notification.id
        if number is not None and number not in ids and len(ids) < self.MAX_NOTIFICATION_IDS:
            ids.append(number)
        self._hinted.add(job_id)
        word = str(notification.data.get("status", "")).lower()
        if notification.name in ("completed", "error") or word in _TERMINAL_WORDS:
            self._wake.set()
        else:
            self._wake_soon()

    def _wake_soon(self) -> None:
        """Gather events that do not report an end: one round of requests answers them all."""
        loop = asyncio.get_running_loop()
        if self._coalescing is None or self._coalescing.when() < loop.time():
            self._coalescing = loop.call_later(self._options.coalesce_seconds, self._wake.set)


def _progress(job: Job) -> tuple[object, ...]:
    return job.status, job.processed_images, job.total_images, job.post_processing_status


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
