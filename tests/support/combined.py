# SPDX-License-Identifier: Apache-2.0
"""
A kind of v2 job that the package does not have: all images combined into each of several outputs.

It is added from outside, as an object and a subclass of the operator. Whatever the package did for a model swap alone
would break here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_piktid.emulator.blobs import Blob
from airflow_provider_piktid.emulator.core import Core
from airflow_provider_piktid.emulator.state import State
from airflow_provider_piktid.emulator.v2.entities import StoredFile
from airflow_provider_piktid.emulator.v2.job import Job as EmulatedJob
from airflow_provider_piktid.emulator.v2.job import JobKind, Output, PlannedOutput
from airflow_provider_piktid.emulator.v2.paid_jobs import JobRequest, accepted, files_of, submit
from airflow_provider_piktid.emulator.wire import Check, read_json
from airflow_provider_piktid.models.job_type import JobType, check_number
from airflow_provider_piktid.models.v2 import Job
from airflow_provider_piktid.operators.base import PaidJobOperator


@dataclass(frozen=True, kw_only=True)
class Combined(JobType):
    """Combine all images into one output for each instruction."""

    word: ClassVar[str] = "combined"
    path: ClassVar[str] = "/combined"
    noun: ClassVar[str] = "combination"

    instructions: int = 1

    def __post_init__(self) -> None:
        check_number("instructions", self.instructions, 1, 10)

    def outputs(self, images: int) -> int:
        return self.instructions

    def split(self, images: int, images_per_job: int) -> list[int]:
        return [images]

    def body(self, images: Sequence[str]) -> dict[str, Any]:
        return {"project_id": self.project_id, "images": list(images), "instructions": self.instructions}

    def matches(self, job: Job, images: int) -> bool | None:
        told = job.processing_options.get("instructions")
        if job.job_type != self.word or told not in (None, self.instructions):
            return False
        return None if told is None else True


class CombinedOperator(PaidJobOperator):
    """Combine uploaded images."""

    job_type = "tests.support.combined.Combined"
    template_fields = (*PaidJobOperator.template_fields, "instructions")

    def __init__(self, *, instructions: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.instructions = instructions


class EmulatedCombined(JobKind):
    """The emulator's side of it."""

    job_type = "combined"
    auto_model = "seedream"

    def plan(self, files: Sequence[StoredFile], options: dict[str, Any]) -> list[PlannedOutput]:
        return [PlannedOutput(n, 0, tuple(files), f"look{n}.jpg") for n in range(options["instructions"])]

    def picture(self, core: Core, job: EmulatedJob, output: Output, sources: list[Blob]) -> Blob:
        return sources[0]


def _read(state: State, check: Check) -> JobRequest:
    key = check.text("project_id", required=True)
    files = files_of(state, check, check.texts("images"))
    return JobRequest(files, {"instructions": check.number("instructions", 1, 1, 10)}, project_key=key)


async def create_combined(request: Request, state: State) -> Response:
    """``POST /combined``."""
    return accepted(state, submit(state, EmulatedCombined(), await read_json(request), _read))
