# SPDX-License-Identifier: Apache-2.0
"""Between an operator, which knows its job type, and a batch, which does not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_piktid.exceptions import PiktidNotFoundError
from airflow_provider_piktid.jobs.lookup import find_job

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidClient
    from airflow_provider_piktid.common.records import JobRecord


class JobType(Protocol):
    """What a job type adds to a batch."""

    project_id: str

    def _submit(self, client: PiktidClient, images: list[str], images_per_job: int) -> str: ...
    def _is_ours(self, job: Any) -> bool: ...


class JobTypeCalls:
    """A job type's requests, in the form that a batch wants them."""

    def __init__(self, operator: JobType, client: PiktidClient, images_per_job: int) -> None:
        self._operator = operator
        self._client = client
        self._images_per_job = images_per_job

    def submit(self, images: list[str]) -> str:
        return self._operator._submit(self._client, images, self._images_per_job)

    def ended(self, job_id: str) -> str | None:
        try:
            job = self._client.get_job(job_id)
        except PiktidNotFoundError:
            return None
        return job.status if job.done else None

    def find(self, images: list[str], since: float, known: set[str]) -> str | None:
        return find_job(
            self._client,
            self._operator.project_id,
            images,
            since=since,
            known=known,
            is_ours=self._operator._is_ours,
        )


def adopt(record: JobRecord, images: list[str], calls: JobTypeCalls, since: float, log: Any) -> None:
    """Attach a new record to jobs of its images that were bought after ``since`` (epoch seconds)."""
    for item, chunk in zip(record.submissions, record.chunks(images), strict=True):
        job_id = calls.find(chunk, since, record.known_jobs)
        if job_id:
            item.state, item.job_id, item.submitted_at = "submitted", job_id, time.time()
            log.warning("Attaching to job %s, found at PiktID.", job_id)
