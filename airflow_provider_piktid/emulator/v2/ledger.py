# SPDX-License-Identifier: Apache-2.0
"""Jobs, what they cost, and whether another one may start."""

from __future__ import annotations

import itertools
import uuid
from collections import defaultdict, deque
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from ..faults import JOB, JOB_KINDS
from ..wire import Refused
from .entities import Identity, Job, Output, Project, StoredFile

if TYPE_CHECKING:
    from ..state import State

PREPROCESSING = "identity_preprocessing"


class Jobs:
    """The jobs of the account, its balance and its limits."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.clear()

    def clear(self) -> None:
        """Forget all jobs; the balance is full again."""
        self._jobs: dict[str, Job] = {}
        self._windows: dict[str, deque[float]] = defaultdict(deque)
        self._rows = itertools.count(501)
        self.balance = self._state.settings.credits

    def all(self) -> list[Job]:
        """Return all jobs, oldest first."""
        with self._state.lock:
            return list(self._jobs.values())

    def get(self, job_id: str) -> Job:
        """
        Return a job.

        :raises KeyError: Unknown job.
        """
        return self._jobs[job_id]

    def find(self, job_id: str) -> Job | None:
        """Return a job or None."""
        return self._jobs.get(job_id)

    def active(self) -> list[Job]:
        """Return the paid jobs that have not ended."""
        return [job for job in self._jobs.values() if not job.ended and job.job_type != PREPROCESSING]

    def next_row(self) -> int:
        """Return the number of a new row of results."""
        return next(self._rows)

    # Limits -------------------------------------------------------------------------------------------

    def admit_rate(self, endpoint: str) -> None:
        """
        Refuse a submission if the window of its endpoint is full.

        :raises Refused: 429.
        """
        settings = self._state.settings
        window = self._windows[endpoint]
        now = self._state.clock.time()
        while window and window[0] <= now - settings.rate_window:
            window.popleft()
        if settings.jobs_per_minute and len(window) >= settings.jobs_per_minute:
            wait = window[-settings.jobs_per_minute] + settings.rate_window - now
            self._state.counters.refused("rate")
            if self._state.variants["rate_counts"] == "all":
                window.append(now)
            cap = self._state.variants["rate_429"] == "identity_cap"
            text = "Maximum identities reached." if cap else "Rate limit exceeded. Try again later."
            raise Refused(429, {"error": text}, self.retry_after(wait))

    def count_submission(self, endpoint: str) -> None:
        """Note an accepted submission in the window of its endpoint."""
        self._windows[endpoint].append(self._state.clock.time())

    def admit_active(self) -> None:
        """
        Refuse a job if too many are active.

        :raises Refused: 429.
        """
        most = self._state.settings.active_jobs
        if most and len(self.active()) >= most:
            self._state.counters.refused("active")
            text = f"Too many active jobs. At most {most} can be pending or processing."
            raise Refused(429, {"error": text}, self.retry_after(self._state.settings.job_seconds))

    def retry_after(self, wait: float) -> dict[str, str]:
        """Return the header of a 429 that asks to wait so many seconds, as the switch says."""
        kind = self._state.variants["retry_after"]
        seconds = max(1, int(wait + 0.999))
        if kind == "seconds":
            return {"Retry-After": str(seconds)}
        if kind == "date":
            moment = datetime.fromtimestamp(self._state.clock.time() + seconds, UTC)
            return {"Retry-After": format_datetime(moment, usegmt=True)}
        return {}

    def charge(self, amount: float) -> None:
        """
        Take credits.

        :raises Refused: 402.
        """
        if amount > self.balance:
            self._state.counters.refused("credits")
            raise Refused(402, {"error": "Insufficient credits to create job", "required_credits": amount})
        self.balance -= amount

    # Creation -----------------------------------------------------------------------------------------

    def create(
        self,
        job_type: str,
        *,
        identity: Identity | None,
        project: Project | None,
        files: list[StoredFile],
        variations: int,
        options: dict[str, Any],
        post_process: bool,
        price: float,
    ) -> Job:
        """Add a paid job with one row of results for each file and variation."""
        now = self._state.clock.time()
        job = Job(f"job_{uuid.uuid4().hex}", job_type, now, now, identity=identity, project=project)
        job.images = [file.file_id for file in files]
        job.options = options
        job.credits = price
        job.post_process = post_process
        job.post_processing_status = "pending" if post_process else None
        job.hidden = self._state.variants.number("fresh_404")
        job.faults = self._state.faults.take_each(JOB, JOB_KINDS)
        for image_index, file in enumerate(files):
            for group_index in range(variations):
                job.outputs.append(self.new_output(job, file, image_index, group_index))
        self._jobs[job.job_id] = job
        self._state.counters.job(job.images, len(self.active()))
        return job

    def create_preprocessing(self, identity: Identity) -> Job:
        """Add the free job that prepares an identity."""
        now = self._state.clock.time()
        job = Job(f"job_{uuid.uuid4().hex}", PREPROCESSING, now, now, identity=identity)
        self._jobs[job.job_id] = job
        return job

    def new_output(self, job: Job, file: StoredFile, image_index: int, group_index: int) -> Output:
        """Return a new pending row."""
        now = self._state.clock.time()
        output = Output(
            self.next_row(), str(uuid.uuid4()), image_index, group_index, file.file_id, file.filename, now
        )
        output.updated_at = now
        fault = job.faults.get("hostile_filename")
        if fault is not None:
            output.filename = fault.get("original_filename", output.filename)
            output.download_filename = fault.get("download_filename", None)
        return output

    def ledger(self) -> list[dict[str, Any]]:
        """Return what each paid job was for and what it cost."""
        with self._state.lock:
            return [
                {
                    "job_id": job.job_id,
                    "job_type": job.job_type,
                    "status": job.status,
                    "images": list(job.images),
                    "identity_code": job.identity.code if job.identity else None,
                    "project_key": job.project.key if job.project else None,
                    "options": job.options,
                    "credits": job.credits,
                    "created_at": job.created_at,
                    "updated_at": job.updated_at,
                }
                for job in self._jobs.values()
                if job.job_type != PREPROCESSING
            ]
