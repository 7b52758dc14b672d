# SPDX-License-Identifier: Apache-2.0
"""Packshots: all inputs show one product; one output per instruction and variation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..blobs import Blob
from ..core import Core
from ..scenes import cut_out, size_of
from ..settings import Settings
from ..state import State
from ..wire import Check, read_json
from .checks import body_check
from .combined import combined_files, instructions, opened, picture_options, price_of, saved
from .entities import StoredFile
from .job import Job, JobKind, Output, PlannedOutput
from .paid_jobs import JobRequest, accepted, submit

ENGINES = ("auto", "nano_banana_pro", "seedream")
STYLES = ("flat_lay", "ghost_mannequin", "marketing_ready", "white_cutout", "free")
FRAMINGS = {"square_packshot": "1:1", "tall_3_4": "3:4", "wide_4_3": "4:3", "full_frame": "3:4"}
ANGLES = ("front", "back", "three_quarter", "top_down", "detail_macro")
SHADOWS = ("auto", "none", "contact", "soft_drop", "natural")
TEXTS = ("background", "composition", "props", "surface", "color_palette", "lighting", "prompt")


class Packshot(JobKind):
    """
    Puts the inputs on the asked background.

    :param variation_first: Whether ``image_index`` counts the variations and ``group_index`` the instructions; the
        other way round otherwise.
    """

    job_type = "create_packshot"
    auto_model = "nano_banana_pro"

    def __init__(self, *, variation_first: bool) -> None:
        self._variation_first = variation_first

    def plan(self, files: Sequence[StoredFile], options: dict[str, Any]) -> list[PlannedOutput]:
        return [
            PlannedOutput(
                *((variation, number) if self._variation_first else (number, variation)),
                tuple(files),
                f"packshot_{number}_{variation}.jpg",
            )
            for number, instruction in enumerate(options["instructions"])
            for variation in range(instruction.get("num_variations", 1))
        ]

    def price(self, settings: Settings, options: dict[str, Any], planned: PlannedOutput) -> float:
        return price_of(self._instruction(options, planned))

    def picture(self, core: Core, job: Job, output: Output, sources: list[Blob]) -> Blob:
        output.description = {"emulated": True}
        if not core.settings.transform:
            return sources[0]
        instruction = self._instruction(job.options, output)
        variation = output.image_index if self._variation_first else output.group_index
        style = instruction["style"]
        background = instruction.get("background") or ("white" if style == "white_cutout" else style)
        image = cut_out(
            opened(sources),
            size_of(instruction.get("options", {}), FRAMINGS[instruction.get("framing", "square_packshot")]),
            background,
            f"{style} · {background} · variation {variation} · v{output.version}",
        )
        return saved(core, output, image, instruction)

    def _instruction(self, options: dict[str, Any], output: PlannedOutput | Output) -> dict[str, Any]:
        number = output.group_index if self._variation_first else output.image_index
        instruction: dict[str, Any] = options["instructions"][number]
        return instruction


async def create_packshot(request: Request, state: State) -> Response:
    """``POST /create-packshot``."""
    kind = Packshot(variation_first=state.variants["packshot_index"] == "variation")
    job = submit(state, kind, await read_json(request), _read)
    return accepted(state, job, total_outputs=len(job.outputs))


def _read(state: State, check: Check) -> JobRequest:
    key = check.text("project_id", required=True)
    files = combined_files(state, check)
    given = instructions(state, check, lambda one: _read_instruction(state, one), required=True)
    post_process = check.flag("post_process", False)
    inner = body_check(state, check.take("options") or {})
    options = {
        "model": inner.choice("model", ENGINES, "auto"),
        "use_anchor": inner.flag("use_anchor", False),
        "anchor_index": inner.number("anchor_index", 0, 0, 1000),
        "instructions": given,
    }
    check.adopt("options", inner)
    return JobRequest(files, options, None, key, post_process)


def _read_instruction(state: State, one: Check) -> None:
    one.take("style", required=True)
    one.choice("style", STYLES, "free")
    for name in TEXTS:
        one.text(name, longest=4000)
    one.choice("framing", tuple(FRAMINGS), "square_packshot")
    one.choice("angle", ANGLES, "front")
    one.choice("shadow", SHADOWS, "auto")
    one.number("seed", 0, 0, 2**32 - 1)
    one.number("num_variations", 1, 1, 8)
    options = picture_options(state, one)
    for name in ("width", "height"):
        if options.number(name, 1024, 256, 7000) % 8:
            options.wrong(name, "Input should be a multiple of 8")
    one.adopt("options", options)
