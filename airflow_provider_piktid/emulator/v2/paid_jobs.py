# SPDX-License-Identifier: Apache-2.0
"""Submit a paid job of any type: check, charge, create, start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response

from ..state import State
from ..wire import Check, Refused
from .checks import body_check, finish
from .entities import Identity, Project, StoredFile
from .job import Job, JobKind


@dataclass(frozen=True)
class JobRequest:
    """The fields of a submission. Types without identity or project leave their fields None."""

    files: list[StoredFile]
    options: dict[str, Any]
    identity_code: str | None = None
    project_key: str | None = None
    post_process: bool = False


def submit(state: State, kind: JobKind, body: object, read: Callable[[State, Check], JobRequest]) -> Job:
    """
    Create and start a job.

    :param body: Body of the request.
    :param read: Reads the fields of this job type from the body.
    :raises Refused: Rate limit reached, invalid fields, unknown identity or project, too many active jobs, or too
        few credits; checked in this order.
    """
    jobs = state.v2.jobs
    with state.lock:
        jobs.admit_rate(kind.job_type)
        check = body_check(state, body)
        request = read(state, check)
        finish(state, check)
        identity, project = _identity(state, request.identity_code), _project(state, request.project_key)
        jobs.admit_active()
        planned = kind.plan(request.files, request.options)
        price = sum(kind.price(state.settings, request.options, output) for output in planned)
        jobs.charge(price)
        jobs.count_submission(kind.job_type)
        job = jobs.create(
            kind,
            planned,
            identity=identity,
            project=project,
            images=[file.file_id for file in request.files],
            options=request.options,
            post_process=request.post_process,
            price=price,
        )
    state.v2.runner.start(job)
    return job


def accepted(state: State, job: Job, **more: Any) -> Response:
    """Return the response to a submission; ``more`` are fields of this job type."""
    answer = {"job_id": job.job_id, "status": "pending", "message": "Job created successfully", **more}
    return JSONResponse(answer, state.variants.number("job_status"))


def files_of(state: State, check: Check, images: list[str]) -> list[StoredFile]:
    """Return the uploads with these file ids; report unknown ids to ``check``."""
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


def _identity(state: State, code: str | None) -> Identity | None:
    if code is None:
        return None
    identity = state.v2.identities.get(code)
    if identity is None:
        raise Refused(404, {"error": "Identity not found"})
    return identity


def _project(state: State, key: str | None) -> Project | None:
    if key is None:
        return None
    project = state.v2.find_project(key)
    if project is None:
        raise Refused(404, {"error": "Project not found"})
    return project
