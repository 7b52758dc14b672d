# SPDX-License-Identifier: Apache-2.0
"""One process's part of a batch of jobs: from a start or a resume to the end or the next wait."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.common.paid import PaidRequests, RecordedWork, Terms
from airflow_provider_piktid.common.protocols import Finished, Step
from airflow_provider_piktid.common.records import Store, fingerprint
from airflow_provider_piktid.exceptions import (
    PiktidConfigError,
    PiktidError,
    PiktidInvalidRequestError,
    PiktidJobError,
    PiktidNotFoundError,
    PiktidSubmissionError,
)
from airflow_provider_piktid.jobs.arguments import unknown_identity
from airflow_provider_piktid.jobs.lookup import Lookup, find_job, look_up
from airflow_provider_piktid.jobs.outcome import fetch_outcomes, raise_for_outcome, summarize
from airflow_provider_piktid.jobs.queue import AccountLimits
from airflow_provider_piktid.jobs.reuse import Purchases, content_of
from airflow_provider_piktid.jobs.submission import (
    CLOCK_SLACK_SECONDS,
    JobPort,
    JobRecord,
    Submission,
    checked_images,
    job_sizes,
    plan,
)
from airflow_provider_piktid.jobs.waiting import (
    SyncWaiter,
    deadline,
    jobs_not_submitted,
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
    from airflow_provider_piktid.models import Identity, JobType


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
    :param images: File ids, in order, or rows of an upload.
    :param wait_for_completion: False: the work is done once all jobs are submitted.
    :param check_identity: Whether to look the identity up before anything is paid for.
    :param purchases: What other tasks have bought, to reuse it. Default: nothing is reused.
    :param more_credits: What the task pays for besides its jobs, for ``max_credits``. Default: nothing.
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
        purchases: Purchases | None = None,
        more_credits: float = 0.0,
    ) -> None:
        super().__init__(store, JobRecord.from_json, log)
        self._job = job
        #: What is to be submitted: without the images that are reused.
        self._images = checked_images(images) if job.takes_images else []
        self._total = len(self._images)
        self._rows = images
        self._more_credits = more_credits
        self._purchases = purchases
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
        self._leave_out_reused()
        self.record.mark_ended(event.ended)
        event.raise_for_error()
        if not self.record.is_settled:
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
        if self._purchases is None:
            wanted = {"project": self._job.project_id, "images": self._images}
        else:
            wanted = {"contents": list(content_of(self._rows).values())}
        return fingerprint(
            {
                "connection": self._terms.connection,
                "rerun_key": self._terms.rerun_key,
                **wanted,
                **self._job.content(),
            }
        )

    def _open_record(self) -> None:
        """Take up the record of an earlier try, or start one."""
        wanted = self._fingerprint()
        known = self.take_up(wanted)
        if known is not None:
            self._leave_out_reused()
            known.try_again()
            if known.job_ids:
                self.log.info("Attaching to jobs submitted before: %s", ", ".join(known.job_ids))
            return
        record = plan((), fingerprint=wanted, now=time.time(), content=self._job.content())
        if self._purchases is not None:
            self._reuse(record, self._purchases)
        images = self._rows if self._purchases is None else self._images
        counts = job_sizes(self._job, images, self._settings.images_per_job)
        record.submissions = [Submission(count) for count in counts]
        self._check(record)
        self.start(record)
        if self.other is not None and self.other.fingerprint:
            self.log.warning(
                "The input differs from that of the jobs submitted before (%s); submitting new jobs.",
                ", ".join(self.other.job_ids) or "none",
            )
        elif self.other is None and self._task.is_retry:
            self._adopt()
        self.warn_if_volatile()

    def _reuse(self, record: JobRecord, purchases: Purchases) -> None:
        """Leave out images that another task has bought, and those with the same content as another one."""
        contents = content_of(self._rows)
        owned = purchases.owned(set(contents.values()))
        record.reused = {
            sha: [owned[sha].job_id, owned[sha].file_id] for sha in contents.values() if sha in owned
        }
        first = {sha: file_id for file_id, sha in reversed(contents.items()) if sha not in owned}
        record.contents = {file_id: sha for file_id, sha in contents.items() if first.get(sha) == file_id}
        self._images = list(record.contents)
        if len(self._images) < self._total:
            self.log.info(
                "%d of %d image(s) were bought before.", self._total - len(self._images), self._total
            )

    def _leave_out_reused(self) -> None:
        if self._purchases is not None:
            self._images = list(self.record.contents)

    def _check(self, record: JobRecord) -> None:
        """Refuse arguments that cannot work, or cost too much, before anything is paid for."""
        chunks = record.chunks(self._images)
        if not chunks:
            return
        try:
            for chunk in chunks:
                self._job.check(chunk, self._settings.images_per_job)
            self._job.body(chunks[0])
        except ValueError as error:
            raise PiktidConfigError(f"{self._terms.connection}: {error}. Nothing was submitted.") from error
        outputs = sum(self._job.outputs(len(chunk)) for chunk in chunks)
        price, images = self._job.credits_per_output, len(self._images) or outputs
        self._terms.check_budget(images, outputs, price, more=self._more_credits)
        if self._job.identity and self._check_identity:
            self._require_identity(self._job.identity)

    def _require_identity(self, code: str) -> None:
        try:
            self._client.get_identity(code)
        except PiktidNotFoundError as error:
            known: list[Identity] = []
            with contextlib.suppress(PiktidError):  # the error that is raised says more
                known = list(self._client.iter_identities())
            raise unknown_identity(self._terms.connection, code, known) from error

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
        total, unsent = len(self.record.submissions), self.record.unsent
        return slot_wait(
            wait,
            self._waiter(),
            active=self.record.active,
            unsent=unsent,
            until=self._queue_until,
            state=self._state() | {"queue_until": self._queue_until},
            message=f"{total - unsent} of {total} jobs submitted; waiting: {wait.reason}.",
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
        return PaidRequests(
            self.record.submissions,
            port,
            self._terms,
            save=self.save,
            concerns_one=self._concerns_one,
            log=self.log,
        )

    def _concerns_one(self, error: PiktidError) -> bool:
        """Whether the other jobs can go on; a second refusal, before any job was accepted, concerns all."""
        if not isinstance(error, (PiktidInvalidRequestError, PiktidSubmissionError)):
            return False
        record = self.record
        is_first = not record.failed and len(record.submissions) > 1
        return is_first or any(item.state == "submitted" for item in record.submissions)

    def _no_room(self) -> Exception:
        total = len(self.record.submissions)
        return slot_timeout(
            self._terms.connection, self.record.unsent, total, self._terms.queue_timeout, self.record.active
        )

    def _state(self) -> dict[str, Any]:
        return {"record": self.record.to_json(), "ticket": self._ticket}

    def _waiter(self) -> SyncWaiter:
        times = self.record.submission_times
        return SyncWaiter(self._client, self._settings, self._terms.poll_interval, self.log, times)

    # -- ending ---------------------------------------------------------------------------------------------

    def _all_submitted(self) -> Step:
        if self.record.failed and not self.record.job_ids:
            raise jobs_not_submitted(self._terms.connection, self.record)
        # Before the wait: what was paid for can be downloaded whatever happens to this task.
        self._task.push("job_ids", self.record.job_ids)
        if self._purchases is not None:
            self._task.push("images", self._bought_rows())
        self._task.push(JOB_URL_KEY, self._settings.job_url(self.record.job_ids[-1]))
        if not self._wait_for_completion:
            if self.record.failed:
                raise jobs_not_submitted(self._terms.connection, self.record)
            return Finished(self.record.job_ids)
        if self._terms.deferrable:
            # A trigger that fires at once can race with the deferral: no trigger for jobs that have ended.
            watched = self._waiter().watch(self.record.job_ids, end_time=time.time(), stream=False)
            if not watched.timed_out:
                return self._ended(watched.to_event())
        until = deadline(self.record, self._terms.timeout)
        return jobs_wait(self.record, self._waiter(), until=until, state=self._state())

    def _bought_rows(self) -> list[dict[str, Any]]:
        """Return the rows of the images with the file ids that they have in the jobs, for the download."""
        ids = {sha: file_id for file_id, sha in self.record.contents.items()}
        ids |= {sha: file_id for sha, (_, file_id) in self.record.reused.items()}
        return [{**row, "file_id": ids[row["sha256"]]} for row in self._rows]

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
        summary = summarize(outcomes, images=self._total)
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
            if self.record.reused:
                # The next try chooses again what it can reuse; own jobs are found in this record as earlier ones.
                self.record.fingerprint = ""
            self.save()
            raise
        for warning in warnings:
            self.log.warning(warning)
        if self.record.failed:
            raise jobs_not_submitted(self._terms.connection, self.record)
        return Finished(self.record.job_ids)
