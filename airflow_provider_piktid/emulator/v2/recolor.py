# SPDX-License-Identifier: Apache-2.0
"""Garment recolouring: one output per input and variation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..blobs import Blob
from ..core import Core
from ..faces import encode, open_picture
from ..scenes import recoloured
from ..settings import Settings
from ..state import State
from ..wire import Check, read_json
from .entities import StoredFile
from .job import Job, JobKind, Output, PlannedOutput, one_for_each
from .paid_jobs import JobRequest, accepted, files_of, submit

ENGINES = ("auto", "nano_banana_2", "nano_banana_pro", "seedream", "gpt_image")
PRICES = {1024: 3.0, 2048: 5.0, 4096: 10.0}
TARGETS = ("reference_text", "instruction", "reference_image")


class GarmentRecolor(JobKind):
    """Turns the hue of each input."""

    job_type = "garment_recolor"
    auto_model = "nano_banana_2"

    def plan(self, files: Sequence[StoredFile], options: dict[str, Any]) -> list[PlannedOutput]:
        return one_for_each(files, options["num_variations"])

    def price(self, settings: Settings, options: dict[str, Any], planned: PlannedOutput) -> float:
        return PRICES[options["processing_size"]]

    def picture(self, core: Core, job: Job, output: Output, sources: list[Blob]) -> Blob:
        output.description = {"emulated": True}
        if not core.settings.transform:
            return sources[0]
        image, content_type = open_picture(sources[0].path)
        target = next(str(job.options[name]) for name in TARGETS if job.options.get(name))
        garment = job.options.get("garment_label") or "garment"
        changed = recoloured(
            image,
            target,
            f"{garment} · {target} · variation {output.group_index} · v{output.version}",
            turn=0.03 * output.group_index + 0.11 * output.version,
            mark=bool(job.options.get("add_ai_watermark")),
        )
        return core.folder.save(encode(changed, content_type), content_type)


GARMENT_RECOLOR = GarmentRecolor()


async def create_garment_recolor(request: Request, state: State) -> Response:
    """``POST /garment-recolor``."""
    job = submit(state, GARMENT_RECOLOR, await read_json(request), _read)
    return accepted(state, job, total_outputs=len(job.outputs))


def _read(state: State, check: Check) -> JobRequest:
    key = check.text("project_id", required=True)
    images = check.texts("images", longest=state.variants.number("images_limit") or None)
    options: dict[str, Any] = {name: check.text(name, longest=4000) for name in (*TARGETS, "garment_label")}
    if not any(options[name] for name in TARGETS):
        check.wrong(None, f"One of {', '.join(TARGETS)} is required")
    if options["reference_image"] and options["reference_image"] not in state.v2.files:
        check.wrong("reference_image", "Unknown file_id")
    options["num_variations"] = check.number("num_variations", 1, 1, 8)
    options["processing_size"] = check.number("processing_size", 2048, 1024, 4096)
    if options["processing_size"] not in PRICES:
        check.wrong("processing_size", "Input should be 1024, 2048 or 4096")
    options["model"] = check.choice("model", ENGINES, "auto")
    options["use_anchor"] = check.flag("use_anchor", True)
    options["add_ai_watermark"] = check.flag("add_ai_watermark", False)
    post_process = check.flag("post_process", True)
    options = {name: value for name, value in options.items() if value is not None}
    return JobRequest(files_of(state, check, images), options, None, key, post_process)
