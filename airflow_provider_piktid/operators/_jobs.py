# SPDX-License-Identifier: Apache-2.0
"""
The way of every paid batch: record, submit within the limits, wait without a worker, judge.

A job type adds its request, see ``model_swap``; nothing here knows what is swapped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_piktid.common import checks, records
from airflow_provider_piktid.common.events import JobEvent, judge
from airflow_provider_piktid.common.task import (
    delete_notifications,
    fetch_outcomes,
    push,
    run_began,
    steer,
    summarize,
    telling_jobs,
)
from airflow_provider_piktid.exceptions import PiktidJobError
from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.jobs import waiting
from airflow_provider_piktid.jobs.calls import JobTypeCalls, adopt
from airflow_provider_piktid.jobs.submission import CLOCK_SLACK_SECONDS
from airflow_provider_piktid.links import JOB_URL_KEY, PiktidJobLink

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidClient
    from airflow_provider_piktid.common.records import JobRecord, RecordStore
    from airflow_provider_piktid.hooks.piktid import PiktidSettings
    from airflow_provider_piktid.jobs.submission import SlotWait


class PaidJobOperator(BaseOperator):
    """
    Submit images as paid jobs, each once, and wait for them.

    :param project_id: Project of the images, as the upload returned it.
    :param images: ``file_id`` values, any number; split into jobs of at most ``images_per_job`` of the
        connection (10). Order is kept.
    :param piktid_conn_id: Connection id.
    :param wait_for_completion: Wait for the jobs. If False, return once all are submitted.
    :param deferrable: Wait in the triggerer. Default: ``[operators] default_deferrable``. The other way
        holds a worker slot all the time.
    :param poll_interval: Seconds between status requests while there is no notification stream, 3 or more.
        Default 10.
    :param timeout: Seconds from the last submission until the wait is given up. The jobs go on then, and a
        retry attaches to them with a new deadline. Default 3600.
    :param queue_timeout: Seconds to wait for room in a full account. Default 86400, a day.
    :param fail_on_partial: Fail if single images failed; default: warn.
    :param delete_notifications: Delete this task's own notifications from the account after use.
    :param max_images: Refuse to submit more images than this. Default: no limit.
    :param max_credits: Refuse to submit if ``credits_per_output`` times the outputs exceeds this.
    :param credits_per_output: What one output costs, for ``max_credits``. Default 1: PiktID states no price.
    :param state_path: Folder for the record of submitted jobs, on any object storage. Default:
        ``[piktid] state_path``, else Airflow's task state store (3.3+), else none.
    :param generation: Any text; another value buys the same images again.
    :param on_ambiguous: When the reply to a submission was lost and PiktID lists no such job: ``fail``, or
        ``resubmit`` once at the risk of paying twice.
    :param ambiguous_grace: Seconds after a lost reply until PiktID's list is believed. Default 30.
    :return: Job ids in the order of the images. XCom keys: ``summary``, counts and credits; also of a task that
        failed, ``job_ids`` once all are submitted, and ``jobs``, ``[job id or None, number of images]`` in order.
    """

    template_fields: Sequence[str] = (
        "piktid_conn_id",
        "project_id",
        "images",
        "state_path",
        "generation",
        "max_images",
        "max_credits",
    )
    operator_extra_links = (PiktidJobLink(),)
    ui_color = "#ece6ff"

    def __init__(
        self,
        *,
        project_id: str,
        images: Sequence[str],
        piktid_conn_id: str = PiktidHook.default_conn_name,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 10.0,
        timeout: float = 3600.0,
        queue_timeout: float = 86400.0,
        fail_on_partial: bool = False,
        delete_notifications: bool = True,
        max_images: int | None = None,
        max_credits: float | None = None,
        credits_per_output: float = 1.0,
        state_path: str | None = None,
        generation: str | None = None,
        on_ambiguous: Literal["fail", "resubmit"] = "fail",
        ambiguous_grace: float = 30.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.project_id = project_id
        self.images = images
        self.piktid_conn_id = piktid_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.queue_timeout = queue_timeout
        self.fail_on_partial = fail_on_partial
        self.delete_notifications = delete_notifications
        self.max_images = max_images
        self.max_credits = max_credits
        self.credits_per_output = credits_per_output
        self.state_path = state_path
        self.generation = generation
        self.on_ambiguous = on_ambiguous
        self.ambiguous_grace = ambiguous_grace
        self._running: list[str] = []
        # Of the last wait for room, see `triggers/_turnstile`.
        self._ticket: str | None = None

    # What a job type adds

    def _fingerprint_parts(self) -> dict[str, Any]:
        """Everything of the request that decides the content and the bill, images excepted."""
        raise NotImplementedError

    def _outputs_per_image(self) -> int:
        raise NotImplementedError

    def _check_request(self, client: PiktidClient, images: list[str], images_per_job: int) -> None:
        """Refuse bad arguments before anything is paid."""
        raise NotImplementedError

    def _submit(self, client: PiktidClient, images: list[str], images_per_job: int) -> str:
        """Send one paid request, never twice, and return the job id."""
        raise NotImplementedError

    def _is_ours(self, job: Any) -> bool:
        """Whether a job of the gallery was made by a request like ours, its images aside."""
        raise NotImplementedError

    def execute(self, context: Any) -> list[str] | None:
        with steer():
            images = self._checked_images()
            hook = PiktidHook(self.piktid_conn_id)
            settings = hook.settings
            settings.require_token()
            store = records.open_store(context, self.state_path)
            with hook.get_conn() as client:
                record = self._open_record(context, store, images, settings, client)
                with telling_jobs(context, record):
                    queue_until = time.time() + self.queue_timeout
                    return self._proceed(context, store, record, client, queue_until=queue_until)

    def resume_submission(self, context: Any, event: Any) -> list[str] | None:
        """Go on submitting after a wait for room."""
        with steer():
            answer = JobEvent.from_json(event, expected=("slot", "timeout", "error"))
            store = records.open_store(context, self.state_path)
            known = self._record_of(store, answer)
            known.mark_ended(answer.ended)
            self._running = known.active
            if answer.status == "timeout":
                raise waiting.no_room(self.piktid_conn_id, known, self.queue_timeout)
            if answer.status == "error":
                raise waiting.event_error(answer)
            with PiktidHook(self.piktid_conn_id).get_conn() as client:
                self._ticket = answer.carry.get("ticket")
                queue_until = float(answer.carry.get("queue_until") or time.time() + self.queue_timeout)
                with telling_jobs(context, known):
                    return self._proceed(context, store, known, client, queue_until=queue_until)

    def execute_complete(self, context: Any, event: Any) -> list[str]:
        """Judge the jobs after the wait."""
        with steer():
            answer = JobEvent.from_json(event, expected=("done", "timeout", "error"))
            store = records.open_store(context, self.state_path)
            known = self._record_of(store, answer)
            self._running = [job_id for job_id in known.job_ids if job_id not in answer.ended]
            if answer.status == "error":
                raise waiting.event_error(answer)
            with PiktidHook(self.piktid_conn_id).get_conn() as client:
                self._forget(client, answer.notification_ids)
                if answer.status == "timeout":
                    raise waiting.too_late(self.piktid_conn_id, known, answer.ended, self.timeout)
                return self._finish(context, store, known, client, answer.ended)

    def on_kill(self) -> None:
        """Tell what still runs. PiktID has no way to cancel a job."""
        if self._running:
            self.log.warning(
                "This task was ended, its jobs were not: %s still run and bill, as PiktID cannot cancel them. "
                "The next try, or a clear, attaches to them.",
                ", ".join(self._running),
            )

    def _checked_images(self) -> list[str]:
        checks.check_waiting(self.poll_interval, self.on_ambiguous)
        return checks.checked_images(self.images)

    def _fingerprint(self, images: list[str]) -> str:
        return records.fingerprint(
            {
                "connection": self.piktid_conn_id,
                "project": self.project_id,
                "images": images,
                "generation": self.generation,
                **self._fingerprint_parts(),
            }
        )

    def _open_record(
        self,
        context: Any,
        store: RecordStore,
        images: list[str],
        settings: PiktidSettings,
        client: PiktidClient,
    ) -> JobRecord:
        """Take up the record of an earlier try, or start one."""
        known, wanted = store.load(), self._fingerprint(images)
        if known is not None and known.fingerprint == wanted:
            if known.job_ids:
                self.log.info("Attaching to jobs submitted before: %s", ", ".join(known.job_ids))
            return known
        self._check_request(client, images, settings.images_per_job)
        checks.check_budget(
            self.piktid_conn_id,
            images=len(images),
            outputs=len(images) * self._outputs_per_image(),
            max_images=self.max_images,
            max_credits=self.max_credits,
            credits_per_output=self.credits_per_output,
        )
        record = records.plan(len(images), settings.images_per_job, fingerprint=wanted, now=time.time())
        if known is not None:
            record.superseded = sorted(known.known_jobs)
            self.log.warning(
                "The input differs from that of the jobs submitted before (%s): submitting anew.",
                ", ".join(known.job_ids) or "none",
            )
        elif context["ti"].try_number > 1 and self.generation is None:
            # Without a record an earlier try may still have paid: take every request as sent, and look.
            self.log.warning("No record of an earlier try: looking at PiktID for its jobs before submitting.")
            adopt(
                record,
                images,
                JobTypeCalls(self, client, 0),
                run_began(context) - CLOCK_SLACK_SECONDS,
                self.log,
            )
        if not store.durable:
            self.log.warning(
                "Nothing here survives a retry: this Airflow has no task state store. Set `state_path` or "
                "[piktid] state_path to a folder all workers reach, so that a retry cannot pay twice."
            )
        return record

    def _record_of(self, store: RecordStore, event: JobEvent) -> JobRecord:
        """Take the stored record, or what the trigger handed back where nothing is stored."""
        return store.load() or records.JobRecord.from_json(event.carry.get("record"))

    def _proceed(
        self, context: Any, store: RecordStore, record: JobRecord, client: PiktidClient, *, queue_until: float
    ) -> list[str] | None:
        from airflow_provider_piktid.jobs.submission import Batch

        hook = PiktidHook(self.piktid_conn_id)
        settings, images = hook.settings, self._checked_images()

        def save() -> None:
            self._running = record.active
            store.save(record)

        batch = Batch(
            record,
            record.chunks(images),
            JobTypeCalls(self, client, settings.images_per_job),
            settings,
            save=save,
            connection=self.piktid_conn_id,
            on_ambiguous=self.on_ambiguous,
            grace=self.ambiguous_grace,
            log=self.log,
        )
        while wait := batch.advance():
            if time.time() >= queue_until:
                raise waiting.no_room(self.piktid_conn_id, record, self.queue_timeout)
            self.log.info(
                "%d of %d jobs submitted; waiting, because %s.",
                len(record.job_ids),
                len(record.submissions),
                wait.reason,
            )
            if self.deferrable:
                save()
                self._defer_for_slot(record, wait, settings, queue_until)
            until = min(max(wait.not_before, time.time() + 1.0), queue_until)
            waiting.hold_for_slot(self._here(client, settings, record), record, wait, until)
        save()
        return self._all_submitted(context, store, record, client, settings)

    def _all_submitted(
        self,
        context: Any,
        store: RecordStore,
        record: JobRecord,
        client: PiktidClient,
        settings: PiktidSettings,
    ) -> list[str] | None:
        # Before the wait: what was bought can be downloaded whatever becomes of this task.
        push(context, "job_ids", record.job_ids)
        push(context, JOB_URL_KEY, settings.job_url(record.job_ids[-1]))
        if not self.wait_for_completion:
            return record.job_ids
        end_time = waiting.deadline(record, self.timeout)
        if self.deferrable:
            # A trigger that fires at once can race with the deferral: no trigger for jobs that have ended.
            watched = self._here(client, settings, record).watch(
                record.job_ids, end_time=time.time(), stream=False
            )
            if watched.timed_out:
                self._defer_for_jobs(record, end_time)
        else:
            watched = self._here(client, settings, record).watch(record.job_ids, end_time=end_time)
        self._forget(client, watched.notification_ids)
        if watched.timed_out:
            raise waiting.too_late(self.piktid_conn_id, record, watched.ended, self.timeout)
        return self._finish(context, store, record, client, watched.ended)

    def _finish(
        self,
        context: Any,
        store: RecordStore,
        record: JobRecord,
        client: PiktidClient,
        ended: dict[str, str],
    ) -> list[str]:
        self._running = []
        outcomes = client.run(fetch_outcomes, {job_id: ended.get(job_id, "") for job_id in record.job_ids})
        summary = summarize(outcomes, images=len(self.images))
        self.log.info(
            "%(jobs)d job(s) ended: %(successful)d outputs, %(failed)d failed, %(credits_used)s credits.",
            summary,
        )
        push(context, "summary", summary)
        try:
            for warning in judge(
                outcomes, fail_on_partial=self.fail_on_partial, connection=self.piktid_conn_id
            ):
                self.log.warning(warning)
        except PiktidJobError:
            # The next try submits what failed without cost; what was paid stays as it is.
            record.plan_again({outcome.job_id for outcome in outcomes if outcome.spent_nothing})
            store.save(record)
            raise
        return record.job_ids

    def _defer_for_slot(
        self, record: JobRecord, wait: SlotWait, settings: PiktidSettings, queue_until: float
    ) -> None:
        trigger = waiting.slot_trigger(record, wait, settings, self.poll_interval, queue_until)
        trigger.carry["ticket"] = self._ticket
        self.defer(
            trigger=trigger,
            method_name="resume_submission",
            timeout=waiting.framework_timeout(queue_until),
        )

    def _defer_for_jobs(self, record: JobRecord, end_time: float) -> None:
        self.log.info("Waiting for %d job(s) without a worker.", len(record.job_ids))
        trigger = waiting.job_trigger(record, self.piktid_conn_id, self.poll_interval, end_time)
        trigger.carry["ticket"] = self._ticket
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            timeout=waiting.framework_timeout(end_time),
        )

    def _here(self, client: PiktidClient, settings: PiktidSettings, record: JobRecord) -> waiting.Here:
        return waiting.Here(client, settings, record.submission_times, self.poll_interval, self.log)

    def _forget(self, client: PiktidClient, notification_ids: list[int]) -> None:
        if self.delete_notifications and notification_ids:
            count = client.run(delete_notifications, notification_ids)
            self.log.debug("Deleted %d of %d notifications of these jobs.", count, len(notification_ids))
