# SPDX-License-Identifier: Apache-2.0
"""Waiting on the worker, deadlines, and what to say when a wait ends badly."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_piktid.exceptions import PiktidError, PiktidJobTimeout

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidClient, PiktidClient
    from airflow_provider_piktid.common.events import JobEvent
    from airflow_provider_piktid.common.records import JobRecord
    from airflow_provider_piktid.hooks.piktid import PiktidSettings
    from airflow_provider_piktid.jobs.submission import SlotWait
    from airflow_provider_piktid.jobs.watch import Watched
    from airflow_provider_piktid.triggers.job import PiktidJobTrigger, PiktidSlotTrigger

#: Airflow's own deferral timeout lies this far behind ours, because it skips the resume method.
FRAMEWORK_MARGIN_SECONDS = 300.0


@dataclass(frozen=True)
class Here:
    """
    Waits on this thread, and so in this worker: what the trigger does, with the same code.

    :param submitted_at: Job id to the time of its submission, epoch seconds.
    """

    client: PiktidClient
    settings: PiktidSettings
    submitted_at: dict[str, float]
    poll_interval: float
    log: Any

    def watch(
        self,
        job_ids: list[str],
        *,
        end_time: float,
        until: Literal["all", "any"] = "all",
        stream: bool = True,
    ) -> Watched:
        """Wait for jobs until a deadline (epoch seconds). A deadline that has passed still asks once."""
        from airflow_provider_piktid.hooks.piktid import async_client
        from airflow_provider_piktid.jobs.watch import JobWatcher, WatchOptions
        from airflow_provider_piktid.triggers.job import progress_line

        async def connect() -> AsyncPiktidClient:
            return async_client(self.settings, patient=False)

        async def watch(_: AsyncPiktidClient) -> Watched:
            return await JobWatcher(
                connect,
                job_ids,
                WatchOptions(until=until, end_time=end_time, poll_interval=self.poll_interval, stream=stream),
                submitted_at=self.submitted_at,
                on_change=lambda job: self.log.info(progress_line(job)),
            ).wait()

        return self.client.run(watch)


def hold_for_slot(here: Here, record: JobRecord, wait: SlotWait, until: float) -> None:
    """Wait for room in the account on this worker, until an epoch second at the latest."""
    if wait.until_job_ends and record.active:
        record.mark_ended(here.watch(record.active, end_time=until, until="any").ended)
    else:
        time.sleep(max(0.0, until - time.time()))


def slot_trigger(
    record: JobRecord, wait: SlotWait, settings: PiktidSettings, poll_interval: float, queue_until: float
) -> PiktidSlotTrigger:
    """Make the trigger that waits for room; it hands the record back."""
    from airflow_provider_piktid.triggers.job import PiktidSlotTrigger

    return PiktidSlotTrigger(
        job_ids=record.active,
        piktid_conn_id=settings.conn_id,
        poll_interval=poll_interval,
        not_before=wait.not_before,
        until_job_ends=wait.until_job_ends,
        end_time=queue_until,
        jobs_per_minute=settings.jobs_per_minute,
        active_jobs=settings.active_jobs,
        rate_window=settings.rate_window,
        submitted_at=record.submission_times,
        carry={"record": record.to_json(), "queue_until": queue_until},
    )


def job_trigger(record: JobRecord, conn_id: str, poll_interval: float, end_time: float) -> PiktidJobTrigger:
    """Make the trigger that waits for all jobs; it hands the record back."""
    from airflow_provider_piktid.triggers.job import PiktidJobTrigger

    return PiktidJobTrigger(
        job_ids=record.job_ids,
        piktid_conn_id=conn_id,
        poll_interval=poll_interval,
        end_time=end_time,
        submitted_at=record.submission_times,
        carry={"record": record.to_json()},
    )


def deadline(record: JobRecord, timeout: float) -> float:
    """Count from the last submission; a try that attaches after that has passed gets a deadline of its own."""
    end_time = max(record.submission_times.values(), default=time.time()) + timeout
    return end_time if end_time > time.time() else time.time() + timeout


def framework_timeout(end_time: float) -> timedelta:
    """How long Airflow itself lets the deferral last: longer than we do."""
    return timedelta(seconds=max(0.0, end_time - time.time()) + FRAMEWORK_MARGIN_SECONDS)


def too_late(connection: str, record: JobRecord, ended: dict[str, str], timeout: float) -> PiktidJobTimeout:
    """Say which jobs had not ended at the deadline."""
    running = tuple(job_id for job_id in record.job_ids if job_id not in ended)
    return PiktidJobTimeout(
        f"{connection}: {len(running)} job(s) had not ended {timeout:g} s after submission: "
        f"{', '.join(running[:5])}{', ...' if len(running) > 5 else ''}. They still run and bill. A retry "
        "attaches to them with a new deadline; raise `timeout` if this is their usual pace.",
        job_ids=running,
    )


def no_room(connection: str, record: JobRecord, queue_timeout: float) -> PiktidJobTimeout:
    """Say that the account stayed full."""
    missing = len(record.submissions) - len(record.job_ids)
    return PiktidJobTimeout(
        f"{connection}: no room in the account for {missing} of {len(record.submissions)} job(s) within "
        f"{queue_timeout:g} s. Nothing was lost: a retry goes on where this try stopped.",
        job_ids=tuple(record.active),
    )


def event_error(event: JobEvent) -> PiktidError:
    """Make the error that a trigger reported."""
    error = PiktidError(f"{event.message} The jobs go on at PiktID; a retry attaches to them.")
    error.permanent = event.permanent
    return error
