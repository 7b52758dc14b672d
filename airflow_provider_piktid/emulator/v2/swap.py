# SPDX-License-Identifier: Apache-2.0
"""Submissions of paid jobs."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..state import State
from ..wire import Check, Refused, read_json
from .checks import body_check, finish
from .entities import Identity, Project, StoredFile

MODEL_SWAP = "model_swap"
ENGINES = {
    "four": ("auto", "onda", "nano_banana_pro", "nano_banana_2"),
    "seed": ("auto", "onda", "nano_banana_pro"),
}


async def create_model_swap(request: Request, state: State) -> Response:
    """``POST /model-swap``."""
    body = await read_json(request)
    with state.lock:
        state.v2.jobs.admit_rate(MODEL_SWAP)
        check = body_check(state, body)
        code = check.text("identity_code", required=True)
        key = check.text("project_id", required=True)
        images = check.texts("images", longest=state.variants.number("images_limit") or None)
        post_process = check.flag("post_process", state.variants["post_process_default"] == "true")
        raw = check.take("swap_options")
        options = _options(state, check, {} if raw is None else raw)
        files = _files(state, check, images)
        finish(state, check)
        identity, project = _known(state, code or "", key or "")
        state.v2.jobs.admit_active()
        price = state.settings.credits_per_output * len(images) * options["num_variations"]
        state.v2.jobs.charge(price)
        state.v2.jobs.count_submission(MODEL_SWAP)
        job = state.v2.jobs.create(
            MODEL_SWAP,
            identity=identity,
            project=project,
            files=files,
            variations=options["num_variations"],
            options=options,
            post_process=post_process,
            price=price,
        )
    state.v2.runner.start(job)
    answer = {"job_id": job.job_id, "status": "pending", "message": "Job created successfully"}
    return JSONResponse(answer, state.variants.number("job_status"))


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


def _files(state: State, check: Check, images: list[str]) -> list[StoredFile]:
    files = []
    for number, file_id in enumerate(images):
        file = state.v2.files.get(file_id)
        if file is None:
            check.wrong(f"images.{number}", "Unknown file_id")
        elif file.blob is None and state.variants["unuploaded"] == "reject":
            check.wrong(f"images.{number}", "The file was not uploaded")
        else:
            files.append(file)
    return files


def _known(state: State, code: str, key: str) -> tuple[Identity, Project]:
    identity = state.v2.identities.get(code)
    if identity is None:
        raise Refused(404, {"error": "Identity not found"})
    project = state.v2.find_project(key)
    if project is None:
        raise Refused(404, {"error": "Project not found"})
    return identity, project
