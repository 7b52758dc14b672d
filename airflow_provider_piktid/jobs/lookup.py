# SPDX-License-Identifier: Apache-2.0
"""Find a job that may have been paid for but whose id was never seen."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_piktid.exceptions import PiktidInvalidRequestError, PiktidNotFoundError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from airflow_provider_piktid.client import PiktidClient
    from airflow_provider_piktid.models import JobType
    from airflow_provider_piktid.models.v2 import GalleryJob, ImageResult

log = logging.getLogger(__name__)

#: Newest jobs looked at. An account starts five a minute, so these are those of nearly seven hours.
SCAN_LIMIT = 2000

#: So many jobs in a row, each too old and none newer than the one before, end the search.
OLD_IN_A_ROW = 20

_ENDED = frozenset({"completed", "failed", "aborted"})


@dataclass(frozen=True)
class Lookup:
    """
    What PiktID lists of a request.

    :param job_id: The job that the request started; None if none certainly is.
    :param doubts: Why there may be one all the same, one line each.
    """

    job_id: str | None = None
    doubts: tuple[str, ...] = ()


def find_job(
    client: PiktidClient, job: JobType, images: list[str], *, since: float, known: set[str]
) -> str | None:
    """Return the id of the job that :func:`look_up` is certain of, and log its doubts."""
    found = look_up(client, job, images, since=since, known=known)
    for doubt in found.doubts:
        log.warning(doubt)
    return found.job_id


def look_up(
    client: PiktidClient,
    job: JobType,
    images: list[str],
    *,
    since: float,
    known: set[str],
    batch: Collection[str] = (),
) -> Lookup:
    """
    Look through the account's newest jobs for one that this request started.

    The gallery is the only listing of jobs that PiktID documents. A failure to read it is raised, never
    taken for "not there".

    :param job: Kind and options of the request.
    :param images: Its file ids; empty if the type takes none.
    :param since: Epoch seconds; older jobs cannot be the one.
    :param known: Job ids that are the answer to other requests.
    :param batch: File ids of all requests of a task of which no record is left: it may have split them into jobs in
        another way, so a job with some of them is a doubt. Default: none.
    """
    doubts: list[str] = []
    recent = _Recent(_newest(client, job.project_id), since)
    for listed in recent:
        if listed.job_id in known or listed.job_type not in (None, job.word):
            continue
        verdict = _is_result_of(client, listed, job, set(images), set(batch))
        if verdict:
            return Lookup(listed.job_id)
        if verdict is None:
            doubts.append(
                f"Job {listed.job_id} may be the result of this request, but its images differ or PiktID does not "
                "tell enough about its images or options to be sure."
            )
    if recent.is_cut:
        doubts.append(f"PiktID lists more than {SCAN_LIMIT} newer jobs; older ones were not looked at.")
    return Lookup(None, tuple(doubts))


class _Recent:
    """
    The listed jobs that may be new enough.

    The order of the listing is requested, not promised. So it is read on until several jobs in a row are too old and
    in the order that was asked for.
    """

    def __init__(self, jobs: Iterator[GalleryJob], since: float) -> None:
        self._jobs = jobs
        self._since = since
        #: Whether the search ended at :data:`SCAN_LIMIT`.
        self.is_cut = False

    def __iter__(self) -> Iterator[GalleryJob]:
        old, before = 0, float("inf")
        for listed in itertools.islice(self._jobs, SCAN_LIMIT):
            created = epoch(listed.created_at)
            if created is None or created >= self._since:
                old, before = 0, float("inf")
                yield listed
                continue
            old = old + 1 if created <= before else 0
            before = created
            if old == OLD_IN_A_ROW:
                return
        self.is_cut = next(self._jobs, None) is not None


def _is_result_of(
    client: PiktidClient, listed: GalleryJob, job: JobType, images: set[str], batch: set[str]
) -> bool | None:
    """Compare a listed job with a request; None if PiktID does not say enough about the job."""
    inputs = _inputs(listed.images)
    if job.takes_images and inputs and not inputs <= images and inputs.isdisjoint(batch):
        return False
    try:
        status = client.get_job(listed.job_id)
    except PiktidNotFoundError:
        return None
    matches = job.matches(status, len(images))
    if not job.takes_images or (matches is False and not batch):
        return matches
    if inputs != images:
        # A listing has at most 50 outputs of a job, and none of a job that has just begun.
        inputs |= _inputs_of_results(client, listed.job_id)
    if not inputs or _fits(inputs, images, listed.status):
        return matches if inputs or matches is False else None
    # A job of another size is compared as what it is.
    is_other = inputs.isdisjoint(batch) or job.matches(status, len(inputs)) is False
    return False if is_other else None


def _inputs_of_results(client: PiktidClient, job_id: str) -> set[str]:
    try:
        return _inputs(client.get_job_results(job_id).results)
    except PiktidNotFoundError:
        return set()


def _fits(inputs: set[str], images: set[str], status: str) -> bool:
    """A job that still runs may be listed with only those images that are finished."""
    return inputs == images or (status not in _ENDED and inputs < images)


def _newest(client: PiktidClient, project_id: str | None) -> Iterator[GalleryJob]:
    jobs = client.iter_gallery_jobs(project_id=project_id, order="desc")
    try:
        first = next(jobs, None)
    except PiktidInvalidRequestError:
        first = None
    if first is None:
        # Whether this filter takes the text id or the database number is undocumented: the wrong one may be refused,
        # or match nothing.
        jobs = (
            job for job in client.iter_gallery_jobs(order="desc") if job.project_key in (None, project_id)
        )
        first = next(jobs, None)
    if first is not None:
        yield first
        yield from jobs


def _inputs(results: list[ImageResult]) -> set[str]:
    return {link.uuid for result in results for link in result.inputs if link.uuid}


def epoch(text: str | None) -> float | None:
    """Return a time of PiktID in epoch seconds, UTC if it has no zone; None if it cannot be read."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
