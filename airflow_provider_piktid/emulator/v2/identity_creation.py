# SPDX-License-Identifier: Apache-2.0
"""Draw drafts of new identities, and promote one of them to an identity."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..blobs import Blob
from ..core import Core
from ..faces import UnreadablePicture, open_picture
from ..portraits import HEAD, drawn_face
from ..scenes import size_of
from ..settings import Settings
from ..state import State
from ..wire import Check, Refused, read_json
from .checks import body_check, finish
from .combined import RATIOS, instructions, picture_options, price_of, saved
from .entities import StoredFile
from .identities import add_identity, refuse_full
from .job import Job, JobKind, Output, PlannedOutput
from .paid_jobs import JobRequest, accepted, submit

ENGINES = ("auto", "nano_banana_pro", "seedream", "orbita")
MORE_RATIOS = ("4:5", "5:4", "21:9")
GROUPS = ("appearance", "face", "hair")
MOST_ASSETS = 3
LONGEST_NAME = 128


class IdentityCreation(JobKind):
    """Draws a face for each instruction and variation. Its only inputs are the instructions' assets."""

    job_type = "identity_creation"
    auto_model = "nano_banana_pro"

    def plan(self, files: Sequence[StoredFile], options: dict[str, Any]) -> list[PlannedOutput]:
        by_id = {file.file_id: file for file in files}
        return [
            PlannedOutput(
                number,
                variation,
                tuple(by_id[file_id] for file_id in _assets(instruction)),
                f"draft_{number}_{variation}.jpg",
            )
            for number, instruction in enumerate(options["instructions"])
            for variation in range(instruction.get("num_variations", 1))
        ]

    def price(self, settings: Settings, options: dict[str, Any], planned: PlannedOutput) -> float:
        return price_of(options["instructions"][planned.image_index])

    def picture(self, core: Core, job: Job, output: Output, sources: list[Blob]) -> Blob:
        output.description = {"emulated": True}
        instruction: dict[str, Any] = job.options["instructions"][output.image_index]
        size = size_of(instruction.get("options", {})) if core.settings.transform else (48, 64)
        image = drawn_face(
            size,
            {name: _words(instruction, name) for name in GROUPS},
            seed=f"{job.job_id} {output.image_index}",
            turn=output.group_index + 3 * output.version,
            label=f"draft {output.id} · variation {output.group_index} · v{output.version}",
        )
        return saved(core, output, image, instruction)


IDENTITY_CREATION = IdentityCreation()


def _words(instruction: dict[str, Any], group: str) -> str:
    """Return what an instruction says about a group, as text."""
    values = (instruction.get(group) or {}).values()
    return instruction.get("prompt") or " ".join(map(str, values)) or group


def _assets(instruction: dict[str, Any]) -> list[str]:
    """Return the file ids of an instruction that was checked."""
    return [item["file_id"] for item in instruction.get("input_assets") or []]


async def create_identity(request: Request, state: State) -> Response:
    """``POST /identity/create``."""
    job = submit(state, IDENTITY_CREATION, await read_json(request), _read)
    given = job.options["instructions"]
    return accepted(state, job, num_instructions=len(given), total_variations=len(job.outputs))


def _read(state: State, check: Check) -> JobRequest:
    inner = body_check(state, check.take("options") or {})
    engine = inner.choice("model", ENGINES, "auto")
    given = instructions(state, check, lambda one: _read_instruction(state, one, engine), required=True)
    options = {"model": engine, "instructions": given, "name": check.text("name", longest=LONGEST_NAME)}
    check.adopt("options", inner)
    # A refused instruction may hold anything in this place.
    listed = [item.get("input_assets") for item in given]
    items = itertools.chain.from_iterable(item for item in listed if isinstance(item, list))
    ids = dict.fromkeys(item.get("file_id") for item in items if isinstance(item, dict))
    files = [state.v2.files[file_id] for file_id in ids if file_id in state.v2.files]
    return JobRequest(files, {name: value for name, value in options.items() if value is not None})


def _read_instruction(state: State, one: Check, engine: str) -> None:
    prompt = one.text("prompt", longest=8000)
    groups = [one.take(name) for name in GROUPS]
    if not prompt and not any(groups):
        one.wrong(None, f"One of {', '.join(GROUPS)} or a prompt is required")
    for name, group in zip(GROUPS, groups, strict=True):
        if group is not None and not isinstance(group, dict):
            one.wrong(name, "Input should be an object")
    one.number("num_variations", 1, 1, 8)
    options = picture_options(state, one, RATIOS if engine == "orbita" else (*RATIOS, *MORE_RATIOS))
    if engine == "orbita" and options.choice("size", ("1K", "2K", "4K"), "1K") != "1K":
        options.wrong("size", "orbita supports 1K only")
    one.adopt("options", options)
    _read_assets(state, one, engine)


def _read_assets(state: State, one: Check, engine: str) -> None:
    value = one.take("input_assets")
    if value is None:
        return
    listed: list[Any] = value if isinstance(value, list) else [None]
    if len(listed) > MOST_ASSETS or engine == "orbita":
        one.wrong("input_assets", f"At most {MOST_ASSETS} input assets, and none with orbita")
    for place, item in enumerate(listed):
        if not isinstance(item, dict) or item.get("file_id") not in state.v2.files:
            one.wrong(f"input_assets.{place}", "Unknown file_id")


async def promote_generated(request: Request, state: State) -> Response:
    """``POST /identity/promote-generated``."""
    body = await read_json(request)
    with state.lock:
        state.v2.jobs.admit_rate("promote_generated")
        check = body_check(state, body)
        number = check.take("image_result_id", required=True)
        if number is not None and type(number) is not int:
            check.wrong("image_result_id", "Input should be a valid integer")
        name = check.text("name", longest=LONGEST_NAME)
        finish(state, check)
        job, draft = _draft(state, number)
        refuse_full(state)
        name = _free_name(state, name, str(job.options.get("name") or f"Identity {number}"))
        price = state.settings.credits_per_promotion
        state.v2.jobs.charge(price)
        state.v2.jobs.count_submission("promote_generated")
        assert draft.blob is not None
        identity = add_identity(state, name, draft.filename, draft.blob)
        identity.picture = _head(draft.blob)
        state.v2.promoted[number] = identity.code
        preprocessing = state.v2.jobs.create_preprocessing(identity)
        preprocessing.credits, preprocessing.options = price, {"image_result_id": number}
    state.v2.runner.prepare(identity, preprocessing)
    return JSONResponse(
        {
            "identity_code": identity.code,
            "preprocessing_job_id": preprocessing.job_id,
            "status": "pending",
            "message": "Identity created from the draft",
        },
        201,
    )


def _draft(state: State, number: int) -> tuple[Job, Output]:
    """
    Return a draft that can be promoted.

    :raises Refused: There is none with this number, it has no picture, or it was promoted before.
    """
    for job in state.v2.jobs.all():
        for output in job.outputs:
            if output.id == number and job.kind is IDENTITY_CREATION:
                if number in state.v2.promoted:
                    body = {
                        "error": "This draft was promoted before",
                        "identity_code": state.v2.promoted[number],
                    }
                    raise Refused(409, body)
                if output.status != "completed":
                    raise Refused(400, {"error": "Only a completed draft can be promoted"})
                return job, output
    raise Refused(404, {"error": "Draft not found"})


def _free_name(state: State, asked: str | None, of_job: str) -> str:
    """Return the name of a new identity: that of the job gets a number if it is taken, an asked one does not."""
    if asked is not None:
        if state.v2.identity_named(asked) is not None:
            raise Refused(409, {"error": "An identity with this name already exists"})
        return asked
    names = itertools.chain([of_job], (f"{of_job} {number}" for number in itertools.count(2)))
    return next(name for name in names if state.v2.identity_named(name) is None)


def _head(blob: Blob) -> Any:
    """Return the face of a draft, for the pictures of swaps."""
    try:
        image, _ = open_picture(blob.path)
    except UnreadablePicture:
        return None
    left, top, right, bottom = HEAD
    width, height = image.size
    return image.crop((int(left * width), int(top * height), int(right * width), int(bottom * height)))
