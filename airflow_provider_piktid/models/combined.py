# SPDX-License-Identifier: Apache-2.0
"""Jobs that combine all their images into each output, one output for each instruction and variation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_piktid.models.instructions import Reader, credits_each, read_instructions, variations
from airflow_provider_piktid.models.job_type import (
    JobType,
    agrees,
    check_engine,
    check_extra,
    check_flag,
    check_text,
)

if TYPE_CHECKING:
    from airflow_provider_piktid.models.v2 import Job

_FIXED_FIELDS = ("identity_code", "project_id", "images", "instructions", "post_process", "options")


@dataclass(frozen=True, kw_only=True)
class CombinedJob(JobType):
    """
    The base of job types with instructions. All images are one job.

    :param instructions: What each output shall look like, at most 10.
    :param notes: File id to a note about that image. Default: none.
    :param post_process: Let PiktID post-process the outputs. Default: False.
    :param model: Engine. Default: ``auto``.
    :param force_model: Send an engine that this package does not know. Default: False.
    :param extra: More fields of the body, passed through unless they repeat an argument. Default: none.
    :raises ValueError: An argument is invalid.
    """

    combines: ClassVar[bool] = True
    not_content: ClassVar[frozenset[str]] = frozenset({"project_id", "force_model"})
    #: Fields of an instruction and how they are checked.
    fields: ClassVar[Mapping[str, Reader]]
    #: Fields that an instruction must have.
    required: ClassVar[tuple[str, ...]] = ()
    engines: ClassVar[tuple[str, ...]] = ("auto", "nano_banana_pro", "seedream")

    instructions: Sequence[Mapping[str, Any]] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    post_process: bool = False
    model: str = "auto"
    force_model: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.project_id is not None:
            check_text("project_id", self.project_id)
        read = read_instructions(self.instructions, self.fields, self.required)
        object.__setattr__(self, "instructions", read)
        for name in ("notes", "extra"):
            object.__setattr__(self, name, dict(getattr(self, name) or {}))
        for file_id, note in self.notes.items():
            check_text(f"notes[{file_id!r}]", note)
        check_flag("post_process", self.post_process)
        check_engine(self.model, self.engines, force=self.force_model)
        check_extra(self.extra, _FIXED_FIELDS)

    @property
    def variations(self) -> tuple[int, ...]:
        return tuple(map(variations, ([item] for item in self.instructions))) or (1,)

    @property
    def credits_per_output(self) -> float:
        return credits_each(self.instructions)

    def outputs(self, images: int) -> int:
        return variations(self.instructions)

    def split(self, images: int, images_per_job: int) -> list[int]:
        return [images]

    def body(self, images: Sequence[str]) -> dict[str, Any]:
        check_text("project_id", self.project_id)
        return dict(self.extra) | {
            "project_id": self.project_id,
            "images": [self._image(file_id) for file_id in images],
            "instructions": list(self.instructions),
            "post_process": self.post_process,
            "options": self.options(),
        }

    def options(self) -> dict[str, Any]:
        """Return the field ``options`` of the body."""
        return {"model": self.model}

    def matches(self, job: Job, images: int) -> bool | None:
        wanted: dict[str, object] = {
            "job_type": self.word,
            "identity_code": self.identity,
            "post_process": self.post_process,
            "instructions": list(self.instructions),
            **self.options(),
        }
        told: dict[str, object] = {name: job.processing_options.get(name) for name in wanted}
        told |= {
            "job_type": job.job_type,
            "identity_code": job.identity_code,
            "post_process": job.should_post_process,
        }
        return agrees(told, wanted, ("job_type", "instructions", "model"))

    def _image(self, file_id: str) -> str | dict[str, str]:
        note = self.notes.get(file_id)
        return {"file_id": file_id, "note": note} if note else file_id
