# SPDX-License-Identifier: Apache-2.0
"""All jobs, their prices, and the limits for new ones."""

from __future__ import annotations

import itertools
import uuid
from collections import defaultdict, deque
from typing import Any

from ..core import Core
from ..faults import JOB, JOB_KINDS
from ..wire import Refused
from .entities import Identity, Project
from .job import Job, JobKind, Output, PlannedOutput, Preprocessing


class Jobs:
    """The account's jobs, balance and limits."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.clear()

    def clear(self) -> None:
        """Remove all jobs."""
        self._jobs: dict[str, Job] = {}
        self._windows: dict[str, deque[float]] = defaultdict(deque)
        self._rows = itertools.count(501)

    @property
    def balance(self) -> float:
        """The account's credits, shared with v1."""
        return self._core.credits.balance

    @balance.setter
    def balance(self, amount: float) -> None:
        self._core.credits.balance = amount

    def all(self) -> list[Job]:
        """Return all jobs, oldest first."""
        with self._core.lock:
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
        return [job for job in self._jobs.values() if not job.ended and job.kind.paid]

    # Limits -------------------------------------------------------------------------------------------

    def admit_rate(self, endpoint: str) -> None:
        """
        Refuse a submission if the rate limit of its endpoint is reached.

        :raises Refused: 429.
        """
        settings = self._core.settings
        window = self._windows[endpoint]
        now = self._core.clock.time()
        while window and window[0] <= now - settings.rate_window:
            window.popleft()
        if settings.jobs_per_minute and len(window) >= settings.jobs_per_minute:
            wait = window[-settings.jobs_per_minute] + settings.rate_window - now
            self._core.counters.refused("rate")
            if self._core.variants["rate_counts"] == "all":
                window.append(now)
            cap = self._core.variants["rate_429"] == "identity_cap"
            text = "Maximum identities reached." if cap else "Rate limit exceeded. Try again later."
            raise Refused(429, {"error": text}, self._core.retry_after(wait))

    def count_submission(self, endpoint: str) -> None:
        """Count an accepted submission in the rate window of its endpoint."""
        self._windows[endpoint].append(self._core.clock.time())

    def admit_active(self) -> None:
        """
        Refuse a job if too many are active.

        :raises Refused: 429.
        """
        most = self._core.settings.active_jobs
        if most and len(self.active()) >= most:
            self._core.counters.refused("active")
            text = f"Too many active jobs. At most {most} can be pending or processing."
            raise Refused(429, {"error": text}, self._core.retry_after(self._core.settings.job_seconds))

    def charge(self, amount: float) -> None:
        """
        Deduct credits.

        :raises Refused: 402.
        """
        if not self._core.credits.take(amount):
            raise Refused(402, {"error": "Insufficient credits to create job", "required_credits": amount})

    # Creation -----------------------------------------------------------------------------------------

    def create(
        self,
        kind: JobKind,
        planned: list[PlannedOutput],
        *,
        identity: Identity | None,
        project: Project | None,
        images: list[str],
        options: dict[str, Any],
        post_process: bool,
        price: float,
    ) -> Job:
        """Add a paid job with one pending row per planned output."""
        job = self._add(kind, identity)
        job.project = project
        job.images = images
        job.options = options
        job.credits = price
        job.post_process = post_process
        job.post_processing_status = "pending" if post_process else None
        job.hidden = self._core.variants.number("fresh_404")
        job.faults = self._core.faults.take_each(JOB, JOB_KINDS)
        job.outputs = [self.new_output(job, plan) for plan in planned]
        self._core.counters.job(job.images, len(self.active()))
        return job

    def create_preprocessing(self, identity: Identity) -> Job:
        """Add the free preprocessing job of an identity."""
        return self._add(Preprocessing(), identity)

    def _add(self, kind: JobKind, identity: Identity | None) -> Job:
        now = self._core.clock.time()
        job = Job(f"job_{uuid.uuid4().hex}", kind, now, now, identity=identity)
        self._jobs[job.job_id] = job
        return job

    def new_output(self, job: Job, plan: PlannedOutput, version: int = 0) -> Output:
        """Return a new pending row."""
        now = self._core.clock.time()
        number, name = next(self._rows), str(uuid.uuid4())
        output = Output(number, name, plan.image_index, plan.group_index, plan.inputs, plan.filename, now)
        output.version, output.updated_at = version, now
        fault = job.faults.get("hostile_filename")
        if fault is not None:
            output.filename = fault.get("original_filename", output.filename)
            output.download_filename = fault.get("download_filename", None)
        return output

    def ledger(self) -> list[dict[str, Any]]:
        """Return all jobs that cost credits as JSON values; a promotion is the preprocessing that it paid for."""
        with self._core.lock:
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
                if job.kind.paid or job.credits
            ]
