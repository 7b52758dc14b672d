# SPDX-License-Identifier: Apache-2.0
"""
Submit the jobs of a batch, each once, within the limits of the account.

No Airflow and no HTTP here: the operator gives the calls, and waits in whatever way it can when told to.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from airflow_provider_piktid.common.records import JobRecord, Submission
from airflow_provider_piktid.exceptions import (
    PiktidActiveJobsError,
    PiktidError,
    PiktidRateLimitError,
    PiktidSubmissionError,
)

#: Between two tries while others fill the account: frequent enough to get a slot, rare enough to be no load.
PROBE_SECONDS = 15.0

#: How far PiktID's clock may differ from ours when a lost job is looked for.
CLOCK_SLACK_SECONDS = 300.0

#: Without an end of one of our jobs, look again whether there is room.
FULL_HOUSE_SECONDS = 60.0


class JobCalls(Protocol):
    """What a batch needs of the service."""

    def submit(self, images: list[str]) -> str:
        """Start one job and return its id. Never repeats a request whose fate is unknown."""
        ...

    def find(self, images: list[str], since: float, known: set[str]) -> str | None:
        """Look for a job of these images made after ``since`` (epoch seconds) that is not in ``known``."""
        ...

    def ended(self, job_id: str) -> str | None:
        """Return the status word of a job that has ended, else None."""
        ...


class Log(Protocol):
    """A standard logger, or Airflow's own."""

    def info(self, msg: Any, /, *args: Any) -> Any: ...
    def warning(self, msg: Any, /, *args: Any) -> Any: ...


class AccountLimits(Protocol):
    """The part of a connection that says what the account allows."""

    @property
    def jobs_per_minute(self) -> int: ...
    @property
    def active_jobs(self) -> int: ...
    @property
    def rate_window(self) -> float: ...


@dataclass(frozen=True)
class SlotWait:
    """
    Why the batch cannot go on now.

    :param not_before: Epoch seconds before which there is no reason to try again ...
    :param until_job_ends: ... but the end of a job.
    """

    reason: str
    not_before: float
    until_job_ends: bool = False


class Batch:
    """
    The submissions of one record.

    :param chunks: The images of each submission, in the record's order.
    :param save: Writes the record; called before and after each paid request.
    :param on_ambiguous: What to do with a submission whose fate stays unknown: ``fail``, or ``resubmit`` at
        the risk of paying twice.
    :param grace: Seconds after a lost reply until PiktID's list is taken for complete.
    """

    def __init__(
        self,
        record: JobRecord,
        chunks: Sequence[list[str]],
        calls: JobCalls,
        limits: AccountLimits,
        *,
        save: Callable[[], None],
        connection: str,
        on_ambiguous: Literal["fail", "resubmit"] = "fail",
        grace: float = 30.0,
        log: Log | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._record = record
        self._chunks = chunks
        self._calls = calls
        self._limits = limits
        self._save = save
        self._connection = connection
        self._on_ambiguous = on_ambiguous
        self._grace = grace
        self._log = log or logging.getLogger(__name__)
        self._clock = clock

    def advance(self) -> SlotWait | None:
        """
        Submit as many jobs as the account takes now.

        :return: None if all are submitted, else what to wait for before calling this again.
        :raises PiktidSubmissionError: The fate of a submission stays unknown and ``on_ambiguous`` is ``fail``.
        :raises PiktidError: PiktID refused for another reason than its limits.
        """
        for item, images in zip(self._record.submissions, self._chunks, strict=True):
            if item.state == "intent":
                wait = self._resolve(item, images)
                if wait:
                    return wait
            if item.state == "submitted":
                continue
            wait = self._room() or self._submit(item, images)
            if wait:
                return wait
        return None

    def _room(self) -> SlotWait | None:
        """Spare the account requests that it would refuse, as far as our own jobs tell."""
        now, limits = self._clock(), self._limits
        recent = sorted(
            item.submitted_at
            for item in self._record.submissions
            if item.submitted_at and item.submitted_at > now - limits.rate_window
        )
        if len(recent) >= limits.jobs_per_minute:
            free = recent[-limits.jobs_per_minute] + limits.rate_window
            return SlotWait(f"{limits.jobs_per_minute} jobs were submitted within the last minute", free)
        if len(self._record.active) >= limits.active_jobs:
            self._refresh()
        if len(self._record.active) >= limits.active_jobs:
            return SlotWait(
                f"{len(self._record.active)} jobs of this task run", now + FULL_HOUSE_SECONDS, True
            )
        return None

    def _refresh(self) -> None:
        for item in self._record.submissions:
            if item.job_id and not item.ended:
                item.ended = self._calls.ended(item.job_id)

    def _submit(self, item: Submission, images: list[str]) -> SlotWait | None:
        item.state, item.intent_at = "intent", self._clock()
        self._save()
        try:
            job_id = self._calls.submit(images)
        except PiktidRateLimitError as error:
            self._not_sent(item)
            return self._refused(error)
        except PiktidSubmissionError as error:
            self._log.warning("%s Looking for the job at PiktID before anything else.", error)
            return self._resolve(item, images) or self._again(item, images)
        except PiktidError:
            self._not_sent(item)
            raise
        self._submitted(item, job_id, self._clock())
        self._log.info("Submitted job %s with %d image(s).", job_id, len(images))
        return None

    def _again(self, item: Submission, images: list[str]) -> SlotWait | None:
        return None if item.state == "submitted" else self._submit(item, images)

    def _not_sent(self, item: Submission) -> None:
        item.state, item.intent_at = "planned", None
        self._save()

    def _submitted(self, item: Submission, job_id: str, moment: float) -> None:
        item.state, item.job_id, item.submitted_at = "submitted", job_id, moment
        self._save()

    def _refused(self, error: PiktidRateLimitError) -> SlotWait:
        if isinstance(error, PiktidActiveJobsError):
            reason, seconds = "the account runs as many jobs as it may", PROBE_SECONDS
        else:
            reason = "the account's submissions per minute are used up"
            seconds = max(1.0, self._limits.rate_window / self._limits.jobs_per_minute)
        seconds = error.retry_after if error.retry_after is not None else seconds * random.uniform(0.8, 1.2)
        return SlotWait(reason, self._clock() + seconds, isinstance(error, PiktidActiveJobsError))

    def _resolve(self, item: Submission, images: list[str]) -> SlotWait | None:
        """Find out what became of a request whose reply was not seen."""
        intent_at = item.intent_at or self._record.created_at
        found = self._calls.find(images, intent_at - CLOCK_SLACK_SECONDS, self._record.known_jobs)
        if found:
            self._log.warning(
                "Found job %s at PiktID for a request whose reply was lost; going on with it.", found
            )
            self._submitted(item, found, intent_at)
            return None
        complete_at = intent_at + self._grace
        if self._clock() < complete_at:
            return SlotWait("a reply was lost, and PiktID may not list the job yet", complete_at)
        if self._on_ambiguous == "resubmit" and not item.resubmitted:
            item.resubmitted = True
            self._log.warning("No job found for a request whose reply was lost; submitting it again as told.")
            self._not_sent(item)
            return None
        raise PiktidSubmissionError(
            f"{self._connection}: the reply to a model swap request with {len(images)} image(s) was lost, and "
            "PiktID lists no job for it. It may have been paid for or not. Look at the account's jobs; then "
            "retry (it looks again), or set on_ambiguous='resubmit' to submit it once more."
        )
