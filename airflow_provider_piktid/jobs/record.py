# SPDX-License-Identifier: Apache-2.0
"""
The record of a batch of jobs: what lets a retry attach to a job instead of buying it again.

One record belongs to one task instance, whatever the try. Pure: where it is kept is in ``common.records``.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_provider_piktid.common.paid import PaidRequest
from airflow_provider_piktid.common.records import read_record

RECORD_VERSION = 1
STATE_KEY = "piktid_jobs"

_STATES = ("planned", "intent", "submitted")


@dataclass
class Submission(PaidRequest):
    """
    One job of a batch.

    :param count: How many images it takes, in the order of the task's images. The ids themselves are not kept:
        the fingerprint covers them, and a store may warn above 64 KiB.
    :param submitted_at: When the job id became known, epoch seconds.
    :param ended: The job's last status, once it is a final one.
    :param replaces: Jobs of the same images that failed before at no cost.
    """

    count: int
    submitted_at: float | None = None
    job_id: str | None = None
    ended: str | None = None
    replaces: list[str] = field(default_factory=list)

    def plan_again(self) -> None:
        super().plan_again()
        if self.job_id:
            self.replaces.append(self.job_id)
        self.job_id, self.submitted_at, self.ended = None, None, None

    def submitted(self, job_id: str, moment: float) -> None:
        """Note the job that PiktID started, and when (epoch seconds)."""
        self.state, self.job_id, self.submitted_at = "submitted", job_id, moment


@dataclass
class JobRecord:
    """
    All jobs of a task instance.

    :param fingerprint: Of everything that decides the content and the bill.
    :param created_at: Epoch seconds.
    :param superseded: Jobs of an earlier record of this task instance, which had other input.
    """

    fingerprint: str
    created_at: float
    submissions: list[Submission]
    superseded: list[str] = field(default_factory=list)
    version: int = RECORD_VERSION

    @property
    def job_ids(self) -> list[str]:
        """Known job ids in the order of the images."""
        return [item.job_id for item in self.submissions if item.job_id]

    @property
    def active(self) -> list[str]:
        """Job ids that are not known to have ended."""
        return [item.job_id for item in self.submissions if item.job_id and not item.ended]

    @property
    def is_complete(self) -> bool:
        """Whether every job was submitted."""
        return all(item.state == "submitted" for item in self.submissions)

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
        return own | set(self.superseded)

    def mark_ended(self, ended: Mapping[str, str]) -> None:
        """Note jobs that have ended, by id and status."""
        for item in self.submissions:
            item.ended = item.ended or ended.get(item.job_id or "")

    def plan_again(self, job_ids: Collection[str]) -> None:
        """Let the submissions of these jobs be sent again."""
        for item in self.submissions:
            if item.job_id and item.job_id in job_ids:
                item.plan_again()

    def chunks(self, images: Sequence[str]) -> list[list[str]]:
        """Split the task's images into those of each submission."""
        rest = iter(images)
        return [list(itertools.islice(rest, item.count)) for item in self.submissions]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> JobRecord:
        """
        Rebuild a record.

        :raises PiktidRecordError: It is not one, or was written by a newer version of this package.
        """
        return read_record(value, RECORD_VERSION, "submitted jobs", cls._build)

    @classmethod
    def _build(cls, value: Mapping[str, Any]) -> JobRecord:
        return cls(
            fingerprint=str(value["fingerprint"]),
            created_at=float(value["created_at"]),
            submissions=[_submission(item) for item in value["submissions"]],
            superseded=[str(job_id) for job_id in value.get("superseded") or []],
            version=int(value["version"]),
        )


def _submission(item: Mapping[str, Any]) -> Submission:
    """Rebuild a submission; one in an unknown state would be sent, and paid for, again."""
    submission = Submission(**item)
    if submission.state not in _STATES:
        raise ValueError(submission.state)
    if (submission.state == "submitted") != bool(submission.job_id):
        raise ValueError("a submission has a job id exactly when it is submitted")
    return submission


def plan(counts: Sequence[int], *, fingerprint: str, now: float) -> JobRecord:
    """
    Start a record with nothing sent.

    :param counts: Number of images of each job, in order.
    :param now: Epoch seconds.
    """
    return JobRecord(fingerprint, now, [Submission(count) for count in counts])
