# SPDX-License-Identifier: Apache-2.0
"""The record of outputs that were asked for again. Pure: no Airflow, no HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow_provider_piktid.common.events import is_downloadable
from airflow_provider_piktid.exceptions import PiktidConfigError, PiktidRecordError

if TYPE_CHECKING:
    from airflow_provider_piktid.models.v2 import ImageResult, JobResults

STATE_KEY = "piktid_regenerations"
RECORD_VERSION = 1

RegenerationState = Literal["planned", "intent", "sent"]


@dataclass
class Regeneration:
    """
    One output to make again.

    :param version: Its newest version before; the new one is higher.
    :param state: ``planned``: never sent. ``intent``: sent, or about to be. ``sent``: PiktID took it.
    :param resubmitted: Sent again after a lost reply, as told; never a third time.
    """

    job_id: str
    image_index: int
    group_index: int
    version: int
    state: RegenerationState = "planned"
    resubmitted: bool = False

    @property
    def place(self) -> tuple[str, int, int]:
        return self.job_id, self.image_index, self.group_index

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"image {self.image_index}, variation {self.group_index} of job {self.job_id}"


@dataclass
class RegenerationRecord:
    """All outputs that a task instance asked for again."""

    fingerprint: str
    items: list[Regeneration]
    version: int = RECORD_VERSION

    @property
    def job_ids(self) -> list[str]:
        return list(dict.fromkeys(item.job_id for item in self.items))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> RegenerationRecord:
        """
        Rebuild a record.

        :raises PiktidRecordError: It is not one, or is of a newer version.
        """
        try:
            items = [Regeneration(**item) for item in value["items"]]
            known = get_args(RegenerationState)
            if int(value["version"]) > RECORD_VERSION or any(item.state not in known for item in items):
                raise ValueError("of a newer version")
            return cls(str(value["fingerprint"]), items)
        except (KeyError, TypeError, ValueError) as error:
            raise PiktidRecordError(
                "The record of regenerated images cannot be understood. Update airflow-provider-piktid on the "
                "workers; or look at the jobs' versions at PiktID, then remove the record."
            ) from error


def failed_outputs(jobs: Mapping[str, JobResults]) -> list[Regeneration]:
    """Choose the outputs that have failed; those that still run are left alone."""
    return [
        Regeneration(job_id, result.image_index, result.group_index, result.version)
        for job_id, results in jobs.items()
        for result in results.results
        if has_ended(result) and not is_downloadable(result)
    ]


def chosen_outputs(jobs: Mapping[str, JobResults], images: Iterable[Mapping[str, Any]]) -> list[Regeneration]:
    """
    Choose outputs by place.

    :param images: Each ``{"image_index"}``, with ``"group_index"`` (0) and, for several jobs, ``"job_id"``.
    :raises PiktidConfigError: No such output.
    """
    newest = newest_results(jobs.items())
    chosen = []
    for image in images:
        if len(jobs) > 1 and "job_id" not in image:
            raise PiktidConfigError("images must name a job_id each, as there are several jobs.")
        job_id = str(image.get("job_id") or next(iter(jobs)))
        place = (job_id, int(image["image_index"]), int(image.get("group_index") or 0))
        if place not in newest:
            raise PiktidConfigError(f"There is no image {place[1]}, variation {place[2]}, in job {job_id}.")
        chosen.append(Regeneration(*place, newest[place].version))
    return chosen


def newest_results(jobs: Iterable[tuple[str, JobResults]]) -> dict[tuple[str, int, int], ImageResult]:
    """Map the place of each output to its newest version."""
    newest: dict[tuple[str, int, int], ImageResult] = {}
    for job_id, results in jobs:
        for result in results.results:
            place = (job_id, *result.key)
            if place not in newest or newest[place].version < result.version:
                newest[place] = result
    return newest


def has_ended(result: ImageResult) -> bool:
    """Whether nothing more will happen to this version."""
    return result.status in ("completed", "failed", "aborted") or (
        not result.status and bool(result.download_url)
    )


def still_open(
    items: Sequence[Regeneration], newest: Mapping[tuple[str, int, int], ImageResult]
) -> list[Regeneration]:
    """Choose the items whose new version is not there yet, or has not ended."""
    return [
        item
        for item in items
        if item.place not in newest
        or newest[item.place].version <= item.version
        or not has_ended(newest[item.place])
    ]
