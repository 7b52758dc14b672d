# SPDX-License-Identifier: Apache-2.0
"""Wait for jobs, or for a free slot to submit one, in the triggerer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_piktid.common import metrics
from airflow_provider_piktid.common.events import JobEvent
from airflow_provider_piktid.exceptions import PiktidError
from airflow_provider_piktid.jobs.queue import AccountLimits, ActiveJobs, admission_queue
from airflow_provider_piktid.jobs.watch import WatchOptions

if TYPE_CHECKING:
    from airflow_provider_piktid.hooks.settings import PiktidSettings
    from airflow_provider_piktid.jobs.watch import WatchResult
    from airflow_provider_piktid.models.v2 import Job


LOST_SECONDS = WatchOptions.lost_seconds


class WaitTrigger(BaseTrigger):
    """
    The base of all triggers: one event on every path, and a kill that is only logged.

    Two copies of a trigger may run at the same time, and each may be stopped at any moment. So triggers only read;
    they never pay, delete or cancel.

    The constructor does not check its arguments, as any error but ``TypeError`` in a constructor ends the triggerer
    at every start. Invalid arguments are reported by the event.

    :param arguments: The subclass's own arguments; also its attributes, and what :meth:`serialize` returns.
    """

    piktid_conn_id: str
    resume_state: Mapping[str, Any] | None

    def __init__(self, **arguments: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._names = tuple(arguments)
        vars(self).update(arguments)
        self._finished = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        arguments = {name: vars(self)[name] for name in self._names}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield exactly one event on every path."""
        try:
            event = await self._event()
        except PiktidError as error:
            event = JobEvent("error", message=str(error), permanent=error.permanent)
        except Exception as error:
            # The text of another library's error may contain a signed URL, so only its type is sent.
            self.log.exception("Waiting for PiktID failed")
            event = JobEvent(
                "error", message=f"{self.piktid_conn_id}: {type(error).__name__} in the trigger."
            )
        with contextlib.suppress(TypeError, ValueError):
            event.resume_state = {**dict(self.resume_state or {}), **event.resume_state}
        self._finished = True
        yield TriggerEvent(event.to_json())

    async def _event(self) -> JobEvent:
        raise NotImplementedError

    def _outstanding(self) -> list[str]:
        """Return what is still running at PiktID, for messages."""
        return []

    async def on_kill(self) -> None:
        """Log what is still running: PiktID cannot cancel it. Called by Airflow 3.3 and newer."""
        # It is also called when a trigger closes after its event, and when another triggerer takes over.
        if not self._finished and self._outstanding():
            self.log.warning(
                "Wait stopped; %s are still running and will be billed, as PiktID cannot cancel them. The next try of "
                "the task, or a clear, attaches to them.",
                ", ".join(self._outstanding()),
            )


class JobWatchTrigger(WaitTrigger):
    """The base of triggers that watch jobs; the subclasses describe the arguments."""

    job_ids: Sequence[str]
    poll_interval: float
    end_time: float | None
    submitted_at: Mapping[str, float] | None
    lost_seconds: float = LOST_SECONDS

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._ended: dict[str, str] = {}

    def _outstanding(self) -> list[str]:
        return [str(job_id) for job_id in self.job_ids]

    def _counted(self) -> ActiveJobs:
        """Count the jobs as active in the admission queue of the connection, inside a ``with`` block."""
        ticket = dict(self.resume_state or {}).get("ticket")
        times = dict(self.submitted_at or {})
        return admission_queue(self.piktid_conn_id).watching(self._outstanding(), times, ticket=ticket)

    async def _settings(self) -> PiktidSettings:
        from airflow_provider_piktid.hooks.piktid import PiktidHook

        return await PiktidHook(self.piktid_conn_id).aget_settings()

    async def _watch(self, active: ActiveJobs) -> WatchResult:
        from airflow_provider_piktid.jobs.watch import JobWatcher, progress_line

        def changed(job: Job) -> None:
            self.log.info(progress_line(job))
            if job.done:
                self._ended[job.job_id] = job.status
                active.ended(job.job_id)

        options = WatchOptions(
            poll_interval=float(self.poll_interval),
            end_time=float(self.end_time) if self.end_time is not None else float("inf"),
            lost_seconds=float(self.lost_seconds),
        )
        return await JobWatcher(self._settings, self._outstanding(), options, on_change=changed).wait()


class PiktidJobTrigger(JobWatchTrigger):
    """
    Wait until jobs have ended.

    Listens to the notifications of the account, with one stream for all triggers of the process, and gets the status at
    every event; polls while there is no stream.
    Sends one event: ``done``, ``timeout`` or ``error``; see ``airflow_provider_piktid.common.events``.

    :param job_ids: Jobs to wait for.
    :param piktid_conn_id: Connection id. Default: ``piktid_default``.
    :param poll_interval: Seconds between status requests while there is no stream. Default: 10.
    :param end_time: Deadline, epoch seconds. Default: none.
    :param submitted_at: Job id to submission time, epoch seconds, for the admission queue. Default: none.
    :param lost_seconds: Seconds of answers 404, several in a row, after which a job counts as lost. Default: 30.
    :param resume_state: Returned unchanged in the event. JSON only, no secrets. Default: none.
    """

    def __init__(
        self,
        job_ids: Sequence[str],
        piktid_conn_id: str = "piktid_default",
        poll_interval: float = 10.0,
        end_time: float | None = None,
        submitted_at: Mapping[str, float] | None = None,
        lost_seconds: float = LOST_SECONDS,
        resume_state: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            job_ids=job_ids,
            piktid_conn_id=piktid_conn_id,
            poll_interval=poll_interval,
            end_time=end_time,
            submitted_at=submitted_at,
            lost_seconds=lost_seconds,
            resume_state=resume_state,
        )

    async def _event(self) -> JobEvent:
        with self._counted() as active:
            return (await self._watch(active)).to_event()


class PiktidSlotTrigger(JobWatchTrigger):
    """
    Wait until it is this task's turn to submit and a free slot is likely.

    The waiting tasks of one process take turns. Sends one event: ``slot``, ``timeout`` or ``error``.

    :param job_ids: The running jobs of the task; a slot is free when one ends.
    :param piktid_conn_id: Connection id. Default: ``piktid_default``.
    :param poll_interval: Seconds between status requests while there is no stream. Default: 10.
    :param not_before: Epoch seconds before which trying is pointless. Default: 0.
    :param until_job_ends: Try earlier if a job ends. Default: False.
    :param end_time: Deadline, epoch seconds. Default: none.
    :param jobs_per_minute: Submissions that the account allows in each window. Default: 5, PiktID's limit.
    :param active_jobs: Concurrent jobs that the account allows. Default: 5, PiktID's limit.
    :param rate_window: Length of the window in seconds. Default: 60.
    :param submitted_at: Job id to submission time, epoch seconds. Default: none.
    :param jobs: Jobs that the task has still to submit. Default: 1.
    :param resume_state: Returned in the event, with the ticket of this turn added. JSON only, no secrets. Default:
        none.
    """

    not_before: float
    until_job_ends: bool
    jobs_per_minute: int
    active_jobs: int
    rate_window: float
    jobs: int

    def __init__(
        self,
        job_ids: Sequence[str],
        piktid_conn_id: str = "piktid_default",
        poll_interval: float = 10.0,
        not_before: float = 0.0,
        until_job_ends: bool = False,
        end_time: float | None = None,
        jobs_per_minute: int = AccountLimits.jobs_per_minute,
        active_jobs: int = AccountLimits.active_jobs,
        rate_window: float = AccountLimits.rate_window,
        submitted_at: Mapping[str, float] | None = None,
        jobs: int = 1,
        resume_state: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            job_ids=job_ids,
            piktid_conn_id=piktid_conn_id,
            poll_interval=poll_interval,
            not_before=not_before,
            until_job_ends=until_job_ends,
            end_time=end_time,
            jobs_per_minute=jobs_per_minute,
            active_jobs=active_jobs,
            rate_window=rate_window,
            submitted_at=submitted_at,
            jobs=jobs,
            resume_state=resume_state,
        )

    async def _event(self) -> JobEvent:
        limits = AccountLimits(self.jobs_per_minute, self.active_jobs, self.rate_window)
        now = time.time()
        with self._counted() as active:
            queue = admission_queue(self.piktid_conn_id)
            watch = asyncio.ensure_future(self._watch(active)) if self.job_ids else None
            try:
                turn = queue.turn(
                    limits,
                    max(0.0, self.not_before - now),
                    until_job_ends=self.until_job_ends,
                    jobs=self.jobs,
                )
                async with asyncio.timeout(None if self.end_time is None else max(0.0, self.end_time - now)):
                    with metrics.timed("room.wait"):
                        ticket = await turn
            except TimeoutError:
                return JobEvent("timeout", ended=self._ended)
            finally:
                if watch is not None:
                    watch.cancel()
                    await asyncio.gather(watch, return_exceptions=True)
        return JobEvent("slot", ended=self._ended, resume_state={"ticket": ticket})
