# SPDX-License-Identifier: Apache-2.0
"""
The record of generated persons: every paid request and what became of it.

Pure: no Airflow, no HTTP. The v1 API has no job ids; image, person and keyword identify a request.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from airflow_provider_piktid.common.paid import PaidRequest
from airflow_provider_piktid.common.records import read_record

RECORD_VERSION = 1
STATE_KEY = "piktid_generations"

_STATES = ("planned", "intent", "submitted", "done", "failed", "refused", "expired")


@dataclass
class Generation(PaidRequest):
    """
    One person with one keyword: one paid request and what became of it.

    States beside those of any paid request: ``done``: the result is stored. ``failed``: PiktID reported a failure.
    ``refused``: PiktID refused the request and nothing was paid. ``expired``: generated, but its notification was
    gone before the result was fetched.

    :param keyword: Group and value, as sent.
    :param id_image: The uploaded picture that the request is about.
    :param id_task: The id of the request, if PiktID gave one.
    :param file: URI of the result.
    :param error: Why there is no result.
    :param asks: Paid requests so far.
    """

    id_person: int
    keyword: tuple[str, str]
    id_image: str | None = None
    id_task: str | None = None
    file: str | None = None
    error: str | None = None
    asks: int = 0

    @property
    def key(self) -> tuple[int, str, str]:
        """What no two generations of a task share, letter case aside."""
        return self.id_person, self.keyword[0].lower(), self.keyword[1].lower()

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"person {self.id_person}, {self.keyword[0]} {self.keyword[1]}"

    @property
    def outstanding(self) -> bool:
        return self.state in ("intent", "submitted")

    def plan_again(self) -> None:
        super().plan_again()
        self.id_image, self.id_task, self.error = None, None, None


@dataclass(frozen=True)
class Face:
    """
    A person in a picture.

    :param usable: False if PiktID calls the face too blurry.
    :param area: Share of the picture that the face covers.
    """

    id: int
    usable: bool = True
    area: float = 0.0


@dataclass
class PersonRecord:
    """
    All generations of a task instance.

    :param fingerprint: Of everything that decides the content and the bill, persons and keywords excepted.
    :param id_image: The uploaded picture; None if it has to be uploaded.
    :param uploaded_at: Epoch seconds; None for a picture that the DAG author named.
    :param faces: The persons in it; None if the service did not tell.
    :param used: Notifications that count no more, by identity: acted upon, or there before the first request.
    :param attached_at: When the current try of the task began, epoch seconds.
    :param refused_for_good: Whether asking again for what was refused is useless until somebody changes something.
    """

    fingerprint: str
    created_at: float
    id_image: str | None = None
    uploaded_at: float | None = None
    generations: list[Generation] = field(default_factory=list)
    faces: list[Face] | None = None
    used: list[int | str] = field(default_factory=list)
    attached_at: float = 0.0
    refused_for_good: bool = False
    version: int = RECORD_VERSION

    @property
    def job_ids(self) -> list[str]:
        """What was asked for, for messages: this API has no job ids."""
        return [item.label for item in self.generations if item.asks]

    @property
    def outstanding(self) -> list[Generation]:
        return [item for item in self.generations if item.outstanding]

    def in_state(self, *states: str) -> list[Generation]:
        return [item for item in self.generations if item.state in states]

    def to_json(self) -> dict[str, Any]:
        value = asdict(self)
        defaults = {item.name: item.default for item in fields(Generation)}
        # Thirty persons by nine keywords stay below what a state store likes to hold.
        value["generations"] = [
            {
                # Airflow's state store takes JSON's own types only.
                name: list(part) if isinstance(part, tuple) else part
                for name, part in item.items()
                if part != defaults[name]
            }
            for item in value["generations"]
        ]
        return value

    @classmethod
    def from_json(cls, value: Any) -> PersonRecord:
        """
        Rebuild a record.

        :raises PiktidRecordError: It is not one, or was written by a newer version of this package.
        """
        return read_record(value, RECORD_VERSION, "generated persons", cls._build)

    @classmethod
    def _build(cls, value: Mapping[str, Any]) -> PersonRecord:
        return cls(
            fingerprint=str(value["fingerprint"]),
            created_at=float(value["created_at"]),
            id_image=value.get("id_image"),
            uploaded_at=value.get("uploaded_at"),
            generations=[_generation(item) for item in value["generations"]],
            faces=None if value.get("faces") is None else [Face(**face) for face in value["faces"]],
            used=[item for item in value.get("used") or [] if isinstance(item, int | str)],
            attached_at=float(value.get("attached_at") or 0.0),
            refused_for_good=bool(value.get("refused_for_good")),
            version=int(value["version"]),
        )

    def want(self, persons: Iterable[int], keywords: Sequence[Mapping[str, str]]) -> None:
        """Plan one generation for each person and keyword; those in the record stay as they are."""
        known = {item.key: item for item in self.generations}
        wanted = [
            Generation(person, next(iter(keyword.items()))) for person in persons for keyword in keywords
        ]
        self.generations = [known.get(item.key, item) for item in wanted]


def _generation(item: Mapping[str, Any]) -> Generation:
    """Rebuild a generation; one in an unknown state could be paid for again."""
    group, word = item["keyword"]
    generation = Generation(**{**item, "keyword": (str(group), str(word))})
    if generation.state not in _STATES:
        raise ValueError(generation.state)
    return generation


def output_name(stem: str, item: Generation, extension: str) -> str:
    """Name a result: ``front-1a2b3c4d_person0_oceania.jpg``. Two generations of a task never share one."""
    group, word = item.keyword
    slug = "-".join("".join(char if char.isalnum() else " " for char in word).lower().split())[:60]
    if group.lower() != "location" or not slug.isascii() or not slug:
        digest = hashlib.sha256(json.dumps(item.key).encode()).hexdigest()[:8]
        slug = f"{slug}-{digest}" if slug.isascii() and slug else digest
    return f"{stem}_person{item.id_person}_{slug}{extension}"
