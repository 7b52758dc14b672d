# SPDX-License-Identifier: Apache-2.0
"""
Submit the jobs of a batch within the limits of the account.

No Airflow and no HTTP here: the run passes the calls, and waits in whatever way it can when told to.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from airflow_provider_piktid.common.paid import Log, SlotWait
from airflow_provider_piktid.exceptions import (
    PiktidActiveJobsError,
    PiktidError,
    PiktidRateLimitError,
    PiktidSubmissionError,
)
from airflow_provider_piktid.jobs.queue import AccountLimits
from airflow_provider_piktid.jobs.record import JobRecord, Submission

#: Between two tries while others use all active jobs: often enough to get a slot, rarely enough to be no load.
PROBE_SECONDS = 15.0

#: How far PiktID's clock may differ from ours when a job is looked for.
CLOCK_SLACK_SECONDS = 300.0

#: Check again for room after this long, even if none of our jobs was seen to end.
FULL_ACCOUNT_SECONDS = 60.0


class JobCalls(Protocol):
    """What a batch needs of the service."""

    def submit(self, images: list[str]) -> str:
        """Start one job and return its id. Never repeats a request whose fate is unknown."""
        ...

    def find(self, images: list[str], since: float, known: set[str]) -> str | None:
        """Look for a job of these images started after ``since`` (epoch seconds) that is not in ``known``."""
        ...

    def ended(self, job_id: str) -> str | None:
        """Return the status of a job that has ended, else None."""
        ...


class JobPort:
    """
    The kernel's view of a batch of jobs.

    :param images: All images of the batch, in order.
    :param connection: Connection id, for messages.
    :param noun: What messages call a job.
    """

    def __init__(
        self,
        record: JobRecord,
        images: Sequence[str],
        calls: JobCalls,
        limits: AccountLimits,
        *,
        connection: str,
        noun: str,
        log: Log,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._record = record
        self._images = {
            id(item): chunk for item, chunk in zip(record.submissions, record.chunks(images), strict=True)
        }
        self._calls = calls
        self._limits = limits
        self._connection = connection
        self._noun = noun
        self._log = log
        self._clock = clock

    def ready(self, item: Submission) -> SlotWait | None:
        """Spare the account requests that it would refuse, as far as our own jobs tell."""
        now, limits = self._clock(), self._limits
        recent = sorted(
            other.submitted_at
            for other in self._record.submissions
            if other.submitted_at and other.submitted_at > now - limits.rate_window
        )
        if len(recent) >= limits.jobs_per_minute:
            free = recent[-limits.jobs_per_minute] + limits.rate_window
            return SlotWait(f"{limits.jobs_per_minute} jobs were submitted within the rate window", free)
        if len(self._record.active) >= limits.active_jobs:
            self._refresh()
        if len(self._record.active) >= limits.active_jobs:
            running = len(self._record.active)
            return SlotWait(f"{running} jobs of this task are running", now + FULL_ACCOUNT_SECONDS, True)
        return None

    def send(self, item: Submission) -> None:
        images = self._images[id(item)]
        item.submitted(self._calls.submit(images), self._clock())
        self._log.info("Submitted job %s with %d image(s).", item.job_id, len(images))

    def find(self, item: Submission) -> bool:
        intent_at = item.intent_at = item.intent_at or self._record.created_at
        images = self._images[id(item)]
        found = self._calls.find(images, intent_at - CLOCK_SLACK_SECONDS, self._record.known_jobs)
        if found is None:
            return False
        self._log.warning("Found job %s at PiktID for a request whose reply was lost; using it.", found)
        item.submitted(found, intent_at)
        return True

    def refused(self, item: Submission, error: PiktidError) -> SlotWait:
        if not isinstance(error, PiktidRateLimitError):
            raise error
        return wait_for_limit(error, self._limits, self._clock())

    def unknown(self, item: Submission) -> PiktidSubmissionError:
        return PiktidSubmissionError(
            f"{self._connection}: the reply to a {self._noun} request with {item.count} image(s) was lost, and "
            "PiktID lists no job that is certainly its result. It may or may not have been paid for. Look at the "
            "account's jobs; then retry (it looks again), or set on_lost_reply='resubmit' to submit it once more."
        )

    def label(self, item: Submission) -> str:
        return f"a {self._noun} request with {item.count} image(s)"

    def _refresh(self) -> None:
        for item in self._record.submissions:
            if item.job_id and not item.ended:
                item.ended = self._calls.ended(item.job_id)


def wait_for_limit(error: PiktidRateLimitError, limits: AccountLimits, now: float) -> SlotWait:
    """Return what to wait for after a 429, as long as the server says or the limits imply."""
    is_full = isinstance(error, PiktidActiveJobsError)
    if is_full:
        reason, seconds = "active-job limit of the account reached", PROBE_SECONDS
    else:
        reason = "submission rate limit of the account reached"
        seconds = max(1.0, limits.rate_window / limits.jobs_per_minute)
    seconds = error.retry_after if error.retry_after is not None else seconds * random.uniform(0.8, 1.2)
    return SlotWait(reason, now + seconds, is_full)
