# SPDX-License-Identifier: Apache-2.0
"""
Run jobs over time: pending, processing, ended.

A job is pending for a tenth of ``job_seconds``; its outputs finish at even intervals during the rest.
"""

from __future__ import annotations

from functools import partial

from ..blobs import Blob
from ..core import Core
from ..faces import UnreadablePicture
from .entities import Identity
from .job import Job, Output
from .ledger import Jobs
from .notification_store import V2Notifications

PENDING_SHARE = 0.1


class Runner:
    """Runs jobs and the preprocessing of identities. Safe to use from any thread."""

    def __init__(self, core: Core, jobs: Jobs, notices: V2Notifications) -> None:
        self._core = core
        self._jobs = jobs
        self._notices = notices

    # Jobs ---------------------------------------------------------------------------------------------

    def start(self, job: Job) -> None:
        """Start a new job."""
        seconds = self._core.settings.job_seconds
        self._core.scheduler.call_later(seconds * PENDING_SHARE, partial(self._begin, job))

    def _begin(self, job: Job) -> None:
        fault = job.faults.get("unknown_status")
        if fault is None:
            self._process(job)
            return
        self._move(job, str(fault.get("word", "archiving")))
        self._core.scheduler.call_later(float(fault.get("seconds", 0.5)), partial(self._process, job))

    def _process(self, job: Job) -> None:
        if not self._move(job, "processing"):
            return
        later = self._core.scheduler.call_later
        seconds = self._core.settings.job_seconds * (1 - PENDING_SHARE)
        if (fault := job.faults.get("fail_job")) is not None:
            later(seconds / 2, partial(self.end, job, "failed", str(fault.get("message", "The job failed"))))
        if "abort_job" in job.faults:
            later(seconds / 2, partial(self.end, job, "aborted", "The job was aborted"))
        for number, output in enumerate(job.outputs, start=1):
            later(seconds * number / len(job.outputs), partial(self.produce, job, output))

    def _move(self, job: Job, status: str) -> bool:
        with self._core.lock:
            if job.ended:
                return False
            job.status = status
            job.updated_at = self._core.clock.time()
            self._notices.job_changed(job)
            return True

    def produce(self, job: Job, output: Output) -> None:
        """Make one output."""
        with self._core.lock:
            if output.status != "pending":
                return
            output.status = "processing"
            output.started_at = output.updated_at = self._core.clock.time()
        if self._core.settings.transform:
            self._core.scheduler.submit(self._work, job, output)
        else:
            self._work(job, output)

    def _work(self, job: Job, output: Output) -> None:
        fault = job.faults.get("fail_image")
        if fault is not None and output.image_index in fault.get("indices", [0]) and output.version == 0:
            self._finish(job, output, error=str(fault.get("message", "The image could not be processed")))
            return
        sources = [file.blob for file in output.inputs if file.blob is not None]
        if len(sources) < len(output.inputs):
            self._finish(job, output, error="The image was never uploaded")
            return
        try:
            blob = job.kind.picture(self._core, job, output, sources)
        except UnreadablePicture as error:
            self._finish(job, output, error=f"Invalid image: {error}")
            if self._core.variants["undecodable"] == "job":
                self.end(job, "failed", f"Invalid image: {error}")
            return
        except Exception as error:
            self._finish(job, output, error=f"Internal error: {type(error).__name__}")
            raise
        self._finish(job, output, blob=blob)

    def _finish(
        self, job: Job, output: Output, *, blob: Blob | None = None, error: str | None = None
    ) -> None:
        with self._core.lock:
            if output.finished:
                return
            now = self._core.clock.time()
            output.status = "completed" if error is None else "failed"
            output.blob, output.error_message = blob, error
            output.updated_at = now
            output.processing_time = round(now - (output.started_at or now), 3)
            if blob is not None:
                self._core.keep(output.uuid, blob)
            if not job.ended:
                job.updated_at = now
            self._notices.image_finished(
                job,
                image_index=output.image_index,
                group_index=output.group_index,
                version=output.version,
                id_image=output.id_image,
                status=output.status,
            )
            self._end_when_done(job)

    def _end_when_done(self, job: Job) -> None:
        if job.ended or "never_end" in job.faults or not all(output.finished for output in job.outputs):
            return
        failed = [output for output in job.outputs if output.status == "failed"]
        if failed and self._core.variants["partial_job"] == "failed":
            self.end(job, "failed", f"{len(failed)} of {len(job.outputs)} images failed")
        elif not (failed and self._core.variants["undecodable"] == "job" and _undecodable(failed)):
            self.end(job, "completed")

    def end(self, job: Job, status: str, message: str | None = None) -> None:
        """End a job and fail its unfinished outputs, unless it has already ended."""
        with self._core.lock:
            if job.ended:
                return
            now = self._core.clock.time()
            for output in job.outputs:
                if not output.finished:
                    output.status, output.error_message, output.updated_at = "failed", message, now
            if self._core.variants["refund_failed"] == "yes":
                self._refund(job)
            job.status, job.error_message, job.updated_at = status, message, now
            if job.post_process and status == "completed":
                job.post_processing_status = "processing"
                wait = self._core.settings.post_process_seconds
                self._core.scheduler.call_later(wait, partial(self._post_processed, job))
            self._notices.job_changed(job)

    def _refund(self, job: Job) -> None:
        failed = sum(1 for output in job.outputs if output.status == "failed")
        back = job.credits * failed / len(job.outputs) if job.outputs else 0.0
        job.credits -= back
        self._core.credits.refund(back)

    def _post_processed(self, job: Job) -> None:
        fault = job.faults.get("post_processing_failed")
        with self._core.lock:
            job.post_processing_status = "completed" if fault is None else "failed"
            if fault is not None:
                job.post_processing_error = str(fault.get("message", "Post-processing failed"))
            job.updated_at = self._core.clock.time()
            if self._core.variants["post_process_event"] == "on":
                self._notices.job_changed(job)

    def complete(self, job: Job) -> None:
        """Finish a job immediately."""
        with self._core.lock:
            job.faults.pop("never_end", None)
            self._move(job, "processing") if job.status != "processing" else None
            waiting = [output for output in job.outputs if output.status == "pending"]
            self._end_when_done(job)
        for output in waiting:
            self.produce(job, output)

    def regenerate(self, job: Job, old: Output) -> Output:
        """Add a row with the next version, and finish it after the time of one output."""
        with self._core.lock:
            output = self._jobs.new_output(job, old.plan(), old.version + 1)
            job.outputs.append(output)
        wait = self._core.settings.job_seconds / max(1, len(job.newest()))
        self._core.scheduler.call_later(wait, partial(self.produce, job, output))
        return output

    # Identities ---------------------------------------------------------------------------------------

    def prepare(self, identity: Identity, job: Job) -> None:
        """Start the preprocessing of an identity."""
        later = self._core.scheduler.call_later
        seconds = self._core.settings.preprocessing_seconds
        later(seconds * PENDING_SHARE, partial(self._prepared, identity, job, "processing"))
        if identity.faces:
            later(seconds, partial(self._prepared, identity, job, "completed"))
        else:
            later(
                seconds, partial(self._prepared, identity, job, "failed", "No face was detected in the image")
            )

    def _prepared(self, identity: Identity, job: Job, status: str, error: str | None = None) -> None:
        with self._core.lock:
            if job.ended:
                return
            identity.preprocessing_status = job.status = status
            identity.error_message = job.error_message = error
            identity.updated_at = job.updated_at = self._core.clock.time()
            notices = self._notices
            data = notices.job_data(job, job_type=job.job_type, identity_code=identity.code, status=status)
            notices.publish("identity_preprocessing", data)


def _undecodable(failed: list[Output]) -> bool:
    return any((output.error_message or "").startswith("Invalid image") for output in failed)
