# SPDX-License-Identifier: Apache-2.0
"""What all operators and the sensor share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_piktid.exceptions import PiktidError

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidClient
    from airflow_provider_piktid.common.events import JobOutcome
    from airflow_provider_piktid.common.records import JobRecord

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextlib.contextmanager
def steer() -> Iterator[None]:
    """
    Let errors that no retry can mend fail the task at once.

    The error itself stays the cause, so that its class and fields can still be read.
    """
    try:
        yield
    except PiktidError as error:
        if error.permanent:
            raise AirflowFailException(str(error)) from error
        raise


async def run_bounded(
    function: Callable[[Item], Awaitable[Result]], items: Sequence[Item], limit: int
) -> list[Result]:
    """
    Await ``function(item)`` for all items, at most ``limit`` at once; results in the order of the items.

    The first error ends the rest and is raised as it is, not in a group, so that callers can tell its kind.
    """
    results: dict[int, Result] = {}
    pending = iter(enumerate(items))

    async def work() -> None:
        for index, item in pending:
            results[index] = await function(item)

    workers = [asyncio.ensure_future(work()) for _ in range(min(max(1, limit), len(items)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [results[index] for index in range(len(items))]


async def fetch_outcomes(client: AsyncPiktidClient, ended: dict[str, str]) -> list[JobOutcome]:
    """
    Read what jobs that have ended gave, eight at a time.

    :param ended: Job id to last status word. Jobs that PiktID does not know any more are not asked for.
    """
    from airflow_provider_piktid.common.events import LOST, JobOutcome, outcome_of

    async def outcome(pair: tuple[str, str]) -> JobOutcome:
        job_id, word = pair
        return (
            JobOutcome(job_id, LOST, 0)
            if word == LOST
            else outcome_of(job_id, await client.get_job_results(job_id))
        )

    return await run_bounded(outcome, list(ended.items()), 8)


async def delete_notifications(client: AsyncPiktidClient, ids: list[int]) -> int:
    """
    Delete notifications that were used; count those that were deleted.

    A failure is no reason to fail a paid task: they expire by themselves after ten minutes.
    """

    async def delete(notification_id: int) -> bool:
        with contextlib.suppress(PiktidError):
            await client.delete_notification(notification_id)
            return True
        return False

    return sum(await run_bounded(delete, ids, 8))


def run_began(context: Any) -> float:
    """
    Give a moment before which the DAG run bought nothing, as epoch seconds.

    The end of its data interval, else its logical date: unlike its start, a clear leaves them as they are.
    """
    for key in ("data_interval_end", "logical_date"):
        moment = context.get(key)
        if moment is not None:
            return float(moment.timestamp())
    run_after = getattr(context.get("dag_run"), "run_after", None)
    return float(run_after.timestamp()) if run_after is not None else 0.0


def push(context: Any, key: str, value: Any) -> None:
    """Push a value to XCom under a key of its own."""
    context["ti"].xcom_push(key=key, value=value)


@contextlib.contextmanager
def telling_jobs(context: Any, record: JobRecord) -> Iterator[None]:
    """
    Leave what is known of the jobs in XCom key ``jobs``, also when the task defers or fails.

    A list of ``[job id or None, number of images]`` in the order of the images, so that a task behind it can
    fetch what was paid for whatever became of this one.
    """
    try:
        yield
    finally:
        push(context, "jobs", [[item.job_id, item.count] for item in record.submissions])


def summarize(outcomes: Sequence[JobOutcome], *, images: int) -> dict[str, Any]:
    """Count what jobs gave and cost, for XCom: no links, and at most fifty failures by name."""
    spent = [outcome.credits_used for outcome in outcomes if outcome.credits_used is not None]
    return {
        "jobs": len(outcomes),
        "images": images,
        "successful": sum(outcome.successful for outcome in outcomes),
        "failed": sum(len(outcome.failed_images) for outcome in outcomes),
        "credits_used": sum(spent) if spent else None,
        "statuses": {outcome.job_id: outcome.status for outcome in outcomes},
        "failures": [f"{outcome.job_id}: {line}" for outcome in outcomes for line in outcome.failed_images][
            :50
        ],
    }
