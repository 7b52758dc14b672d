# SPDX-License-Identifier: Apache-2.0
"""The drafts of a job, the choice of one, and the record of its promotion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from airflow_provider_piktid.common.paid import PaidRequest
from airflow_provider_piktid.common.records import shared_fields
from airflow_provider_piktid.exceptions import PiktidConfigError
from airflow_provider_piktid.jobs.one_request import OneRequestRecord
from airflow_provider_piktid.jobs.outcome import is_downloadable

if TYPE_CHECKING:
    from airflow_provider_piktid.models.v2 import JobResults

STATE_KEY = "piktid_promotion"
RECORD_VERSION = 1


@dataclass
class Promotion(PaidRequest):
    """
    The promotion of one draft. PiktID refuses to promote a draft twice and names its identity.

    :param image_result_id: Number of the draft at PiktID.
    :param preprocessing_job_id: None if PiktID did not name it, as for a draft that was promoted before.
    """

    REPEATABLE: ClassVar[bool] = True

    image_result_id: int
    identity_code: str | None = None
    preprocessing_job_id: str | None = None


@dataclass
class PromotionRecord(OneRequestRecord):
    """
    What a task instance has promoted.

    :param jobs: The jobs whose draft it is.
    """

    WHAT: ClassVar[str] = "promoted drafts"
    NEWEST: ClassVar[int] = RECORD_VERSION

    item: Promotion
    jobs: list[str]
    version: int = RECORD_VERSION

    @property
    def job_ids(self) -> list[str]:
        return [self.item.identity_code] if self.item.identity_code else []

    @classmethod
    def _build(cls, value: Mapping[str, Any]) -> Self:
        jobs = [str(job_id) for job_id in value["jobs"]]
        return cls(jobs=jobs, item=Promotion(**value["item"]), **shared_fields(value))


@dataclass(frozen=True)
class Draft:
    """
    A draft that has a picture.

    :param draft: Its number for the operators, from 0.
    :param image_result_id: Its number at PiktID; None if PiktID does not tell it.
    """

    draft: int
    job_id: str
    image_result_id: int | None
    image_index: int
    group_index: int
    version: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def drafts_of(jobs: Iterable[tuple[str, JobResults]]) -> list[Draft]:
    """Return the drafts that have a picture, in the order of the jobs, then of instructions and variations."""
    made = [
        (job_id, result)
        for job_id, results in jobs
        for result in sorted(results.results, key=lambda result: result.key)
        if is_downloadable(result)
    ]
    return [
        Draft(
            number,
            job_id,
            result.id if result.image_result_id is None else result.image_result_id,
            result.image_index,
            result.group_index,
            result.version,
        )
        for number, (job_id, result) in enumerate(made)
    ]


def chosen_draft(drafts: Sequence[Draft], number: int, *, connection: str, argument: str) -> int:
    """
    Return the number at PiktID of the draft that the DAG author chose.

    :param argument: Name of the operator's argument, for the message.
    :raises PiktidConfigError: The draft does not exist, or PiktID does not tell its number.
    """
    if number >= len(drafts):
        there = f"there are {len(drafts)}, numbered from 0" if drafts else "there is none with a picture"
        raise PiktidConfigError(
            f"{connection}: there is no draft {number}: {there}. Correct `{argument}`. The drafts are not bought "
            "again, and nothing was promoted."
        )
    chosen = drafts[number].image_result_id
    if chosen is None:
        raise PiktidConfigError(
            f"{connection}: PiktID does not tell the number of draft {number} of job {drafts[number].job_id}. Promote "
            "it in PiktID's web application."
        )
    return chosen


def draft_number(value: Any, argument: str) -> int:
    """
    Return the number of a draft, which a template gives as text.

    :raises PiktidConfigError: Not a whole number from 0.
    """
    text = str(value).strip()
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()):
        raise PiktidConfigError(
            f"{argument} must be the number of a draft, 0 for the first one, not {value!r}. Nothing was submitted."
        )
    return int(text)
