# SPDX-License-Identifier: Apache-2.0
"""Find a job that was bought but whose id was never seen."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.exceptions import PiktidInvalidRequestError, PiktidNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_piktid.client import PiktidClient
    from airflow_provider_piktid.models.v2 import GalleryJob, ImageResult

log = logging.getLogger(__name__)

#: Newest jobs looked at. An account starts five a minute, so this is over an hour and a half.
SCAN_LIMIT = 500

_ENDED = frozenset({"completed", "failed", "aborted"})


def find_job(
    client: PiktidClient,
    project_id: str,
    images: list[str],
    *,
    since: float,
    known: set[str],
    is_ours: Callable[[Any], bool],
) -> str | None:
    """
    Look through the account's newest jobs for one of exactly these images.

    The gallery is the only listing of jobs that PiktID documents. A failure to read it is raised, never
    taken for "not there".

    :param since: Epoch seconds; older jobs are not ours.
    :param known: Job ids that are the answer to other requests.
    :param is_ours: Whether a job's kind and identity fit.
    """
    for job in itertools.islice(_newest(client, project_id), SCAN_LIMIT):
        created = _epoch(job.created_at)
        if created is not None and created < since:
            return None
        if job.job_id in known or not is_ours(job):
            continue
        inputs = _inputs(job.images) or _inputs(_results(client, job.job_id))
        # A job that runs may be listed with the images that are finished, no more.
        if inputs == set(images) or (job.status not in _ENDED and inputs and inputs < set(images)):
            return job.job_id
        if not inputs:
            log.warning("Job %s may be ours, but PiktID does not say what its images are.", job.job_id)
    return None


def _newest(client: PiktidClient, project_id: str) -> Iterator[GalleryJob]:
    jobs = client.iter_gallery_jobs(project_id=project_id, order="desc")
    try:
        first = next(jobs, None)
    except PiktidInvalidRequestError:
        # Whether this filter wants the text id or the number of the database is undocumented.
        jobs = (
            job for job in client.iter_gallery_jobs(order="desc") if job.project_key in (None, project_id)
        )
        first = next(jobs, None)
    if first is not None:
        yield first
        yield from jobs


def _results(client: PiktidClient, job_id: str) -> list[ImageResult]:
    try:
        return client.get_job_results(job_id).results
    except PiktidNotFoundError:
        return []


def _inputs(results: list[ImageResult]) -> set[str]:
    return {link.uuid for result in results for link in result.inputs if link.uuid}


def _epoch(text: str | None) -> float | None:
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
