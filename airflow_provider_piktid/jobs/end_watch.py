# SPDX-License-Identifier: Apache-2.0
"""
Find the jobs of an account that end, wherever they were started.

A notification is a hint: the status decides. After an outage that is longer than PiktID keeps notifications, and
while there is no stream, PiktID's gallery is searched.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from airflow_provider_piktid.exceptions import PiktidAuthError, PiktidError, PiktidNotFoundError
from airflow_provider_piktid.jobs.end_memory import SAVE_SECONDS, end_key
from airflow_provider_piktid.jobs.ended import END_WORDS, EndedJob, JobFilter, is_about_a_job, reports_end
from airflow_provider_piktid.jobs.hub import Subscription, subscribe
from airflow_provider_piktid.jobs.lookup import epoch
from airflow_provider_piktid.jobs.submission import CLOCK_SLACK_SECONDS

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidClient
    from airflow_provider_piktid.hooks.settings import PiktidSettings
    from airflow_provider_piktid.jobs.end_memory import EndMemory
    from airflow_provider_piktid.models.v2 import GalleryJob, Job, Notification

log = logging.getLogger(__name__)

#: A job that does not exist this often is forgotten.
MISSING_TRIES: Final = 10
#: Jobs that are followed at once.
MAX_OPEN: Final = 5000
#: Seconds that a job may have run before an outage and still be found after it; and jobs looked at.
LONGEST_JOB: Final = 6 * 3600.0
SCAN_LIMIT: Final = 2000
OLD_IN_A_ROW: Final = 20


@dataclass(frozen=True)
class WatchTimes:
    """
    How often what is asked, in seconds.

    :param lead: From an end until its event; further ends join it. Default: 0.1.
    :param webhook: The same if the webhook reports to the same asset: it goes first. Default: 3.
    :param running: Between two status requests of a running job, in case the notification of its end is lost.
        Default: 120.
    :param unsettled: The same for a job that was reported as ended but has not, or could not be asked for. Default:
        10.
    :param stream: An outage that the stream makes up for. Default: 540, as PiktID keeps notifications for 600.
    :param gallery: Without a stream: until the gallery is searched, and between two searches. Default: 60.
    :param save: Between two times that the memory is stored. Default: 60.
    :param retry: Longest pause after a failure. Default: 30.
    """

    lead: float = 0.1
    webhook: float = 3.0
    running: float = 120.0
    unsettled: float = 10.0
    stream: float = 540.0
    gallery: float = 60.0
    save: float = 60.0
    retry: float = 30.0


DEFAULT_TIMES: Final = WatchTimes()


@dataclass
class _Open:
    """
    A job that has not been reported yet.

    :param due: When to ask for its status (monotonic).
    :param said_to_end: Whether a notification, or the gallery, says that it has ended.
    :param since: PiktID's time of its first notification.
    """

    due: float
    said_to_end: bool = False
    since: float | None = None
    numbers: list[int] = field(default_factory=list)
    missing: int = 0


class EndWatcher:
    """
    Follows all jobs of an account and returns those that have ended, in bursts.

    Whatever fails is logged once and tried again: :meth:`next_burst` returns when there is something to report.

    :param name: Name of the asset, for messages.
    :param connect: Looks up the connection.
    :param jobs: Which ends are reported.
    :param memory: What was reported already.
    :param gather: Least seconds from one burst to the next.
    :param times: Intervals.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Awaitable[PiktidSettings]],
        jobs: JobFilter,
        memory: EndMemory,
        gather: float,
        times: WatchTimes = DEFAULT_TIMES,
    ) -> None:
        self._name = name
        self._times = times
        self._connect = connect
        self._jobs = jobs
        self._memory = memory
        self._gather = gather
        self._stack = AsyncExitStack()
        self._subscription: Subscription | None = None
        self._open: dict[str, _Open] = {}
        self._ready: dict[str, tuple[Job, list[int]]] = {}
        self._emit_at = 0.0
        self._emitted_at = float("-inf")
        self._wake = asyncio.Event()
        self._live = False
        self._behind = False
        self._gallery_at = 0.0
        self._save_at = 0.0
        self._failures = 0
        self._retry_at = 0.0
        self._complaint = ""

    async def aclose(self) -> None:
        """Leave the stream."""
        self._subscription = None
        await self._stack.aclose()

    async def next_burst(self) -> list[EndedJob]:
        """Return the next jobs that have ended, at least one."""
        while True:
            self._wake.clear()
            try:
                await self._round()
            except Exception as error:  # noqa: BLE001 - an end of the trigger is started again every 2 s for ever
                await self._fail(error)
            if burst := await self._burst():
                return burst
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()

    # -- one round ------------------------------------------------------------------------------------------

    async def _round(self) -> None:
        now = time.monotonic()
        if self._subscription is None:
            if now < self._retry_at:
                return
            await self._subscribe(now)
        assert self._subscription is not None
        if isinstance(self._subscription.failure, PiktidAuthError):
            raise self._subscription.failure
        if self._live and not self._behind:
            self._memory.seen_at = self._seen_until()
        elif now >= self._gallery_at:
            await self._search_gallery(self._subscription)
        await self._ask(self._subscription)
        if now >= self._save_at:
            self._save_at = now + self._times.save
            await self._memory.save()

    def _seen_until(self) -> float:
        """Return up to when nothing is missed if this process ends now: the first end that is not reported yet."""
        waiting = (job.since for job in self._open.values() if job.said_to_end and job.since)
        return min(time.time(), *waiting, float("inf"))

    async def _subscribe(self, now: float) -> None:
        if self._memory.seen_at is None:
            self._memory.seen_at = time.time()
        self._gallery_at = now + self._times.gallery
        self._subscription = await self._stack.enter_async_context(
            subscribe(self._connect, on_hint=self._hint, on_live=self._note_live)
        )

    def _note_live(self, live: bool) -> None:
        if live and not self._live:
            if time.time() - (self._memory.seen_at or 0.0) > self._times.stream:
                self._behind, self._gallery_at = True, 0.0
            # Events may have been missed.
            for job in self._open.values():
                job.due = 0.0
            self._failures = 0
            self._recovered()
        elif self._live:
            self._gallery_at = time.monotonic() + self._times.gallery
        self._live = live
        self._wake.set()

    def _hint(self, notification: Notification) -> None:
        if not is_about_a_job(notification) or self._memory.knows_notification(notification.id):
            return
        if notification.job_id is None:
            for job in self._open.values():
                job.due = 0.0
            self._wake.set()
            return
        known = self._open.pop(notification.job_id, None)
        job = known or _Open(time.monotonic() + self._times.running, since=notification.timestamp)
        self._open[notification.job_id] = job
        if reports_end(notification):
            job.said_to_end = True
            job.due = 0.0
            if notification.id is not None:
                job.numbers.append(notification.id)
            self._wake.set()
        while len(self._open) > MAX_OPEN:
            del self._open[next(iter(self._open))]

    # -- the status -----------------------------------------------------------------------------------------

    async def _ask(self, subscription: Subscription) -> None:
        now = time.monotonic()
        due = [job_id for job_id, job in self._open.items() if job.due <= now]
        for job_id in due:
            # A notification that arrives during the request sets it again, and leads to a second one.
            self._open[job_id].due = float("inf")
        answers = await asyncio.gather(*map(subscription.get_job, due), return_exceptions=True)
        for job_id, answer in zip(due, answers, strict=True):
            if (job := self._open.get(job_id)) is not None:
                self._answered(job_id, job, answer)
        refused = [answer for answer in answers if isinstance(answer, PiktidAuthError)]
        if refused:
            raise refused[0]

    def _answered(self, job_id: str, job: _Open, answer: Job | BaseException) -> None:
        """Settle a job that has ended; otherwise set when to ask again."""
        pause = self._times.unsettled
        if isinstance(answer, PiktidNotFoundError):
            job.missing += 1
        elif isinstance(answer, Exception):
            self._complain(answer)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            self._recovered()
            if answer.done:
                del self._open[job_id]
                self._settle(answer, job)
                return
            job.missing = 0
            pause = self._times.unsettled if job.said_to_end else self._times.running
        job.due = min(job.due, time.monotonic() + pause)
        if job.missing >= MISSING_TRIES:
            del self._open[job_id]

    def _settle(self, job: Job, hints: _Open) -> None:
        """Report a job that has ended, unless it was reported or ended long ago."""
        if not self._jobs.takes(job):
            return
        if self._memory.knows_end(job):
            # The second notification of one end.
            self._memory.add(hints.numbers, job)
            return
        ended_at = epoch(job.updated_at)
        if not hints.said_to_end and ended_at and hints.since and ended_at < hints.since - 1:
            # An image of a job that had ended before was made again.
            return
        _, numbers = self._ready.pop(job.job_id, (job, []))
        if not self._ready:
            lead = self._times.webhook if self._memory.has_webhook else self._times.lead
            self._emit_at = max(self._emitted_at + self._gather, time.monotonic() + lead)
        self._ready[job.job_id] = job, numbers + hints.numbers

    async def _burst(self) -> list[EndedJob]:
        if not self._ready or time.monotonic() < self._emit_at:
            return []
        expected = self._memory.has_webhook
        elsewhere = await self._memory.of_webhook()
        ready = {job_id: found for job_id, found in self._ready.items() if end_key(found[0]) not in elsewhere}
        now = time.monotonic()
        if ready and self._memory.has_webhook and not expected:
            # It goes first also with what was found before it was heard of.
            self._ready, self._emit_at = ready, now + self._times.webhook
            return []
        self._ready = {}
        if not ready:
            return []
        self._emitted_at = now
        # A little later than that, so that this burst is among what is stored.
        self._save_at = min(self._save_at, now + SAVE_SECONDS + 0.5)
        for job, numbers in ready.values():
            self._memory.add(numbers, job)
        return [EndedJob.of(job, numbers[-1] if numbers else None) for job, numbers in ready.values()]

    # -- the gallery ----------------------------------------------------------------------------------------

    async def _search_gallery(self, subscription: Subscription) -> None:
        """Find the jobs that ended since the last time that everything was seen."""
        since, began = self._memory.seen_at or time.time(), time.time()
        self._gallery_at = time.monotonic() + self._times.gallery
        try:
            listed = await subscription.request(
                lambda client: _ended_since(client, since - CLOCK_SLACK_SECONDS)
            )
        except PiktidAuthError:
            raise
        except PiktidError as error:
            # What the stream reports is not held up by it.
            self._complain(error)
            return
        for row in listed:
            if row.job_id not in self._open and not self._memory.knows_end(row):
                self._open[row.job_id] = _Open(0.0, said_to_end=True)
        self._memory.seen_at = began
        self._behind = False

    # -- failures -------------------------------------------------------------------------------------------

    async def _fail(self, error: Exception) -> None:
        """Leave the stream; look up the connection again after 1 s, later after up to 30 s."""
        self._complain(error)
        self._failures += 1
        self._retry_at = time.monotonic() + min(self._times.retry, 2.0 ** (self._failures - 1))
        self._live = False
        with contextlib.suppress(Exception):
            await self.aclose()

    def _complain(self, error: Exception) -> None:
        """Log what is wrong when it is new. The text of another library's error may contain a signed URL."""
        known = isinstance(error, PiktidError) or type(error).__name__ == "AirflowNotFoundException"
        text = str(error) if known else type(error).__name__
        if text != self._complaint:
            log.warning("Asset %s: jobs cannot be watched at present; will keep trying: %s", self._name, text)
            self._complaint = text

    def _recovered(self) -> None:
        if self._complaint:
            log.info("Asset %s: watching jobs again.", self._name)
        self._complaint = ""

    def _pause(self) -> float:
        """Return the seconds until something is to be done, if no notification arrives before."""
        if self._subscription is None:
            times = [self._retry_at]
        else:
            times = [self._save_at, *(job.due for job in self._open.values())]
        if self._ready:
            times.append(self._emit_at)
        return min(self._times.retry, max(0.0, min(times) - time.monotonic()))


async def _ended_since(client: AsyncPiktidClient, since: float) -> list[GalleryJob]:
    """
    Return the listed jobs that have ended after a time.

    The order of the listing is requested, not promised. So it is read on until several jobs in a row are too old.
    """
    found, old, seen = [], 0, 0
    async for row in _limited(client.iter_gallery_jobs(order="desc")):
        seen += 1
        created, updated = epoch(row.created_at), epoch(row.updated_at)
        old = old + 1 if created is not None and created < since - LONGEST_JOB else 0
        if old == OLD_IN_A_ROW:
            break
        if row.status in END_WORDS and (updated is None or updated >= since):
            found.append(row)
    if seen >= SCAN_LIMIT:
        log.warning("PiktID lists more than %d newer jobs; ends of older ones may be missed.", SCAN_LIMIT)
    return found[::-1]


async def _limited(rows: AsyncIterator[GalleryJob]) -> AsyncIterator[GalleryJob]:
    number = 0
    async for row in rows:
        yield row
        number += 1
        if number >= SCAN_LIMIT:
            return
