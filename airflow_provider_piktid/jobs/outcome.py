# SPDX-License-Identifier: Apache-2.0
"""
What the end of a job means.

Operator, sensor, deferrable and sync path all use :func:`raise_for_outcome`, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.common import metrics
from airflow_provider_piktid.common.concurrency import run_bounded
from airflow_provider_piktid.exceptions import (
    PiktidConfigError,
    PiktidJobAbortedError,
    PiktidJobFailedError,
    PiktidPartialResultError,
)

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidClient
    from airflow_provider_piktid.models.v2 import ImageResult, JobResults

#: Status of a job that answered before and now answers 404: there is nothing left to wait for.
LOST = "lost"

#: Failures by name in the summary: XCom is not for thousands of lines.
MAX_FAILURES = 50

#: Jobs whose results are read at the same time.
READERS = 8


@dataclass(frozen=True)
class JobOutcome:
    """
    How one job ended.

    :param status: Last status, lower case.
    :param successful: Outputs that can be downloaded.
    :param failed_images: One line per output that failed: its place and the API's reason.
    :param credits_used: None if the API did not say.
    :param expected: Outputs that were paid for; None if that is not known here.
    :param post_processing_error: Set when only post-processing failed; the outputs exist.
    """

    job_id: str
    status: str
    successful: int
    failed_images: tuple[str, ...] = ()
    credits_used: float | None = None
    error_message: str | None = None
    post_processing_error: str | None = None
    expected: int | None = None

    @property
    def missing(self) -> int:
        """Outputs that were paid for and are in the results neither as done nor as failed."""
        return max(0, (self.expected or 0) - self.successful - len(self.failed_images))

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with a job that completed, one line each."""
        missing = (f"{self.missing} of {self.expected} outputs are missing",) if self.missing else ()
        return self.failed_images + missing

    @property
    def spent_nothing(self) -> bool:
        """Whether submitting the same images again pays nothing twice: PiktID says that the job cost nothing."""
        return self.status == "failed" and self.successful == 0 and self.credits_used == 0


def outcome_of(job_id: str, results: JobResults, expected: int | None = None) -> JobOutcome:
    """Sum up the results of a job that has ended; ``expected`` is the number of outputs that were paid for."""
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
        expected=expected,
    )


async def fetch_outcomes(
    client: AsyncPiktidClient, ended: Mapping[str, str], expected: Mapping[str, int] | None = None
) -> list[JobOutcome]:
    """
    Read the results of jobs that have ended, eight at a time.

    :param ended: Job id to last status. Jobs that PiktID no longer knows are not asked for.
    :param expected: Job id to the number of outputs that were paid for. Default: not known.
    """

    async def outcome(pair: tuple[str, str]) -> JobOutcome:
        job_id, status = pair
        if status == LOST:
            return JobOutcome(job_id, LOST, 0)
        return outcome_of(job_id, await client.get_job_results(job_id), (expected or {}).get(job_id))

    return await run_bounded(outcome, list(ended.items()), READERS)


def is_downloadable(result: ImageResult) -> bool:
    """Tell whether an output exists: its status, if it has one, says so, and there is a link."""
    return result.status in ("completed", "") and bool(result.download_url)


def summarize(outcomes: Sequence[JobOutcome], *, images: int) -> dict[str, Any]:
    """Return counts and credits of jobs for XCom, and report them: no links, and at most fifty failures by name."""
    for outcome in outcomes:
        metrics.job_ended(outcome.status)
        metrics.count("outputs.successful", outcome.successful)
        metrics.count("outputs.failed", len(outcome.failed_images) + outcome.missing)
        metrics.count("credits.used", outcome.credits_used)
    spent = [outcome.credits_used for outcome in outcomes if outcome.credits_used is not None]
    failures = [f"{outcome.job_id}: {line}" for outcome in outcomes for line in outcome.problems]
    return {
        "jobs": len(outcomes),
        "images": images,
        "successful": sum(outcome.successful for outcome in outcomes),
        "failed": sum(len(outcome.failed_images) for outcome in outcomes),
        "missing": sum(outcome.missing for outcome in outcomes),
        "credits_used": sum(spent) if spent else None,
        "statuses": {outcome.job_id: outcome.status for outcome in outcomes},
        "failures": failures[:MAX_FAILURES],
    }


def raise_for_outcome(
    outcomes: Iterable[JobOutcome], *, fail_on_partial: bool, connection: str, bought_here: bool = True
) -> list[str]:
    """
    Decide whether jobs that ended are a success.

    :param fail_on_partial: Whether failed or missing outputs fail the task. A job without any output always does.
    :param bought_here: Whether the task submitted the jobs, so that its `rerun_key` buys them again. Default: True.
    :return: Warnings to log.
    :raises PiktidJobAbortedError: A job was aborted.
    :raises PiktidJobFailedError: A job failed, was lost, or has no output at all.
    :raises PiktidPartialResultError: Outputs failed or are missing, and ``fail_on_partial`` is set.
    """
    outcomes = list(outcomes)
    aborted = [outcome for outcome in outcomes if outcome.status == "aborted"]
    ended = [outcome for outcome in outcomes if outcome.status != "aborted"]
    failed = [outcome for outcome in ended if outcome.status != "completed" or not outcome.successful]
    partial = [outcome for outcome in ended if outcome not in failed and outcome.problems]
    if aborted:
        again = (
            "set `rerun_key` to a new value to do so" if bought_here else "submit them where they came from"
        )
        raise PiktidJobAbortedError(
            f"{connection}: {_jobs(aborted)} aborted at PiktID. A retry does not buy them again; "
            f"{again}. Outputs made before the abort can be downloaded.",
            job_ids=tuple(outcome.job_id for outcome in aborted),
        )
    if failed:
        raise _failure(failed, connection, bought_here)
    if partial and fail_on_partial:
        raise PiktidPartialResultError(
            f"{' '.join(_partial_line(outcome, connection) for outcome in partial)} The other outputs can be "
            "downloaded; PiktidRegenerateOperator repeats only the failed ones.",
            job_ids=tuple(outcome.job_id for outcome in partial),
        )
    return [
        f"{connection}: post-processing of job {outcome.job_id} failed ({outcome.post_processing_error}); its "
        "unprocessed outputs exist."
        for outcome in outcomes
        if outcome.post_processing_error
    ] + [_partial_line(outcome, connection) for outcome in partial]


def _failure(failed: list[JobOutcome], connection: str, bought_here: bool) -> PiktidJobFailedError:
    if any(outcome.status == LOST for outcome in failed):
        remedy = "Look for it in the account, then clear the task: it asks for the same job again."
    elif not bought_here:
        remedy = (
            "A retry submits nothing: regenerate the failed images, or submit them where the job came from."
        )
    else:
        remedy = (
            "A retry resubmits only what certainly cost nothing; for the rest set `rerun_key` to a new value, or "
            "regenerate the failed images."
        )
    error = PiktidJobFailedError(
        f"{connection}: {_jobs(failed)} failed{_reasons(failed)}. {remedy}",
        job_ids=tuple(outcome.job_id for outcome in failed),
    )
    error.permanent = not any(outcome.spent_nothing for outcome in failed)
    return error


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
    return (f" ({shown[:500]})" if shown else "") + (": PiktID no longer knows it" if lost else "")


def _partial_line(outcome: JobOutcome, connection: str) -> str:
    shown = "; ".join(outcome.problems[:5])
    count = len(outcome.failed_images) + outcome.missing
    return (
        f"{connection}: {count} output(s) of job {outcome.job_id} failed or are missing ({shown}"
        f"{'; ...' if len(outcome.problems) > 5 else ''})."
    )


def job_id_list(value: Any, purpose: str) -> list[str]:
    """
    Return job ids as a flat list, each once.

    :param value: One id, a list, or a list of lists, as a mapped task returns one for each of its task instances
        and None for a skipped one.
    :param purpose: What is to be done with the jobs, for the message: "download".
    :raises PiktidConfigError: There is none.
    """
    if (
        value
        and not isinstance(value, str)
        and (isinstance(value, Mapping) or not isinstance(value, Iterable))
    ):
        raise PiktidConfigError(
            f"job_ids must be job ids, not {type(value).__name__}. Pass what the swap returned: `swap.output`."
        )
    given = [value] if isinstance(value, str) else list(value or [])
    nested = [[item] if isinstance(item, str) else list(item or []) for item in given]
    ids = [str(job_id) for part in nested for job_id in part]
    if not ids:
        raise PiktidConfigError(
            f"job_ids is empty: there is nothing to {purpose}. Pass the job ids that the swap returned: `swap.output`."
        )
    return list(dict.fromkeys(ids))
