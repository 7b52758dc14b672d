# SPDX-License-Identifier: Apache-2.0
"""Endpoints under ``/_emulator/``: plan faults, end jobs, read statistics. They need no token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .faces import UnreadablePicture, thumbnail
from .state import State
from .variants import VARIANTS
from .wire import Refused, read_json, read_object

Answer = Callable[[Request, State], Awaitable[Response]]


def admin(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint for a handler; invalid values are answered with 400."""

    async def endpoint(request: Request) -> Response:
        try:
            return await answer(request, request.app.state.emulator)
        except Refused as refusal:
            return refusal.response()
        except (KeyError, TypeError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 400)

    return endpoint


async def plan_faults(request: Request, state: State) -> Response:
    """``POST``: plan one fault or a list of faults, ``{"operation": ..., "kind": ..., ...}``."""
    body = await read_json(request)
    faults = [_plan(state, item) for item in (body if isinstance(body, list) else [body])]
    return JSONResponse([fault.as_dict() for fault in faults], 201)


def _plan(state: State, item: Any) -> Any:
    if not isinstance(item, dict) or not {"operation", "kind"} <= item.keys():
        raise ValueError("a fault must be an object with operation and kind")
    return state.faults.add(**item)


async def show_faults(request: Request, state: State) -> Response:
    """``GET``: the planned faults, and whether all have happened."""
    return JSONResponse({"faults": state.faults.as_list(), "all_met": state.faults.all_met()})


async def clear_faults(request: Request, state: State) -> Response:
    """``DELETE``: remove all faults."""
    state.faults.clear()
    return Response(status_code=204)


async def show_stats(request: Request, state: State) -> Response:
    """``GET``: statistics."""
    return JSONResponse(state.stats())


async def show_ledger(request: Request, state: State) -> Response:
    """``GET``: paid v2 jobs, presets and v1 generations."""
    bought = {"jobs": state.ledger(), "presets": state.presets(), "generations": state.generations()}
    return JSONResponse({**bought, "balance": state.credits.balance})


async def end_job(request: Request, state: State) -> Response:
    """``POST``: abort, fail or complete a job."""
    job_id, action = request.path_params["job_id"], request.path_params["action"]
    actions = {"abort": state.abort_job, "fail": state.fail_job, "complete": state.complete_job}
    if action not in actions or state.v2.jobs.find(job_id) is None:
        raise Refused(404, {"error": "No such job or action"})
    actions[action](job_id)
    return JSONResponse({"job_id": job_id, "status": state.v2.jobs.get(job_id).status})


async def end_generation(request: Request, state: State) -> Response:
    """``POST``: fail or complete a v1 generation."""
    generation = state.v1.generation(request.path_params["id_task"])
    action = request.path_params["action"]
    if generation is None or action not in ("fail", "complete"):
        raise Refused(404, {"error": "No such generation or action"})
    if action == "fail":
        state.v1.runner.fail(generation, "Failed by an administrator")
    else:
        state.v1.runner.complete(generation)
    return JSONResponse({"id_task": generation.id_task, "status": generation.status})


async def publish_v1(request: Request, state: State) -> Response:
    """``POST``: publish a v1 notification, ``{"name": ..., "data": {...}}``."""
    body = await read_object(request)
    notification = state.v1.notifications.publish(str(body["name"]), dict(body.get("data", {})))
    return JSONResponse({"id": notification.id}, 201)


async def publish(request: Request, state: State) -> Response:
    """``POST``: publish a v2 notification, ``{"name": ..., "data": {...}}``."""
    body = await read_object(request)
    return JSONResponse({"id": state.publish(str(body["name"]), dict(body.get("data", {})))}, 201)


async def advance(request: Request, state: State) -> Response:
    """``POST``: advance the clock by ``{"seconds": ...}``."""
    body = await read_object(request)
    state.clock.advance(float(body["seconds"]))
    return JSONResponse({"time": state.clock.time()})


async def variants(request: Request, state: State) -> Response:
    """``GET``: the variants; ``POST``: set some, ``{name: value}``."""
    if request.method == "POST":
        for name, value in (await read_object(request)).items():
            state.variants.set(name, str(value))
    meanings = {name: variant.meaning for name, variant in VARIANTS.items()}
    return JSONResponse({"variants": state.variants.as_dict(), "meanings": meanings})


async def clear(request: Request, state: State) -> Response:
    """``POST``: reset the emulator."""
    state.clear()
    return Response(status_code=204)


async def thumb(request: Request, state: State) -> Response:
    """``GET``: a thumbnail for the page."""
    blob = state.blobs.get(request.path_params["name"])
    if blob is None:
        raise Refused(404)
    try:
        data = await run_in_threadpool(thumbnail, blob.path)
    except UnreadablePicture:
        raise Refused(404) from None
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": "max-age=3600"})


ROUTES = [
    Route("/_emulator/faults", admin(plan_faults), methods=["POST"]),
    Route("/_emulator/faults", admin(show_faults), methods=["GET"]),
    Route("/_emulator/faults", admin(clear_faults), methods=["DELETE"]),
    Route("/_emulator/stats", admin(show_stats), methods=["GET"]),
    Route("/_emulator/ledger", admin(show_ledger), methods=["GET"]),
    Route("/_emulator/jobs/{job_id}/{action}", admin(end_job), methods=["POST"]),
    Route("/_emulator/generations/{id_task}/{action}", admin(end_generation), methods=["POST"]),
    Route("/_emulator/v1/notifications", admin(publish_v1), methods=["POST"]),
    Route("/_emulator/notifications", admin(publish), methods=["POST"]),
    Route("/_emulator/clock", admin(advance), methods=["POST"]),
    Route("/_emulator/variants", admin(variants), methods=["GET", "POST"]),
    Route("/_emulator/clear", admin(clear), methods=["POST"]),
    Route("/_emulator/thumb/{name}", admin(thumb), methods=["GET"]),
]
