# SPDX-License-Identifier: Apache-2.0
"""Flat-lay to model: all inputs in each output, one output per instruction and variation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..blobs import Blob
from ..core import Core
from ..scenes import size_of, worn
from ..settings import Settings
from ..state import State
from ..wire import Check, read_json
from .checks import body_check
from .combined import combined_files, instructions, opened, picture_options, price_of, saved
from .entities import StoredFile
from .job import Job, JobKind, Output, PlannedOutput
from .paid_jobs import JobRequest, accepted, submit

ENGINES = ("auto", "nano_banana_pro", "seedream")


class FlatToModel(JobKind):
    """Draws a figure beside the inputs."""

    job_type = "flat_2_model"
    auto_model = "nano_banana_pro"

    def plan(self, files: Sequence[StoredFile], options: dict[str, Any]) -> list[PlannedOutput]:
        return [
            PlannedOutput(number, variation, tuple(files), f"look_{number}_{variation}.jpg")
            for number, instruction in enumerate(options["instructions"] or [{}])
            for variation in range(instruction.get("num_variations", 1))
        ]

    def price(self, settings: Settings, options: dict[str, Any], planned: PlannedOutput) -> float:
        return price_of(_instruction(options, planned.image_index))

    def picture(self, core: Core, job: Job, output: Output, sources: list[Blob]) -> Blob:
        output.description = {"emulated": True}
        if not core.settings.transform:
            return sources[0]
        instruction = _instruction(job.options, output.image_index)
        prompt = instruction.get("prompt") or instruction.get("pose") or "as PiktID decides"
        image = worn(
            opened(sources),
            size_of(instruction.get("options", {})),
            job.identity.picture if job.identity else None,
            instruction.get("background") or "lightgrey",
            f"{_name(job)} · {prompt} · variation {output.group_index} · v{output.version}",
        )
        return saved(core, output, image, instruction)


FLAT_TO_MODEL = FlatToModel()


def _name(job: Job) -> str:
    return job.identity.name if job.identity else ""


def _instruction(options: dict[str, Any], number: int) -> dict[str, Any]:
    given: list[dict[str, Any]] = options["instructions"]
    return given[number] if given else {}


async def create_flat_to_model(request: Request, state: State) -> Response:
    """``POST /flat-2-model``."""
    job = submit(state, FLAT_TO_MODEL, await read_json(request), _read)
    return accepted(state, job, total_outputs=len(job.outputs))


def _read(state: State, check: Check) -> JobRequest:
    code = check.text("identity_code", required=True)
    key = check.text("project_id", required=True)
    files = combined_files(state, check)

    def one(instruction: Check) -> None:
        for name in ("prompt", "pose", "background"):
            instruction.text(name, longest=4000)
        instruction.number("seed", 0, 0, 2**32 - 1)
        instruction.number("num_variations", 1, 1, 4)
        instruction.adopt("options", picture_options(state, instruction))

    given = instructions(state, check, one, required=False)
    post_process = check.flag("post_process", False)
    inner = body_check(state, check.take("options") or {})
    options = {
        "model": inner.choice("model", ENGINES, "auto"),
        "use_anchor": inner.flag("use_anchor", True),
        "instructions": given,
    }
    check.adopt("options", inner)
    check.take("review_config")
    return JobRequest(files, options, code, key, post_process)
