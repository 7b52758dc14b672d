# SPDX-License-Identifier: Apache-2.0
"""Wait for a job by its id."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    conf,
)

from airflow_provider_piktid.common.events import JobEvent
from airflow_provider_piktid.common.records import CurrentTask
from airflow_provider_piktid.exceptions import (
    PiktidConfigError,
    PiktidError,
    PiktidJobTimeout,
    PiktidNotFoundError,
)
from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.jobs.outcome import fetch_outcomes, raise_for_outcome
from airflow_provider_piktid.jobs.watch import WatchOptions, progress_line
from airflow_provider_piktid.links import JOB_URL_KEY, PiktidJobLink
from airflow_provider_piktid.operators.base import fail_fast_if_permanent, framework_timeout

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidClient
    from airflow_provider_piktid.models.v2 import Job

#: Seconds for which a new job may answer 404, from PiktID's clients.
LOST_SECONDS = WatchOptions.lost_seconds


class PiktidJobSensor(BaseSensorOperator):
    """
    Wait for a job by its id. Submits nothing, so it is safe to retry and costs nothing.

    As with the swap operator, a failed or aborted job fails the task.

    :param job_id: Id of the job.
    :param fail_on_partial: Fail if single images failed. Default: False, log a warning.
    :param deferrable: Wait in the triggerer. Default: ``[operators] default_deferrable``.
    :param piktid_conn_id: Connection id. Default: ``piktid_default``.

    ``timeout``, ``poke_interval`` (here with the default of 10 s), ``soft_fail`` and ``mode`` are those of Airflow.

    :raises PiktidJobFailedError: The job failed or has no output.
    """

    template_fields: Sequence[str] = ("piktid_conn_id", "job_id")
    operator_extra_links = (PiktidJobLink(),)
    ui_color = "#ece6ff"

    def __init__(
        self,
        *,
        job_id: str,
        fail_on_partial: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        piktid_conn_id: str = PiktidHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("poke_interval", 10.0)
        super().__init__(**kwargs)
        self.job_id = job_id
        self.fail_on_partial = fail_on_partial
        self.deferrable = deferrable
        self.piktid_conn_id = piktid_conn_id
        self._last: str | None = None
        self._since = 0.0

    def execute(self, context: Any) -> None:
        self._since = _first_poke(context, rescheduled=self.reschedule)
        with self._softened(), fail_fast_if_permanent():
            settings = PiktidHook(self.piktid_conn_id).settings
            settings.require_token()
            self._check_job_id()
            CurrentTask(context).push(JOB_URL_KEY, settings.job_url(self.job_id))
            if self.deferrable and not self.poke(context):
                self._defer()
        if not self.deferrable:
            super().execute(context)

    def _check_job_id(self) -> None:
        if not isinstance(self.job_id, str) or not self.job_id.strip():
            raise PiktidConfigError(
                f"`job_id` must be the id of one job, not {self.job_id!r}. To wait for the jobs of a swap, map the "
                "sensor: `PiktidJobSensor.partial(...).expand(job_id=swap.output)`."
            )

    def poke(self, context: Any) -> bool:
        """Get the status once; return True if the job has completed, raise if it has failed."""
        with fail_fast_if_permanent(), PiktidHook(self.piktid_conn_id).get_conn() as client:
            try:
                job = client.get_job(self.job_id)
            except PiktidNotFoundError as error:
                if time.time() < self._since + LOST_SECONDS:
                    self.log.info("Job %s is not visible yet.", self.job_id)
                    return False
                unknown = PiktidNotFoundError(
                    f"{self.piktid_conn_id}: there is no job {self.job_id!r} in this account. Correct `job_id`.",
                    status=error.status,
                )
                unknown.permanent = True
                raise unknown from error
            # A later 404 says nothing until it has been answered for as long again.
            self._since = time.time()
            self._log_progress(job)
            if job.done:
                self._raise_for_outcome(client, {self.job_id: job.status})
            return job.done

    def execute_complete(self, context: Any, event: Any) -> None:
        """Check the outcome of the job after the wait."""
        with self._softened(), fail_fast_if_permanent():
            answer = JobEvent.from_json(event, expected=("done", "timeout", "error"))
            answer.raise_for_error()
            if answer.status == "timeout":
                late = PiktidJobTimeout(
                    f"{self.piktid_conn_id}: job {self.job_id} did not end within {self.timeout:g} s. It is still "
                    "running and will be billed; clear the task to wait for it again.",
                    job_ids=(self.job_id,),
                )
                # As without `deferrable`: Airflow does not retry a sensor that has timed out.
                raise AirflowSensorTimeout(str(late)) from late
            with PiktidHook(self.piktid_conn_id).get_conn() as client:
                self._raise_for_outcome(client, answer.ended)

    def _defer(self) -> None:
        from airflow_provider_piktid.triggers.job import PiktidJobTrigger

        end_time = time.time() + float(self.timeout)
        self.defer(
            trigger=PiktidJobTrigger(
                job_ids=[self.job_id],
                piktid_conn_id=self.piktid_conn_id,
                poll_interval=max(3.0, float(self.poke_interval)),
                end_time=end_time,
                submitted_at={self.job_id: self._since},
            ),
            method_name="execute_complete",
            timeout=framework_timeout(end_time),
        )

    @contextlib.contextmanager
    def _softened(self) -> Iterator[None]:
        """Skip instead of failing if ``soft_fail`` or ``never_fail`` is set, as Airflow does for pokes."""
        try:
            yield
        except (AirflowFailException, AirflowSensorTimeout) as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise
        except PiktidError as error:
            if self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise

    def _raise_for_outcome(self, client: PiktidClient, ended: dict[str, str]) -> None:
        outcomes = client.run(fetch_outcomes, ended)
        warnings = raise_for_outcome(
            outcomes,
            fail_on_partial=self.fail_on_partial,
            connection=self.piktid_conn_id,
            bought_here=False,
        )
        for warning in warnings:
            self.log.warning(warning)

    def _log_progress(self, job: Job) -> None:
        line = progress_line(job)
        if line != self._last:
            self.log.info(line)
            self._last = line


def _first_poke(context: Any, *, rescheduled: bool) -> float:
    """Return the time of the first poke, epoch seconds; 0 if Airflow 2 does not report it after a reschedule."""
    if not rescheduled:
        return time.time()
    first = getattr(context["ti"], "get_first_reschedule_date", None)
    if first is None:
        return 0.0
    started = first(context)
    return float(started.timestamp()) if started is not None else time.time()
