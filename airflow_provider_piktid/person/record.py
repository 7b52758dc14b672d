# SPDX-License-Identifier: Apache-2.0
"""
The record of generated persons: every paid request and its outcome.

Pure: no Airflow, no HTTP. The v1 API has no job ids; image, person and keyword identify a request.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

from airflow_provider_piktid.common.paid import PaidRequest
from airflow_provider_piktid.common.records import PaidRecord, shared_fields

RECORD_VERSION = 1
STATE_KEY = "piktid_generations"

#: Texts of errors without ids that a record keeps: other tasks of the account may cause any number of them.
MAX_UNNAMED = 3


@dataclass
class Generation(PaidRequest):
    """
    One person with one keyword: one paid request and its outcome.

    States in addition to those of any paid request: ``done``: the result is stored. ``failed``: PiktID reported a
    failure. ``refused``: PiktID refused the request and nothing was paid. ``expired``: generated, but its
    notification expired before the result was downloaded.

    :param keyword: Group and value, as sent.
    :param id_image: Id of the uploaded picture.
    :param id_task: Id of the request, if PiktID returned one.
    :param file: URI of the result; while there is none, the name that was chosen for it, with any extension.
    :param error: Why there is no result.
    :param paid_requests: Number of paid requests so far.
    """

    STATES: ClassVar[tuple[str, ...]] = (*PaidRequest.STATES, "done", "failed", "refused", "expired")

    id_person: int
    keyword: tuple[str, str]
    id_image: str | None = None
    id_task: str | None = None
    file: str | None = None
    error: str | None = None
    paid_requests: int = 0

    @property
    def key(self) -> tuple[int, str, str]:
        """The unique key of a generation within a task; letter case is ignored."""
        return self.id_person, self.keyword[0].lower(), self.keyword[1].lower()

    @property
    def label(self) -> str:
        """The name of the generation in messages."""
        return f"person {self.id_person}, {self.keyword[0]} {self.keyword[1]}"

    @property
    def outstanding(self) -> bool:
        return self.state in ("intent", "submitted")

    def plan_again(self) -> None:
        super().plan_again()
        self.id_image, self.id_task, self.file, self.error = None, None, None, None


@dataclass(frozen=True)
class Face:
    """
    A person in a picture.

    :param usable: False if PiktID reports that the face is too blurry.
    :param area: Share of the picture that the face covers.
    """

    id: int
    usable: bool = True
    area: float = 0.0


@dataclass
class PersonRecord(PaidRecord):
    """
    All generations of a task instance.

    :param id_image: Id of the uploaded picture; None if it has to be uploaded.
    :param uploaded_at: Epoch seconds; None for an ``id_image`` of the DAG author.
    :param faces: The persons in the picture; None if PiktID does not return them.
    :param used: Identities of notifications to ignore: processed ones, and those from before the first request.
    :param attached_at: When the current try of the task began, epoch seconds.
    :param arguments: Digest of the arguments of the current try, to notice that they render differently after a wait.
    :param refused_for_good: Whether a retry cannot succeed until somebody changes something.
    :param set_aside: Paid generations of persons and keywords that the task no longer asks for. They count for nothing,
        and are taken up if they are asked for again.
    :param unnamed_errors: Texts of errors without ids that PiktID reported during the current try.
    """

    WHAT: ClassVar[str] = "generated persons"
    NEWEST: ClassVar[int] = RECORD_VERSION

    created_at: float
    id_image: str | None = None
    uploaded_at: float | None = None
    generations: list[Generation] = field(default_factory=list)
    faces: list[Face] | None = None
    used: list[int | str] = field(default_factory=list)
    attached_at: float = 0.0
    arguments: str = ""
    refused_for_good: bool = False
    set_aside: list[Generation] = field(default_factory=list)
    unnamed_errors: list[str] = field(default_factory=list)
    version: int = RECORD_VERSION

    @property
    def job_ids(self) -> list[str]:
        """The labels of what was requested, for messages: this API has no job ids."""
        return [item.label for item in [*self.generations, *self.set_aside] if item.paid_requests]

    @property
    def purchase(self) -> str:
        """A short digest that is unique for each record, for file names."""
        return hashlib.sha256(f"{self.fingerprint} {self.created_at!r}".encode()).hexdigest()[:8]

    @property
    def outstanding(self) -> list[Generation]:
        return [item for item in self.generations if item.outstanding]

    @property
    def is_sent(self) -> bool:
        return not self.in_state("planned", "intent")

    def in_state(self, *states: str) -> list[Generation]:
        return [item for item in self.generations if item.state in states]

    def to_json(self) -> dict[str, Any]:
        value = super().to_json()
        for name in ("generations", "set_aside"):
            value[name] = [_compact(item) for item in value[name]]
        return value

    @classmethod
    def _build(cls, value: Mapping[str, Any]) -> Self:
        return cls(
            created_at=float(value["created_at"]),
            id_image=value.get("id_image"),
            uploaded_at=value.get("uploaded_at"),
            generations=[_generation(item) for item in value["generations"]],
            set_aside=[_generation(item) for item in value.get("set_aside") or []],
            faces=None if value.get("faces") is None else [Face(**face) for face in value["faces"]],
            used=[item for item in value.get("used") or [] if isinstance(item, int | str)],
            attached_at=float(value.get("attached_at") or 0.0),
            arguments=str(value.get("arguments") or ""),
            refused_for_good=bool(value.get("refused_for_good")),
            unnamed_errors=[str(text) for text in value.get("unnamed_errors") or []],
            version=int(value["version"]),
            **shared_fields(value),
        )

    def note_unnamed(self, texts: Iterable[str]) -> None:
        """Keep the first texts of errors without ids, for the message at the deadline."""
        self.unnamed_errors = list(dict.fromkeys([*self.unnamed_errors, *texts]))[:MAX_UNNAMED]

    def plan(self, persons: Iterable[int], keywords: Sequence[Mapping[str, str]]) -> None:
        """Plan one generation for each person and keyword. Existing ones are kept; paid ones are never forgotten."""
        known = {item.key: item for item in [*self.set_aside, *self.generations]}
        planned = [
            Generation(person, next(iter(keyword.items()))) for person in persons for keyword in keywords
        ]
        self.generations = [known.pop(item.key, item) for item in planned]
        self.set_aside = [item for item in known.values() if item.paid_requests]

    def assume_paid(self, now: float) -> None:
        """Treat all generations as requested with a lost reply: an earlier try without a record may have paid."""
        for item in self.generations:
            item.state, item.intent_at, item.id_image, item.paid_requests = "intent", now, self.id_image, 1


_DEFAULTS = {item.name: item.default for item in fields(Generation)}


def _compact(item: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out defaults, so that thirty persons with nine keywords fit into a state store."""
    return {
        # Airflow's state store accepts JSON types only.
        name: list(part) if isinstance(part, tuple) else part
        for name, part in item.items()
        if part != _DEFAULTS[name]
    }


def _generation(item: Mapping[str, Any]) -> Generation:
    group, word = item["keyword"]
    return Generation(**{**item, "keyword": (str(group), str(word))})


def output_stem(stem: str, item: Generation, mark: str = "") -> str:
    """
    Return a file name such as ``front-1a2b3c4d_person0_oceania``, unique for each generation of a task.

    :param mark: Digest of what else was bought, such as options. Default: nothing else.
    """
    group, word = item.keyword
    slug = "-".join("".join(char if char.isalnum() else " " for char in word).lower().split())[:60]
    if group.lower() != "location" or not slug.isascii() or not slug:
        digest = hashlib.sha256(json.dumps(item.key).encode()).hexdigest()[:8]
        slug = f"{slug}-{digest}" if slug.isascii() and slug else digest
    return f"{stem}_person{item.id_person}_{slug}" + (f"_{mark}" if mark else "")
