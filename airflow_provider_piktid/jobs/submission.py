# SPDX-License-Identifier: Apache-2.0
"""
The jobs of a batch: what is recorded of each, and how they are submitted within the limits of the account.

The record lets a retry attach to a job instead of buying it again; it belongs to one task instance, whatever the try.
No Airflow and no HTTP here: the run passes the calls, and waits where it has to.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from airflow_provider_piktid.common import metrics
from airflow_provider_piktid.common.paid import PaidRequest
from airflow_provider_piktid.common.protocols import Log, SlotWait
from airflow_provider_piktid.common.records import PaidRecord, shared_fields
from airflow_provider_piktid.exceptions import (
    PiktidActiveJobsError,
    PiktidConfigError,
    PiktidError,
    PiktidNotFoundError,
    PiktidRateLimitError,
    PiktidSubmissionError,
)
from airflow_provider_piktid.jobs.queue import AccountLimits

if TYPE_CHECKING:
    from airflow_provider_piktid.models import JobType

RECORD_VERSION = 1
STATE_KEY = "piktid_jobs"

#: Between two tries while others use all active jobs: often enough to get a slot, rarely enough to be no load.
PROBE_SECONDS = 15.0

#: How far PiktID's clock may differ from ours when a job is looked for.
CLOCK_SLACK_SECONDS = 300.0

#: Check again for room after this long, even if none of our jobs was seen to end.
FULL_ACCOUNT_SECONDS = 60.0

#: File extensions that a ``file_id`` never has.
_OF_FILES = (".jpg", ".jpeg", ".png", ".webp")
_FILE_IDS = 'Pass `upload.output["file_ids"]`, where `upload` is the task that uploaded them.'


@dataclass
class Submission(PaidRequest):
    """
    One job of a batch.

    :param count: How many images it takes, in the order of the task's images. The ids themselves are not kept:
        the fingerprint covers them, and a store may warn above 64 KiB.
    :param submitted_at: When the job id became known, epoch seconds.
    :param ended: The job's last status, once it is a final one.
    :param replaces: Jobs of the same images that failed before at no cost.
    :param since: Epoch seconds before which its job cannot have been started, if an earlier try of which no record is
        left may have sent it. Default: ``intent_at``.
    """

    count: int
    submitted_at: float | None = None
    job_id: str | None = None
    ended: str | None = None
    replaces: list[str] = field(default_factory=list)
    since: float | None = None

    def plan_again(self) -> None:
        super().plan_again()
        if self.job_id:
            self.replaces.append(self.job_id)
        self.job_id, self.submitted_at, self.ended = None, None, None

    def submitted(self, job_id: str, moment: float) -> None:
        """Note the job that PiktID started, and when (epoch seconds)."""
        self.state, self.job_id, self.submitted_at = "submitted", job_id, moment


@dataclass
class JobRecord(PaidRecord):
    """
    All jobs of a task instance.

    :param created_at: Epoch seconds.
    :param content: What the jobs make, see ``JobType.content``: a reader of the record can recognise a listed job.
    :param contents: File id to SHA-256 of each image, in order, if other tasks may reuse the outputs. Default: empty.
    :param reused: SHA-256 to job id and file id, of images whose outputs another task has bought.
    """

    WHAT: ClassVar[str] = "submitted jobs"
    NEWEST: ClassVar[int] = RECORD_VERSION

    created_at: float
    submissions: list[Submission]
    content: dict[str, Any] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    reused: dict[str, list[str]] = field(default_factory=dict)
    version: int = RECORD_VERSION

    @property
    def job_ids(self) -> list[str]:
        """Known job ids: first those of other tasks, then the own ones in the order of the images."""
        others = dict.fromkeys(job_id for job_id, _ in self.reused.values())
        return [*others, *(item.job_id for item in self.submissions if item.job_id)]

    @property
    def unsent(self) -> int:
        """The number of jobs that are not submitted yet."""
        return sum(item.state != "submitted" for item in self.submissions)

    @property
    def active(self) -> list[str]:
        """Job ids that are not known to have ended."""
        return [item.job_id for item in self.submissions if item.job_id and not item.ended]

    @property
    def is_sent(self) -> bool:
        return all(item.state == "submitted" for item in self.submissions)

    @property
    def is_settled(self) -> bool:
        """Whether this try has nothing left to submit."""
        return all(item.state == "submitted" or item.failure for item in self.submissions)

    @property
    def failed(self) -> list[Submission]:
        """Jobs that this try goes on without."""
        return [item for item in self.submissions if item.failure]

    @property
    def submission_times(self) -> dict[str, float]:
        """Job id to the time of its submission, epoch seconds."""
        return {
            item.job_id: item.submitted_at for item in self.submissions if item.job_id and item.submitted_at
        }

    @property
    def known_jobs(self) -> set[str]:
        """Every job that this task instance ever had: none of them is the answer to a lost reply."""
        own = {job_id for item in self.submissions for job_id in (item.job_id, *item.replaces) if job_id}
        return own.union(*(JobRecord.from_json(value).known_jobs for value in self.earlier))

    def sought_since(self, item: Submission) -> float:
        """Return the epoch second before which the job of a request cannot have been started, by any clock."""
        sent = item.intent_at or self.created_at
        return (sent if item.since is None else item.since) - CLOCK_SLACK_SECONDS

    def mark_ended(self, ended: Mapping[str, str]) -> None:
        """Note jobs that have ended, by id and status."""
        for item in self.submissions:
            item.ended = item.ended or ended.get(item.job_id or "")

    def try_again(self) -> None:
        """Forget what stopped single jobs in an earlier try."""
        for item in self.submissions:
            item.failure, item.is_permanent = None, False

    def plan_again(self, job_ids: Collection[str]) -> None:
        """Let the submissions of these jobs be sent again."""
        for item in self.submissions:
            if item.job_id and item.job_id in job_ids:
                item.plan_again()

    def chunks(self, images: Sequence[str]) -> list[list[str]]:
        """Split the task's images into those of each submission."""
        rest = iter(images)
        return [list(itertools.islice(rest, item.count)) for item in self.submissions]

    @classmethod
    def _build(cls, value: Mapping[str, Any]) -> Self:
        return cls(
            created_at=float(value["created_at"]),
            submissions=[_submission(item) for item in value["submissions"]],
            content=dict(value.get("content") or {}),
            contents=dict(value.get("contents") or {}),
            reused={sha: [str(part) for part in pair] for sha, pair in (value.get("reused") or {}).items()},
            version=int(value["version"]),
            **shared_fields(value),
        )


def _submission(item: Mapping[str, Any]) -> Submission:
    submission = Submission(**item)
    if (submission.state == "submitted") != bool(submission.job_id):
        raise ValueError("a submission has a job id exactly when it is submitted")
    return submission


def plan(
    counts: Sequence[int], *, fingerprint: str, now: float, content: Mapping[str, Any] | None = None
) -> JobRecord:
    """
    Start a record with nothing sent.

    :param counts: Number of images of each job, in order.
    :param now: Epoch seconds.
    """
    return JobRecord(fingerprint, now, [Submission(count) for count in counts], content=dict(content or {}))


def job_sizes(job: JobType, images: Sequence[Any], images_per_job: int) -> list[int]:
    """
    Return the number of images in each job, in the order of the images.

    :param images: File ids, or rows of an upload: of a type that combines images, those of a ``group`` are one job.
    """
    groups = [image.get("group") if isinstance(image, Mapping) else None for image in images]
    if not job.combines or not any(groups):
        return job.split(len(images), images_per_job)
    return [len(list(same)) for _, same in itertools.groupby(groups)]


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
        try:
            job_id = self._calls.submit(images)
        except PiktidNotFoundError as error:
            if not images:
                raise
            raise PiktidNotFoundError(
                f"{error} Its `project_id` and `images` must be those that the upload returned; a project's name is "
                "not its id.",
                status=error.status,
            ) from error
        item.submitted(job_id, self._clock())
        metrics.count("jobs.submitted", type=self._noun)
        metrics.count("images.submitted", len(images), type=self._noun)
        self._log.info("Submitted job %s%s.", item.job_id, _with_images(item))

    def find(self, item: Submission) -> bool:
        intent_at = item.intent_at = item.intent_at or self._record.created_at
        images = self._images[id(item)]
        found = self._calls.find(images, self._record.sought_since(item), self._record.known_jobs)
        if found is None:
            return False
        self._log.warning("Found job %s at PiktID for a request whose reply was lost; using it.", found)
        item.submitted(found, intent_at)
        metrics.count("attached")
        return True

    def refused(self, item: Submission, error: PiktidError) -> SlotWait:
        return wait_for_limit(error, self._limits, self._clock())

    def unknown(self, item: Submission) -> PiktidSubmissionError:
        if item.since is not None:
            return PiktidSubmissionError(
                f"{self._connection}: an earlier try of this task left no record. It may have submitted "
                f"{self.label(item)}, and PiktID lists no job that is certainly its result. Look at the account's "
                "jobs; then set on_lost_reply='resubmit' to submit it, and `state_path` to keep records from now on."
            )
        return PiktidSubmissionError(
            f"{self._connection}: the reply to {self.label(item)} was lost, and PiktID lists no job that is certainly "
            "its result. It may or may not have been paid for. Look at the account's jobs; then retry (it looks "
            "again), or set on_lost_reply='resubmit' to submit it once more."
        )

    def label(self, item: Submission) -> str:
        return f"a {self._noun} request{_with_images(item)}"

    def _refresh(self) -> None:
        for item in self._record.submissions:
            if item.job_id and not item.ended:
                item.ended = self._calls.ended(item.job_id)


def _with_images(item: Submission) -> str:
    return f" with {item.count} image(s)" if item.count else ""


def wait_for_limit(error: PiktidError, limits: AccountLimits, now: float) -> SlotWait:
    """
    Return what to wait for after a 429, as long as the server says or the limits imply.

    :raises PiktidError: The refusal has another reason.
    """
    if not isinstance(error, PiktidRateLimitError):
        raise error
    is_full = isinstance(error, PiktidActiveJobsError)
    metrics.count("refused.active_jobs" if is_full else "refused.rate")
    if is_full:
        reason, seconds = "active-job limit of the account reached", PROBE_SECONDS
    else:
        reason = "submission rate limit of the account reached"
        seconds = max(1.0, limits.rate_window / limits.jobs_per_minute)
    seconds = error.retry_after if error.retry_after is not None else seconds * random.uniform(0.8, 1.2)
    return SlotWait(reason, now + seconds, is_full)


def checked_images(images: Any) -> list[str]:
    """
    Return file ids as a list.

    :param images: File ids, or rows of an upload.
    :raises PiktidConfigError: None, not a list, paths of files, or one of them twice.
    """
    if isinstance(images, str) or not isinstance(images, Sequence):
        raise PiktidConfigError(f"`images` must be a list of file ids, not {type_name(images)}. {_FILE_IDS}")
    ids = [_file_id(image) for image in images]
    if not ids:
        raise PiktidConfigError("images is empty: there is nothing to do. Pass the file ids of an upload.")
    if len(set(ids)) != len(ids):
        raise PiktidConfigError(
            "images names a file id twice, which would be paid for twice. Remove the duplicate."
        )
    return ids


def _file_id(image: Any) -> str:
    if isinstance(image, Mapping):
        if not image.get("file_id"):
            raise PiktidConfigError(f"`images` has a row without a file_id. {_FILE_IDS}")
        return str(image["file_id"])
    if str(image).lower().endswith(_OF_FILES):
        raise PiktidConfigError(
            f"`images` has the file {image}, but needs file ids: upload it with PiktidUploadImagesOperator. {_FILE_IDS}"
        )
    return str(image)


def type_name(value: Any) -> str:
    """Return how a message shows a value that has the wrong type: content only if there is none."""
    return "None" if value is None else type(value).__name__
