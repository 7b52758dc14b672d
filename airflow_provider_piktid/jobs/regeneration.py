# SPDX-License-Identifier: Apache-2.0
"""The record of regenerated outputs, and the wait for their new versions."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from airflow_provider_piktid.common.paid import PaidRequest
from airflow_provider_piktid.common.records import PaidRecord, shared_fields
from airflow_provider_piktid.exceptions import TRANSIENT_ERRORS, PiktidConfigError
from airflow_provider_piktid.jobs.lookup import epoch
from airflow_provider_piktid.jobs.outcome import is_downloadable

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidClient
    from airflow_provider_piktid.models.v2 import ImageResult, JobResults

log = logging.getLogger(__name__)

STATE_KEY = "piktid_regenerations"
RECORD_VERSION = 1


@dataclass
class Regeneration(PaidRequest):
    """
    One output to regenerate.

    :param version: Its newest version before the request; the new one is higher.
    """

    job_id: str
    image_index: int
    group_index: int
    version: int

    @property
    def place(self) -> tuple[str, int, int]:
        return self.job_id, self.image_index, self.group_index

    @property
    def label(self) -> str:
        """The name of the output in messages."""
        return f"image {self.image_index}, variation {self.group_index} of job {self.job_id}"


@dataclass
class RegenerationRecord(PaidRecord):
    """All outputs that a task instance regenerates."""

    WHAT: ClassVar[str] = "regenerated images"
    NEWEST: ClassVar[int] = RECORD_VERSION

    items: list[Regeneration]
    version: int = RECORD_VERSION

    @property
    def job_ids(self) -> list[str]:
        return list(dict.fromkeys(item.job_id for item in self.items))

    @property
    def is_sent(self) -> bool:
        return all(item.state == "submitted" for item in self.items)

    @classmethod
    def _build(cls, value: Mapping[str, Any]) -> Self:
        return cls(items=[Regeneration(**item) for item in value["items"]], **shared_fields(value))


def failed_outputs(jobs: Mapping[str, JobResults]) -> list[Regeneration]:
    """Return the outputs that have failed; running ones are not included."""
    return [
        Regeneration(job_id, result.image_index, result.group_index, result.version)
        for job_id, results in jobs.items()
        for result in results.results
        if has_ended(result) and not is_downloadable(result)
    ]


def chosen_outputs(jobs: Mapping[str, JobResults], images: Iterable[Mapping[str, Any]]) -> list[Regeneration]:
    """
    Return the outputs that the DAG author chose.

    :param images: Each ``{"image_index"}``, with ``"group_index"`` (default 0) and, for several jobs, ``"job_id"``.
    :raises PiktidConfigError: An output does not exist.
    """
    newest = newest_results(jobs.items())
    chosen = []
    for image in images:
        if len(jobs) > 1 and "job_id" not in image:
            raise PiktidConfigError("Each item of `images` needs a job_id, as there are several jobs.")
        job_id = str(image.get("job_id") or next(iter(jobs)))
        place = (job_id, int(image["image_index"]), int(image.get("group_index") or 0))
        if place not in newest:
            raise PiktidConfigError(
                f"Job {job_id} has no image {place[1]}, variation {place[2]}. Correct `images`."
            )
        chosen.append(Regeneration(*place, newest[place].version))
    return chosen


def newest_results(jobs: Iterable[tuple[str, JobResults]]) -> dict[tuple[str, int, int], ImageResult]:
    """Map job, image and variation of each output to its newest version."""
    newest: dict[tuple[str, int, int], ImageResult] = {}
    for job_id, results in jobs:
        for result in results.results:
            place = (job_id, *result.key)
            if place not in newest or newest[place].version < result.version:
                newest[place] = result
    return newest


def requested_since(
    jobs: Mapping[str, JobResults], since: float, places: Collection[tuple[str, int, int]] | None = None
) -> tuple[list[Regeneration], list[Regeneration]]:
    """
    Return the outputs with a new version that was requested after a moment, by whomever, and those that may have one.

    A request adds the new version at once, before it is made.

    :param since: Epoch seconds.
    :param places: Job, image and variation of the outputs to look at. Default: all.
    """
    sent, unclear = [], []
    for place, result in newest_results(jobs.items()).items():
        if result.version == 0 or (places is not None and place not in places):
            continue
        created = epoch(result.created_at)
        item = Regeneration(*place, result.version - 1, state="submitted")
        if created is None:
            unclear.append(item)
        elif created >= since:
            sent.append(item)
    return sent, unclear


def has_ended(result: ImageResult) -> bool:
    """Return whether this version is final."""
    return result.status in ("completed", "failed", "aborted") or (
        not result.status and bool(result.download_url)
    )


def still_open(
    items: Sequence[Regeneration], newest: Mapping[tuple[str, int, int], ImageResult]
) -> list[Regeneration]:
    """Return the items whose new version does not exist yet, or has not ended."""
    return [
        item
        for item in items
        if item.place not in newest
        or newest[item.place].version <= item.version
        or not has_ended(newest[item.place])
    ]


async def watch_results(
    connect: Callable[[], Awaitable[AsyncPiktidClient]],
    job_ids: Iterable[str],
    done: Callable[[dict[str, JobResults]], bool],
    *,
    poll_interval: float,
    end_time: float,
) -> bool:
    """
    Poll the results of jobs until they satisfy ``done``; return False if the deadline passes first.

    It is not documented whether a job's status changes while an image is regenerated, so the results are polled.

    :param connect: Returns a client, which is closed at the end.
    :param end_time: Deadline, epoch seconds.
    :raises PiktidAPIError: PiktID refuses for a reason that waiting does not resolve.
    """
    ids = list(job_ids)
    async with await connect() as client:
        while True:
            try:
                answers = await asyncio.gather(*(client.get_job_results(job_id) for job_id in ids))
                if done(dict(zip(ids, answers, strict=True))):
                    return True
            except TRANSIENT_ERRORS as error:
                log.warning("Could not get the job results; will keep polling: %s", error)
            left = end_time - time.time()
            if left <= 0:
                return False
            await asyncio.sleep(min(poll_interval, left))
