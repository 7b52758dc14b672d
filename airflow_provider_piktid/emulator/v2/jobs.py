# SPDX-License-Identifier: Apache-2.0
"""Show jobs and their results, regenerate images, list stuck images."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..clock import iso
from ..state import State
from ..wire import Refused, page_of, read_json
from .checks import body_check, finish, paging, query_check
from .job import Job, Output
from .shapes import job_shape, result_shape, results_shape

_NOT_FOUND = {"error": "Job not found"}


def find_job(state: State, job_id: str) -> Job:
    """
    Return a job that is visible.

    :raises Refused: 404; the job is unknown or not visible yet.
    """
    with state.lock:
        job = state.v2.jobs.find(job_id)
        if job is None:
            raise Refused(404, _NOT_FOUND)
        if job.hidden > 0:
            job.hidden -= 1
            raise Refused(404, _NOT_FOUND)
        return job


async def get_job_status(request: Request, state: State) -> Response:
    """``GET /jobs/{job_id}/status``."""
    job = find_job(state, request.path_params["job_id"])
    with state.lock:
        return JSONResponse(job_shape(job))


async def get_job_results(request: Request, state: State) -> Response:
    """``GET /jobs/{job_id}/results``."""
    job = find_job(state, request.path_params["job_id"])
    with state.lock:
        return JSONResponse(results_shape(state, job, state.base_url(request)))


def _versions(job: Job, image_index: int, group_index: int | None = None) -> list[Output]:
    rows = [
        output
        for output in job.outputs
        if output.image_index == image_index and group_index in (None, output.group_index)
    ]
    if not rows:
        raise Refused(404, {"error": "Image not found"})
    return sorted(rows, key=lambda output: (output.group_index, output.version))


async def get_image_versions(request: Request, state: State) -> Response:
    """``GET /jobs/{job_id}/versions/{image_index}``."""
    job = find_job(state, request.path_params["job_id"])
    if not job.kind.paid:
        raise Refused(400, {"error": "Not available for identity preprocessing jobs"})
    index = request.path_params["image_index"]
    with state.lock:
        base_url = state.base_url(request)
        versions = [result_shape(state, job, output, base_url) for output in _versions(job, index)]
    return JSONResponse({"job_id": job.job_id, "image_index": index, "versions": versions})


async def regenerate_image(request: Request, state: State) -> Response:
    """``POST /jobs/{job_id}/regenerate/{image_index}``."""
    job = find_job(state, request.path_params["job_id"])
    check = query_check(request, state)
    group_index = check.number("group_index", 0, 0, 1000)
    check.done()
    index = request.path_params["image_index"]
    with state.lock:
        if job.status not in ("completed", "failed") or not job.kind.paid:
            raise Refused(400, {"error": "The job must be completed or failed"})
        newest = _versions(job, index, group_index)[-1]
        if not newest.finished:
            raise Refused(409, {"error": "The image is being regenerated"})
        price = job.kind.price(state.settings, job.options, newest.plan())
        state.v2.jobs.charge(price)
        job.credits += price
        state.v2.runner.regenerate(job, newest)
    return JSONResponse({"success": True, "message": "Regeneration started", "image_index": index})


def _stuck(state: State, min_hours: float, status: str | None) -> list[tuple[Job, Output, float]]:
    now = state.clock.time()
    found = []
    for job in state.v2.jobs.all():
        for output in job.outputs:
            hours = (now - output.updated_at) / 3600
            wanted = output.status == status if status else output.status in ("pending", "processing")
            if wanted and hours >= min_hours:
                found.append((job, output, hours))
    return found


async def list_stuck_images(request: Request, state: State) -> Response:
    """``GET /jobs/stuck-images``."""
    page, per_page, order = paging(request, state, "asc")
    check = query_check(request, state)
    try:
        min_hours = float(request.query_params.get("min_hours", "1"))
    except ValueError:
        min_hours = 1.0
        check.wrong("min_hours", "Input should be a valid number")
    check.done()
    with state.lock:
        found = _stuck(state, min_hours, request.query_params.get("status"))
    found.sort(key=lambda item: item[1].id, reverse=order == "desc")
    chosen, pagination = page_of(found, page, per_page)
    images = [
        {
            "id": output.id,
            "job_id": job.job_id,
            "image_index": output.image_index,
            "status": output.status,
            "original_filename": output.filename,
            "created_at": iso(output.created_at),
            "updated_at": iso(output.updated_at),
            "hours_stuck": round(hours, 2),
            "job_status": job.status,
            "error_message": output.error_message,
        }
        for job, output, hours in chosen
    ]
    return JSONResponse({"images": images, "pagination": pagination})


async def update_stuck_images(request: Request, state: State) -> Response:
    """``POST /jobs/stuck-images/bulk-update``."""
    check = body_check(state, await read_json(request))
    ids = check.take("image_ids", required=True)
    if ids is not None and not (isinstance(ids, list) and all(type(item) is int for item in ids)):
        check.wrong("image_ids", "Input should be a list of integers")
    if check.take("new_status", required=True) not in (None, "failed"):
        check.wrong("new_status", "Input should be 'failed'")
    message = check.text("error_message") or "Marked as failed"
    finish(state, check)
    updated = 0
    with state.lock:
        for job in state.v2.jobs.all():
            for output in job.outputs:
                if output.id in ids and not output.finished:
                    output.status, output.error_message = "failed", message
                    output.updated_at = state.clock.time()
                    updated += 1
    return JSONResponse({"success": True, "updated_count": updated, "message": f"{updated} images updated"})
