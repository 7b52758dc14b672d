# SPDX-License-Identifier: Apache-2.0
"""
What triggers tell workers, and what the end of a job means.

Operator, sensor, deferrable and sync path all ask :func:`judge`, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_piktid.exceptions import (
    PiktidEventError,
    PiktidJobAbortedError,
    PiktidJobFailedError,
    PiktidPartialResultError,
)

if TYPE_CHECKING:
    from airflow_provider_piktid.models.v2 import ImageResult, JobResults

EVENT_VERSION = 1

EventStatus = Literal["done", "slot", "timeout", "error"]
_STATUSES: tuple[EventStatus, ...] = ("done", "slot", "timeout", "error")

#: A job that had been seen before answers 404: there is nothing left to wait for.
LOST = "lost"


@dataclass
class JobEvent:
    """
    The one event of a trigger. JSON only, no links and no secrets.

    :param status: ``done``: every job has ended. ``slot``: it is worth trying to submit. ``timeout``: the
        deadline passed. ``error``: waiting cannot go on; ``message`` says why.
    :param ended: Job id to last status word, for the jobs that have ended.
    :param notification_ids: Notifications of these jobs that were seen; the worker deletes them.
    :param carry: What the worker gave the trigger to hand back. ``DAG.test()`` of Airflow 3.3 drops the
        arguments of a deferral, but not the event.
    """

    status: EventStatus
    ended: dict[str, str] = field(default_factory=dict)
    message: str = ""
    permanent: bool = False
    notification_ids: list[int] = field(default_factory=list)
    carry: dict[str, Any] = field(default_factory=dict)
    version: int = EVENT_VERSION

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any, *, expected: Iterable[EventStatus]) -> JobEvent:
        """
        Check an event on resume.

        :raises PiktidEventError: None, malformed, of a newer version or of a status not expected here.
        """
        if not isinstance(value, Mapping) or value.get("status") not in _STATUSES:
            raise PiktidEventError(
                f"The trigger resumed this task with an event that is none of ours: {type(value).__name__}. "
                "A retry attaches to the same jobs."
            )
        try:
            event = cls(
                status=value["status"],
                ended={str(key): str(word) for key, word in dict(value.get("ended") or {}).items()},
                message=str(value.get("message") or ""),
                permanent=bool(value.get("permanent")),
                notification_ids=[int(item) for item in value.get("notification_ids") or []],
                carry=dict(value.get("carry") or {}),
                version=int(value.get("version") or 0),
            )
        except (TypeError, ValueError) as error:
            raise PiktidEventError(
                "The trigger resumed this task with an event whose fields make no sense. A retry attaches to the "
                "same jobs."
            ) from error
        if event.version > EVENT_VERSION or event.status not in tuple(expected):
            raise PiktidEventError(
                f"Unexpected event {event.status!r} of version {event.version}: triggerer and worker run "
                "different versions of airflow-provider-piktid. Update both; a retry attaches to the same jobs."
            )
        return event


@dataclass(frozen=True)
class JobOutcome:
    """
    How one job ended.

    :param status: Last status word, lower case.
    :param successful: Outputs that can be downloaded.
    :param failed_images: One line per output that failed: its place and the API's reason.
    :param credits_used: None if the API did not say.
    :param post_processing_error: Set when only post-processing failed; the outputs exist.
    """

    job_id: str
    status: str
    successful: int
    failed_images: tuple[str, ...] = ()
    credits_used: float | None = None
    error_message: str | None = None
    post_processing_error: str | None = None

    @property
    def spent_nothing(self) -> bool:
        """Whether buying the same images again pays nothing twice."""
        return self.status == "failed" and self.successful == 0 and not self.credits_used


def outcome_of(job_id: str, results: JobResults) -> JobOutcome:
    """Sum up the results of a job that has ended."""
    done = [result for result in results.results if is_downloadable(result)]
    failed = [result for result in results.results if not is_downloadable(result)]
    post_error = results.post_processing_error
    if not post_error and results.post_processing_status == "failed":
        post_error = "no reason given"
    return JobOutcome(
        job_id=job_id,
        status=results.status,
        successful=len(done),
        failed_images=tuple(_failed_line(result) for result in failed),
        credits_used=results.credits_used,
        error_message=results.error_message,
        post_processing_error=post_error,
    )


def is_downloadable(result: ImageResult) -> bool:
    """Whether an output exists: its status says so, if it has one, and there is a link."""
    return result.status in ("completed", "") and bool(result.download_url)


def judge(outcomes: Iterable[JobOutcome], *, fail_on_partial: bool, connection: str) -> list[str]:
    """
    Decide whether jobs that ended are a success.

    :param fail_on_partial: Whether single failed outputs fail the task. A job without any output always does.
    :return: Warnings to log.
    :raises PiktidJobAbortedError: A job was aborted.
    :raises PiktidJobFailedError: A job failed, was lost, or gave no output at all.
    :raises PiktidPartialResultError: Outputs failed and ``fail_on_partial`` is set.
    """
    warnings: list[str] = []
    aborted, failed, partial = [], [], []
    for outcome in outcomes:
        if outcome.status == "aborted":
            aborted.append(outcome)
        elif outcome.status != "completed" or not outcome.successful:
            failed.append(outcome)
        elif outcome.failed_images:
            partial.append(outcome)
        if outcome.post_processing_error:
            warnings.append(
                f"{connection}: post-processing of job {outcome.job_id} failed "
                f"({outcome.post_processing_error}); its unprocessed outputs exist."
            )
    warnings += [_partial_line(outcome, connection) for outcome in partial]
    if aborted:
        raise PiktidJobAbortedError(
            f"{connection}: {_jobs(aborted)} aborted at PiktID. A retry does not buy them again; "
            "set `generation` to a new value to do so. Outputs made before can be downloaded.",
            job_ids=tuple(outcome.job_id for outcome in aborted),
        )
    if failed:
        error = PiktidJobFailedError(
            f"{connection}: {_jobs(failed)} failed{_reasons(failed)}. A retry submits anew only what cost "
            "nothing; for the rest set `generation`, or regenerate the failed images.",
            job_ids=tuple(outcome.job_id for outcome in failed),
        )
        error.permanent = not any(outcome.spent_nothing for outcome in failed)
        raise error
    if partial and fail_on_partial:
        raise PiktidPartialResultError(
            f"{' '.join(_partial_line(outcome, connection) for outcome in partial)} The other outputs can be "
            "downloaded; PiktidRegenerateOperator repeats only the failed ones.",
            job_ids=tuple(outcome.job_id for outcome in partial),
        )
    return warnings


def _failed_line(result: ImageResult) -> str:
    place = f"image {result.image_index}, variation {result.group_index}"
    return f"{place}: {result.error_message or result.status or 'no output'}"


def _jobs(outcomes: list[JobOutcome]) -> str:
    shown = ", ".join(outcome.job_id for outcome in outcomes[:5])
    return f"job{'s' if len(outcomes) > 1 else ''} {shown}{', ...' if len(outcomes) > 5 else ''}"


def _reasons(outcomes: list[JobOutcome]) -> str:
    reasons = [
        outcome.error_message or (outcome.failed_images[0] if outcome.failed_images else "")
        for outcome in outcomes
    ]
    shown = "; ".join(dict.fromkeys(reason for reason in reasons if reason))
    lost = any(outcome.status == LOST for outcome in outcomes)
    return (f" ({shown[:500]})" if shown else "") + (": PiktID does not know it any more" if lost else "")


def _partial_line(outcome: JobOutcome, connection: str) -> str:
    shown = "; ".join(outcome.failed_images[:5])
    return (
        f"{connection}: {len(outcome.failed_images)} output(s) of job {outcome.job_id} failed ({shown}"
        f"{'; ...' if len(outcome.failed_images) > 5 else ''})."
    )
