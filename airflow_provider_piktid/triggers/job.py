# SPDX-License-Identifier: Apache-2.0
"""Wait for jobs without a worker."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_piktid.common.events import JobEvent
from airflow_provider_piktid.exceptions import PiktidError

if TYPE_CHECKING:
    from airflow_provider_piktid.jobs.queue import Watching
    from airflow_provider_piktid.jobs.watch import Watched, WatchOptions
    from airflow_provider_piktid.models.v2 import Job


class JobWaitTrigger(BaseTrigger):
    """
    What triggers that watch jobs share: the watcher, one event on every path, and a kill that only tells.

    A trigger may run twice at once and may vanish: it reads, it never pays, deletes or cancels.
    """

    job_ids: list[str]
    piktid_conn_id: str
    poll_interval: float
    end_time: float | None
    submitted_at: dict[str, float]
    carry: dict[str, Any]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._finished = False
        self._ended: dict[str, str] = {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield exactly one event, whatever happens."""
        try:
            event = await self._event()
        except PiktidError as error:
            event = JobEvent("error", message=str(error), permanent=error.permanent)
        except Exception as error:
            # The text of a foreign error may hold an address with a signature: the type must do.
            self.log.exception("Waiting for PiktID jobs failed")
            event = JobEvent(
                "error", message=f"{self.piktid_conn_id}: {type(error).__name__} in the trigger."
            )
        event.carry = self.carry
        self._finished = True
        yield TriggerEvent(event.to_json())

    async def _event(self) -> JobEvent:
        raise NotImplementedError

    async def _watch(self, watching: Watching, **options: Any) -> Watched:
        from airflow_provider_piktid.hooks.piktid import PiktidHook
        from airflow_provider_piktid.jobs.watch import JobWatcher, WatchOptions

        def changed(job: Job) -> None:
            self._log_progress(job)
            if job.done:
                self._ended[job.job_id] = job.status
                watching.ended(job.job_id)

        hook = PiktidHook(self.piktid_conn_id)
        settings: WatchOptions = WatchOptions(
            poll_interval=self.poll_interval,
            end_time=self.end_time if self.end_time is not None else float("inf"),
            **options,
        )
        watcher = JobWatcher(
            lambda: hook.aget_client(patient=False),
            self.job_ids,
            settings,
            submitted_at=self.submitted_at,
            on_change=changed,
        )
        return await watcher.wait()

    def _log_progress(self, job: Job) -> None:
        self.log.info(progress_line(job))

    async def on_kill(self) -> None:
        """Tell what still runs: PiktID has no way to cancel a job. Called by Airflow 3.3 and newer."""
        # It is also called when a trigger closes after its event, and when another triggerer takes over.
        if not self._finished and self.job_ids:
            self.log.warning(
                "This wait was ended, the jobs were not: %s still run and bill, as PiktID cannot cancel them. "
                "The next try of the task, or a clear, attaches to them.",
                ", ".join(self.job_ids),
            )


class PiktidJobTrigger(JobWaitTrigger):
    """
    Wait until jobs have ended.

    Listens to the account's notifications and asks for the status at every hint; polls while there is no
    stream. Gives one event: ``done``, ``timeout`` or ``error``; see ``airflow_provider_piktid.common.events``.

    :param job_ids: Jobs to wait for, all of them.
    :param piktid_conn_id: Connection id.
    :param poll_interval: Seconds between status requests while there is no stream. Default 10.
    :param end_time: Deadline, epoch seconds; None: none.
    :param submitted_at: Job id to submission time, epoch seconds: a job younger than 30 s may answer 404.
    :param carry: Handed back in the event, as it is. JSON only, no secrets.
    """

    def __init__(
        self,
        job_ids: Sequence[str],
        piktid_conn_id: str = "piktid_default",
        poll_interval: float = 10.0,
        end_time: float | None = None,
        submitted_at: dict[str, float] | None = None,
        carry: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.job_ids = list(job_ids)
        self.piktid_conn_id = piktid_conn_id
        self.poll_interval = poll_interval
        self.end_time = end_time
        self.submitted_at = dict(submitted_at or {})
        self.carry = dict(carry or {})

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "airflow_provider_piktid.triggers.job.PiktidJobTrigger",
            {
                "job_ids": self.job_ids,
                "piktid_conn_id": self.piktid_conn_id,
                "poll_interval": self.poll_interval,
                "end_time": self.end_time,
                "submitted_at": self.submitted_at,
                "carry": self.carry,
            },
        )

    async def _event(self) -> JobEvent:
        from airflow_provider_piktid.jobs.queue import turnstile

        queue = turnstile(self.piktid_conn_id)
        ticket = self.carry.get("ticket")
        with queue.watching(self.job_ids, self.submitted_at, ticket=ticket) as watching:
            watched = await self._watch(watching)
        return JobEvent(
            "timeout" if watched.timed_out else "done",
            ended=watched.ended,
            notification_ids=watched.notification_ids,
        )


class PiktidSlotTrigger(JobWaitTrigger):
    """
    Wait until submitting another job is likely to be accepted, and it is this task's turn.

    Several waiting tasks of one process take turns. Gives one event: ``slot``, ``timeout`` or ``error``.

    :param job_ids: The task's own jobs that run; the end of one makes room.
    :param not_before: Epoch seconds before which there is no reason to try ...
    :param until_job_ends: ... but the end of a job.
    :param end_time: When to give up waiting for room, epoch seconds.
    :param jobs_per_minute: Submissions that the account allows in each window.
    :param active_jobs: Jobs that it allows at once.
    :param rate_window: Length of the window in seconds.
    """

    def __init__(
        self,
        job_ids: Sequence[str],
        piktid_conn_id: str = "piktid_default",
        poll_interval: float = 10.0,
        not_before: float = 0.0,
        until_job_ends: bool = False,
        end_time: float | None = None,
        jobs_per_minute: int = 5,
        active_jobs: int = 5,
        rate_window: float = 60.0,
        submitted_at: dict[str, float] | None = None,
        carry: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.job_ids = list(job_ids)
        self.piktid_conn_id = piktid_conn_id
        self.poll_interval = poll_interval
        self.not_before = not_before
        self.until_job_ends = until_job_ends
        self.end_time = end_time
        self.jobs_per_minute = jobs_per_minute
        self.active_jobs = active_jobs
        self.rate_window = rate_window
        self.submitted_at = dict(submitted_at or {})
        self.carry = dict(carry or {})

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "airflow_provider_piktid.triggers.job.PiktidSlotTrigger",
            {
                "job_ids": self.job_ids,
                "piktid_conn_id": self.piktid_conn_id,
                "poll_interval": self.poll_interval,
                "not_before": self.not_before,
                "until_job_ends": self.until_job_ends,
                "end_time": self.end_time,
                "jobs_per_minute": self.jobs_per_minute,
                "active_jobs": self.active_jobs,
                "rate_window": self.rate_window,
                "submitted_at": self.submitted_at,
                "carry": self.carry,
            },
        )

    async def _event(self) -> JobEvent:
        import asyncio

        from airflow_provider_piktid.jobs.queue import Limits, turnstile

        queue = turnstile(self.piktid_conn_id)
        limits = Limits(self.jobs_per_minute, self.active_jobs, self.rate_window)
        now, ticket = time.time(), self.carry.get("ticket")
        with queue.watching(self.job_ids, self.submitted_at, ticket=ticket) as watching:
            watch = asyncio.ensure_future(self._watch(watching)) if self.job_ids else None
            try:
                delay = max(0.0, self.not_before - now)
                patience = None if self.end_time is None else max(0.0, self.end_time - now)
                turn = queue.turn(limits, delay, until_job_ends=self.until_job_ends)
                async with asyncio.timeout(patience):
                    self.carry["ticket"] = await turn
            except TimeoutError:
                return JobEvent("timeout", ended=self._ended)
            finally:
                if watch is not None:
                    watch.cancel()
                    await asyncio.gather(watch, return_exceptions=True)
        return JobEvent("slot", ended=self._ended)


def progress_line(job: Job) -> str:
    """Describe a status in one line: ``Job job-1: processing, 3/10 images``."""
    counts = f", {job.processed_images or 0}/{job.total_images} images" if job.total_images else ""
    post = f", post-processing {job.post_processing_status}" if job.post_processing_status else ""
    return f"Job {job.job_id}: {job.status}{counts}{post}"
