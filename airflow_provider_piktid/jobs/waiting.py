# SPDX-License-Identifier: Apache-2.0
"""The waits of a batch of jobs, deadlines, and the errors when a wait ends badly."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_piktid.common import metrics
from airflow_provider_piktid.common.events import JobEvent
from airflow_provider_piktid.common.protocols import Wait
from airflow_provider_piktid.exceptions import PiktidJobTimeout, PiktidSubmissionError
from airflow_provider_piktid.jobs.watch import JobWatcher, WatchOptions, progress_line

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidClient, PiktidClient
    from airflow_provider_piktid.common.protocols import SlotWait
    from airflow_provider_piktid.hooks.piktid import PiktidSettings
    from airflow_provider_piktid.jobs.submission import JobRecord
    from airflow_provider_piktid.jobs.watch import WatchResult


@dataclass(frozen=True)
class SyncWaiter:
    """
    Waits on this thread, and so in this worker, with the same code as the trigger.

    :param submitted_at: Job id to the time of its submission, epoch seconds.
    """

    client: PiktidClient
    settings: PiktidSettings
    poll_interval: float
    log: Any
    submitted_at: dict[str, float] = field(default_factory=dict)

    def watch(
        self,
        job_ids: list[str],
        *,
        end_time: float,
        until: Literal["all", "any"] = "all",
        stream: bool = True,
    ) -> WatchResult:
        """Wait for jobs until a deadline (epoch seconds). A deadline that has passed still asks once."""

        async def connect() -> PiktidSettings:
            return self.settings

        async def watch(_: AsyncPiktidClient) -> WatchResult:
            return await JobWatcher(
                connect,
                job_ids,
                WatchOptions(until=until, end_time=end_time, poll_interval=self.poll_interval, stream=stream),
                on_change=lambda job: self.log.info(progress_line(job)),
            ).wait()

        return self.client.run(watch)

    def hold(self, wait: SlotWait, active: list[str], until: float) -> dict[str, str]:
        """
        Wait for room in the account, until an epoch second at the latest.

        :param active: Jobs whose end makes room, if the wait is for that.
        :return: Job id to status, for those that have ended.
        """
        until = min(max(wait.not_before, time.time() + 1.0), until)
        with metrics.timed("room.wait"):
            if wait.until_job_ends and active:
                return self.watch(active, end_time=until, until="any").ended
            time.sleep(max(0.0, until - time.time()))
        return {}


def slot_wait(
    wait: SlotWait,
    waiter: SyncWaiter,
    *,
    active: list[str],
    unsent: int,
    until: float,
    state: dict[str, Any],
    message: str,
) -> Wait:
    """
    Describe a wait for room in the account.

    :param active: The task's running jobs; the end of one makes room.
    :param unsent: Requests that the task has still to make.
    :param until: When to give up, epoch seconds.
    :param state: Handed back with the event.
    """
    settings = waiter.settings
    return Wait(
        kind="slot",
        arguments={
            "job_ids": active,
            "piktid_conn_id": settings.conn_id,
            "poll_interval": waiter.poll_interval,
            "not_before": wait.not_before,
            "until_job_ends": wait.until_job_ends,
            "end_time": until,
            "jobs_per_minute": settings.jobs_per_minute,
            "active_jobs": settings.active_jobs,
            "rate_window": settings.rate_window,
            "submitted_at": waiter.submitted_at,
            "jobs": unsent,
            "resume_state": state,
        },
        until=until,
        message=message,
        here=lambda: JobEvent("slot", ended=waiter.hold(wait, active, until), resume_state=state),
    )


def jobs_wait(record: JobRecord, waiter: SyncWaiter, *, until: float, state: dict[str, Any]) -> Wait:
    """
    Describe a wait for all jobs of a record.

    :param until: Deadline, epoch seconds.
    :param state: Handed back with the event.
    """
    return Wait(
        kind="jobs",
        arguments={
            "job_ids": record.job_ids,
            "piktid_conn_id": waiter.settings.conn_id,
            "poll_interval": waiter.poll_interval,
            "end_time": until,
            "submitted_at": waiter.submitted_at,
            "resume_state": state,
        },
        until=until,
        message=f"Waiting for {len(record.job_ids)} job(s) to end.",
        here=lambda: waiter.watch(record.job_ids, end_time=until).to_event(),
    )


def deadline(record: JobRecord, timeout: float) -> float:
    """Count from the last submission; a try that attaches after that has passed gets a deadline of its own."""
    end_time = max(record.submission_times.values(), default=time.time()) + timeout
    return end_time if end_time > time.time() else time.time() + timeout


def jobs_timeout(
    connection: str, record: JobRecord, ended: dict[str, str], timeout: float
) -> PiktidJobTimeout:
    """Return the error that names the jobs that had not ended at the deadline."""
    running = tuple(job_id for job_id in record.job_ids if job_id not in ended)
    return PiktidJobTimeout(
        f"{connection}: {len(running)} job(s) did not end within {timeout:g} s of submission: "
        f"{', '.join(running[:5])}{', ...' if len(running) > 5 else ''}. They are still running and will be billed. "
        "A retry attaches to them with a new deadline; raise `timeout` if this is their usual duration.",
        job_ids=running,
    )


def jobs_not_submitted(connection: str, record: JobRecord) -> PiktidSubmissionError:
    """Return the error for single jobs that were not submitted while others were."""
    failed = record.failed
    texts = " ".join(dict.fromkeys(item.failure or "" for item in failed))
    error = PiktidSubmissionError(
        f"{connection}: {len(failed)} of {len(record.submissions)} jobs were not submitted. The others are not "
        f"affected, and a retry does not pay for them again: {', '.join(record.job_ids) or 'none'}. {texts}"
    )
    error.permanent = all(item.is_permanent for item in failed)
    return error


def slot_timeout(
    connection: str, unsent: int, total: int, queue_timeout: float, running: list[str]
) -> PiktidJobTimeout:
    """Return the error for an account that had no room for too long."""
    return PiktidJobTimeout(
        f"{connection}: the account had no room for {unsent} of {total} paid request(s) within {queue_timeout:g} s. "
        "Nothing was lost: a retry continues where this try stopped.",
        job_ids=tuple(running),
    )
