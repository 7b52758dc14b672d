# SPDX-License-Identifier: Apache-2.0
"""Model swap: one output per input and variation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..blobs import Blob
from ..core import Core
from ..faces import Look, encode, find_faces, open_picture, transform
from ..state import State
from ..wire import Check, read_json
from .checks import body_check
from .entities import StoredFile
from .job import Job, JobKind, Output, PlannedOutput, one_for_each
from .paid_jobs import JobRequest, accepted, files_of, submit

ENGINES = {
    "four": ("auto", "onda", "nano_banana_pro", "nano_banana_2"),
    "seed": ("auto", "onda", "nano_banana_pro"),
}


class ModelSwap(JobKind):
    """Replaces the faces of each input with the identity's face."""

    job_type = "model_swap"
    auto_model = "onda"

    def plan(self, files: Sequence[StoredFile], options: dict[str, Any]) -> list[PlannedOutput]:
        return one_for_each(files, options["num_variations"])

    def picture(self, core: Core, job: Job, output: Output, sources: list[Blob]) -> Blob:
        if not core.settings.transform:
            output.description = {"emulated": True, "transformed": False}
            return sources[0]
        image, content_type = open_picture(sources[0].path)
        faces = output.inputs[0].faces
        if faces is None:
            faces = output.inputs[0].faces = find_faces(image)
        output.description = {"emulated": True, "faces": len(faces), "note": "" if faces else "no face found"}
        changed = transform(image, faces, _look(job, output))
        return core.folder.save(encode(changed, content_type), content_type)


MODEL_SWAP = ModelSwap()


def _look(job: Job, output: Output) -> Look:
    identity = job.identity
    return Look(
        name=identity.name if identity else "",
        code=identity.code if identity else "",
        face=identity.picture if identity else None,
        variation=output.group_index,
        version=output.version,
        watermark=bool(job.options.get("add_ai_watermark")),
    )


async def create_model_swap(request: Request, state: State) -> Response:
    """``POST /model-swap``."""
    return accepted(state, submit(state, MODEL_SWAP, await read_json(request), _read))


def _read(state: State, check: Check) -> JobRequest:
    code = check.text("identity_code", required=True)
    key = check.text("project_id", required=True)
    images = check.texts("images", longest=state.variants.number("images_limit") or None)
    post_process = check.flag("post_process", state.variants["post_process_default"] == "true")
    raw = check.take("swap_options")
    options = _options(state, check, {} if raw is None else raw)
    return JobRequest(files_of(state, check, images), options, code, key, post_process)


def _options(state: State, check: Check, raw: Any) -> dict[str, Any]:
    if not isinstance(raw, dict):
        check.wrong("swap_options", "Input should be an object")
        return {"num_variations": 1}
    inner = body_check(state, raw)
    options: dict[str, Any] = {
        "model": inner.choice("model", ENGINES[state.variants["engines"]], "auto"),
        "num_variations": inner.number("num_variations", 1, 1, 4),
        "add_ai_watermark": inner.flag("add_ai_watermark", False),
    }
    if inner.flag("use_alternative_method", False):
        options["model"] = "nano_banana_pro"
    if inner.take("use_anchor") is not None:
        options["use_anchor"] = inner.flag("use_anchor", False)
    if state.variants["unknown_fields"] == "reject":
        inner.nothing_else()
    check.adopt("swap_options", inner)
    return options
