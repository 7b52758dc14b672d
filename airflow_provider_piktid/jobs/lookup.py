# SPDX-License-Identifier: Apache-2.0
"""Find a job that may have been paid for but whose id was never seen."""

from __future__ import annotations

import itertools
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_piktid.exceptions import PiktidInvalidRequestError, PiktidNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_piktid.client import PiktidClient
    from airflow_provider_piktid.models import JobType
    from airflow_provider_piktid.models.v2 import GalleryJob, ImageResult

log = logging.getLogger(__name__)

#: Newest jobs looked at. An account starts five a minute, so this is over an hour and a half.
SCAN_LIMIT = 500

_ENDED = frozenset({"completed", "failed", "aborted"})


def find_job(
    client: PiktidClient, job: JobType, images: list[str], *, since: float, known: set[str]
) -> str | None:
    """
    Look through the account's newest jobs for one that this request started.

    The gallery is the only listing of jobs that PiktID documents. A failure to read it is raised, never
    taken for "not there". A job that may be the one, but of which PiktID does not say enough, is logged and not
    taken.

    :param job: Kind and options of the request.
    :param images: Its file ids.
    :param since: Epoch seconds; older jobs cannot be the one.
    :param known: Job ids that are the answer to other requests.
    """
    for listed in itertools.islice(_newest(client, job.project_id), SCAN_LIMIT):
        created = _epoch(listed.created_at)
        if created is not None and created < since:
            return None
        if listed.job_id in known or listed.job_type not in (None, job.word):
            continue
        verdict = _is_result_of(client, listed, job, set(images))
        if verdict:
            return listed.job_id
        if verdict is None:
            log.warning(
                "Job %s may be the result of this request, but PiktID does not tell enough about its images or "
                "options to be sure.",
                listed.job_id,
            )
    return None


def _is_result_of(client: PiktidClient, listed: GalleryJob, job: JobType, images: set[str]) -> bool | None:
    """Compare a listed job with a request; None if PiktID does not say enough about the job."""
    inputs = _inputs(listed.images)
    if inputs and not _fits(inputs, images, listed.status):
        return False
    try:
        matches = job.matches(client.get_job(listed.job_id), len(images))
        if matches is not False and not inputs:
            inputs = _inputs(client.get_job_results(listed.job_id).results)
    except PiktidNotFoundError:
        return None
    if matches is False or (inputs and not _fits(inputs, images, listed.status)):
        return False
    return matches if inputs else None


def _fits(inputs: set[str], images: set[str], status: str) -> bool:
    """A job that still runs may be listed with only those images that are finished."""
    return inputs == images or (status not in _ENDED and inputs < images)


def _newest(client: PiktidClient, project_id: str | None) -> Iterator[GalleryJob]:
    jobs = client.iter_gallery_jobs(project_id=project_id, order="desc")
    try:
        first = next(jobs, None)
    except PiktidInvalidRequestError:
        # Whether this filter takes the text id or the database number is undocumented.
        jobs = (
            job for job in client.iter_gallery_jobs(order="desc") if job.project_key in (None, project_id)
        )
        first = next(jobs, None)
    if first is not None:
        yield first
        yield from jobs


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
