# SPDX-License-Identifier: Apache-2.0
"""One process's part of a batch of jobs: from a start or a resume to the end or the next wait."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.common.paid import Finished, PaidRequests, Step, Terms
from airflow_provider_piktid.common.records import Store, fingerprint
from airflow_provider_piktid.common.work import RecordedWork
from airflow_provider_piktid.exceptions import PiktidConfigError, PiktidJobError, PiktidNotFoundError
from airflow_provider_piktid.jobs.lookup import Lookup, find_job, look_up
from airflow_provider_piktid.jobs.outcome import fetch_outcomes, raise_for_outcome, summarize
from airflow_provider_piktid.jobs.queue import AccountLimits
from airflow_provider_piktid.jobs.submission import CLOCK_SLACK_SECONDS, JobPort, JobRecord, Submission, plan
from airflow_provider_piktid.jobs.waiting import (
    SyncWaiter,
    deadline,
    jobs_timeout,
    jobs_wait,
    slot_timeout,
    slot_wait,
)
from airflow_provider_piktid.jobs.watch import delete_notifications
from airflow_provider_piktid.links import JOB_URL_KEY

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidClient
    from airflow_provider_piktid.common.events import JobEvent
    from airflow_provider_piktid.common.records import CurrentTask
    from airflow_provider_piktid.hooks.piktid import PiktidSettings
    from airflow_provider_piktid.models import JobType


class ClientCalls:
    """The requests of a batch, for the port that submits it."""

    def __init__(self, client: PiktidClient, job: JobType, images_per_job: int) -> None:
        self._client = client
        self._job = job
        self._images_per_job = images_per_job

    def submit(self, images: list[str]) -> str:
        created = self._client.create_job(self._job, images, images_per_job=self._images_per_job, wait=False)
        return created.job_id

    def find(self, images: list[str], since: float, known: set[str]) -> str | None:
        return find_job(self._client, self._job, images, since=since, known=known)

    def look_up(self, images: list[str], since: float, known: set[str], batch: list[str]) -> Lookup:
        return look_up(self._client, self._job, images, since=since, known=known, batch=batch)

    def ended(self, job_id: str) -> str | None:
        try:
            job = self._client.get_job(job_id)
        except PiktidNotFoundError:
            return None
        return job.status if job.done else None


class JobRun(RecordedWork[JobRecord]):
    """
    What one process does of a task that submits jobs and waits for them.

    :param job: Kind and options of the jobs.
    :param images: File ids, in order.
    :param wait_for_completion: False: the work is done once all jobs are submitted.
    :param check_identity: Whether to look the identity up before anything is paid for.
    """

    def __init__(
        self,
        job: JobType,
        images: Any,
        terms: Terms,
        *,
        task: CurrentTask,
        settings: PiktidSettings,
        client: PiktidClient,
        store: Store[JobRecord],
        log: Any,
        wait_for_completion: bool = True,
        check_identity: bool = True,
    ) -> None:
        super().__init__(store, JobRecord.from_json, log)
        self._job = job
        self._images = checked_images(images)
        self._terms = terms
        self._task = task
        self._settings = settings
        self._client = client
        self._wait_for_completion = wait_for_completion
        self._check_identity = check_identity
        self._calls = ClientCalls(client, job, settings.images_per_job)
        self._queue_until = time.time() + terms.queue_timeout
        #: Of the last wait for room, see ``jobs.queue``.
        self._ticket: str | None = None

    @property
    def outstanding(self) -> list[str]:
        return self.record.active if self.has_record else []

    def begin(self) -> Step:
        self._open_record()
        return self._submit()

    def resume(self, event: JobEvent) -> Step:
        self.restore(event.resume_state, self._fingerprint())
        self.record.mark_ended(event.ended)
        event.raise_for_error()
        if not self.record.is_sent:
            event.require("slot", "timeout")
            self._ticket = event.resume_state.get("ticket", self._ticket)
            self._queue_until = float(event.resume_state.get("queue_until") or self._queue_until)
            if event.status == "timeout":
                raise self._no_room()
            return self._submit()
        event.require("done", "timeout")
        return self._ended(event)

    def leave(self) -> None:
        """
        Push XCom ``jobs``: ``[job id or None, number of images]`` in the order of the images.

        A task behind this one can fetch what was paid for, whatever happened to this one.
        """
        if self.has_record:
            self._task.push("jobs", [[item.job_id, item.count] for item in self.record.submissions])

    # -- beginning ------------------------------------------------------------------------------------------

    def _fingerprint(self) -> str:
        return fingerprint(
            {
                "connection": self._terms.connection,
                "project": self._job.project_id,
                "images": self._images,
                "rerun_key": self._terms.rerun_key,
                **self._job.content(),
            }
        )

    def _open_record(self) -> None:
        """Take up the record of an earlier try, or start one."""
        wanted = self._fingerprint()
        known = self.take_up(wanted)
        if known is not None:
            if known.job_ids:
                self.log.info("Attaching to jobs submitted before: %s", ", ".join(known.job_ids))
            return
        counts = self._job.split(len(self._images), self._settings.images_per_job)
        self._check(counts)
        self.start(plan(counts, fingerprint=wanted, now=time.time(), content=self._job.content()))
        if self.other is not None:
            self.log.warning(
                "The input differs from that of the jobs submitted before (%s); submitting new jobs.",
                ", ".join(self.other.job_ids) or "none",
            )
        elif self._task.is_retry:
            self._adopt()
        self.warn_if_volatile()

    def _check(self, counts: Sequence[int]) -> None:
        """Refuse arguments that cannot work, or cost too much, before anything is paid for."""
        try:
            self._job.check(self._images[: counts[0]], self._settings.images_per_job)
            self._job.body(self._images[: counts[0]])
        except ValueError as error:
            raise PiktidConfigError(f"{self._terms.connection}: {error}. Nothing was submitted.") from error
        outputs = sum(self._job.outputs(count) for count in counts)
        self._terms.check_budget(len(self._images), self._job.price(outputs, self._terms.credits_per_output))
        if self._job.identity and self._check_identity:
            self._require_identity(self._job.identity)

    def _require_identity(self, code: str) -> None:
        try:
            self._client.get_identity(code)
        except PiktidNotFoundError as error:
            raise PiktidConfigError(
                f"{self._terms.connection}: there is no identity {code!r} in this account. Correct "
                "`identity_code`, or upload one with PiktidUploadIdentityOperator. Nothing was submitted."
            ) from error

    def _adopt(self) -> None:
        """
        Look for the jobs of an earlier try that left no record, before submitting.

        What is not found may have been sent all the same if PiktID's list leaves a doubt, or if no record of a request
        could have been kept: it is then looked for again, like any request whose reply was lost.
        """
        self.log.warning("No record of an earlier try; looking for its jobs at PiktID before submitting.")
        record, began = self.record, self._task.run_began
        for item, images in zip(record.submissions, record.chunks(self._images), strict=True):
            found = self._calls.look_up(images, began - CLOCK_SLACK_SECONDS, record.known_jobs, self._images)
            if found.job_id:
                item.submitted(found.job_id, time.time())
                self.log.warning("Attaching to job %s, found at PiktID.", found.job_id)
            elif found.doubts or not self.store.durable:
                item.state, item.intent_at, item.since = "intent", time.time(), began
                self.log.warning("\n".join(found.doubts) or "An earlier try left no record.")
        self.save()

    # -- submitting -----------------------------------------------------------------------------------------

    def _submit(self) -> Step:
        wait = self._requests().advance()
        if wait is None:
            return self._all_submitted()
        self.save()
        if time.time() >= self._queue_until:
            raise self._no_room()
        submitted, total = len(self.record.job_ids), len(self.record.submissions)
        return slot_wait(
            wait,
            self._waiter(),
            active=self.record.active,
            until=self._queue_until,
            state=self._state() | {"queue_until": self._queue_until},
            message=f"{submitted} of {total} jobs submitted; waiting: {wait.reason}.",
        )

    def _requests(self) -> PaidRequests[Submission]:
        settings = self._settings
        port = JobPort(
            self.record,
            self._images,
            self._calls,
            AccountLimits(settings.jobs_per_minute, settings.active_jobs, settings.rate_window),
            connection=self._terms.connection,
            noun=self._job.noun,
            log=self.log,
        )
        return PaidRequests(self.record.submissions, port, self._terms, save=self.save, log=self.log)

    def _no_room(self) -> Exception:
        unsent = len(self.record.submissions) - len(self.record.job_ids)
        total = len(self.record.submissions)
        return slot_timeout(
            self._terms.connection, unsent, total, self._terms.queue_timeout, self.record.active
        )

    def _state(self) -> dict[str, Any]:
        return {"record": self.record.to_json(), "ticket": self._ticket}

    def _waiter(self) -> SyncWaiter:
        times = self.record.submission_times
        return SyncWaiter(self._client, self._settings, self._terms.poll_interval, self.log, times)

    # -- ending ---------------------------------------------------------------------------------------------

    def _all_submitted(self) -> Step:
        # Before the wait: what was paid for can be downloaded whatever happens to this task.
        self._task.push("job_ids", self.record.job_ids)
        self._task.push(JOB_URL_KEY, self._settings.job_url(self.record.job_ids[-1]))
        if not self._wait_for_completion:
            return Finished(self.record.job_ids)
        if self._terms.deferrable:
            # A trigger that fires at once can race with the deferral: no trigger for jobs that have ended.
            watched = self._waiter().watch(self.record.job_ids, end_time=time.time(), stream=False)
            if not watched.timed_out:
                return self._ended(watched.to_event())
        until = deadline(self.record, self._terms.timeout)
        return jobs_wait(self.record, self._waiter(), until=until, state=self._state())

    def _ended(self, event: JobEvent) -> Finished:
        self.record.mark_ended(event.ended)
        if self._terms.delete_notifications and event.notification_ids:
            count = self._client.run(delete_notifications, event.notification_ids)
            self.log.debug("Deleted %d of %d notifications.", count, len(event.notification_ids))
        if event.status == "timeout":
            terms = self._terms
            raise jobs_timeout(terms.connection, self.record, event.ended, terms.timeout)
        return self._finish(event.ended)

    def _finish(self, ended: dict[str, str]) -> Finished:
        statuses = {job_id: ended.get(job_id, "") for job_id in self.record.job_ids}
        expected = {
            item.job_id: self._job.outputs(item.count) for item in self.record.submissions if item.job_id
        }
        outcomes = self._client.run(fetch_outcomes, statuses, expected)
        summary = summarize(outcomes, images=len(self._images))
        self.log.info(
            "%(jobs)d job(s) ended: %(successful)d outputs, %(failed)d failed, %(missing)d missing, %(credits_used)s "
            "credits.",
            summary,
        )
        self._task.push("summary", summary)
        try:
            warnings = raise_for_outcome(
                outcomes,
                fail_on_partial=self._terms.fail_on_partial,
                connection=self._terms.connection,
            )
        except PiktidJobError:
            # The next try submits what failed at no cost; what was paid for stays as it is.
            self.record.plan_again({outcome.job_id for outcome in outcomes if outcome.spent_nothing})
            self.save()
            raise
        for warning in warnings:
            self.log.warning(warning)
        return Finished(self.record.job_ids)


def checked_images(images: Any) -> list[str]:
    """
    Return file ids as a list.

    :raises PiktidConfigError: None, not a list, or one of them twice.
    """
    if isinstance(images, str) or not isinstance(images, Sequence):
        raise PiktidConfigError(f"images must be a list of file ids, not {type(images).__name__}")
    ids = [str(image) for image in images]
    if not ids:
        raise PiktidConfigError("images is empty: there is nothing to do. Pass the file ids of an upload.")
    if len(set(ids)) != len(ids):
        raise PiktidConfigError(
            "images names a file id twice, which would be paid for twice. Remove the duplicate."
        )
    return ids
