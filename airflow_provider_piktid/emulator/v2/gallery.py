# SPDX-License-Identifier: Apache-2.0
"""List jobs and projects with their images, and credits used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..clock import iso
from ..state import State
from ..wire import page_of
from .checks import paging, query_check
from .entities import Project
from .job import Job, Output
from .shapes import belongings, result_shape

T = TypeVar("T")


def _matches(job: Job, query: Any) -> bool:
    project_id = query.get("project_id")
    if project_id and (job.project is None or project_id not in (job.project.key, str(job.project.number))):
        return False
    wanted = query.get("search") or query.get("job_id")
    if wanted and job.job_id != wanted:
        return False
    statuses = query.getlist("status")
    if statuses and job.status not in statuses:
        return False
    if query.get("job_type") and job.job_type != query.get("job_type"):
        return False
    return query.get("ownership") not in ("shared", "default") and not query.getlist("feedback")


def _counts(outputs: list[Output]) -> dict[str, int]:
    return {
        "total_images": len(outputs),
        "completed_images": sum(1 for output in outputs if output.status == "completed"),
        "failed_images": sum(1 for output in outputs if output.status == "failed"),
    }


def _sorted(rows: list[tuple[Job, Output]], sort_by: str | None) -> list[tuple[Job, Output]]:
    if sort_by == "original_filename":
        return sorted(rows, key=lambda row: row[1].filename)
    return rows


def _listed(
    request: Request,
    state: State,
    items: list[T],
    shape: Callable[[T, int], dict[str, Any]],
    most_field: str,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return one page of a gallery and its ``pagination``; ``most_field`` limits the images of each item."""
    page, per_page, order = paging(request, state, "desc")
    check = query_check(request, state)
    most = check.number(most_field, 50, 1, 200)
    check.done()
    chosen, pagination = page_of(items[::-1] if order == "desc" else items, page, per_page)
    return [shape(item, most) for item in chosen], pagination


async def gallery_by_job(request: Request, state: State) -> Response:
    """``GET /gallery/by-job``."""
    query, base_url = request.query_params, state.base_url(request)

    def shape(job: Job, most: int) -> dict[str, Any]:
        return _job(state, job, most, query.get("sort_by"), base_url)

    with state.lock:
        jobs = [job for job in state.v2.jobs.all() if _matches(job, query) and not _is_hidden(state, job)]
        shapes, pagination = _listed(request, state, jobs, shape, "max_images_per_job")
    return JSONResponse({"pagination": pagination, "jobs": shapes})


def _is_hidden(state: State, job: Job) -> bool:
    return not job.ended and state.variants["gallery_pending"] == "hidden"


def _job(state: State, job: Job, most: int, sort_by: str | None, base_url: str) -> dict[str, Any]:
    outputs = job.newest()
    rows = _sorted([(job, output) for output in outputs], sort_by)[:most]
    if not job.ended and state.variants["gallery_pending"] == "no_images":
        rows = []
    return {
        "job_id": job.job_id,
        "job_type": job.job_type,
        "job_status": job.status,
        **belongings(job),
        "project_name": job.project.name if job.project else None,
        "created_at": iso(job.created_at),
        "updated_at": iso(job.updated_at),
        "created_by": state.settings.login,
        **_counts(outputs),
        "images": [result_shape(state, job, output, base_url) for _, output in rows],
    }


async def gallery_by_project(request: Request, state: State) -> Response:
    """``GET /gallery/by-project``."""
    query, base_url = request.query_params, state.base_url(request)
    wanted = query.get("project_id")

    def shape(project: Project, most: int) -> dict[str, Any]:
        return _project(state, project, most, query.get("sort_by"), base_url)

    with state.lock:
        projects = [p for p in state.v2.projects.values() if not wanted or wanted in (p.key, str(p.number))]
        shapes, pagination = _listed(request, state, projects, shape, "max_images_per_project")
    return JSONResponse({"pagination": pagination, "projects": shapes})


def _project(state: State, project: Project, most: int, sort_by: str | None, base_url: str) -> dict[str, Any]:
    jobs = [job for job in state.v2.jobs.all() if job.project is project]
    rows = [(job, output) for job in jobs for output in job.newest()]
    return {
        "project_id": project.number,
        "project_name": project.name,
        "project_key": project.key,
        "created_at": iso(project.created_at),
        "created_by": state.settings.login,
        **_counts([output for _, output in rows]),
        "images": [result_shape(state, job, o, base_url) for job, o in _sorted(rows, sort_by)[:most]],
    }


async def get_credits(request: Request, state: State) -> Response:
    """``GET /billing/credits``."""
    check = query_check(request, state)
    resolution = check.choice("resolution", ("day", "week", "month"), "day")
    start, end = (_moment(check, request, name) for name in ("start_date", "end_date"))
    check.done()
    if state.variants["billing"] == "balance":
        return JSONResponse({"credits": state.credits.balance})
    groups: dict[tuple[datetime, str], list[float]] = defaultdict(list)
    for job in state.v2.jobs.all():
        created = datetime.fromtimestamp(job.created_at, UTC)
        if (job.kind.paid or job.credits) and (not start or created >= start) and (not end or created <= end):
            groups[_period(created, resolution), job.job_type].append(job.credits)
    summary = [
        {
            "period_start": iso(begin.timestamp()),
            "period_end": iso(_next(begin, resolution).timestamp()),
            "job_type": job_type,
            "total_credits": sum(credits),
            "job_count": len(credits),
        }
        for (begin, job_type), credits in sorted(groups.items())
    ]
    return JSONResponse({"total_credits": sum(sum(group) for group in groups.values()), "summary": summary})


def _moment(check: Any, request: Request, name: str) -> datetime | None:
    text = request.query_params.get(name)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        check.wrong(name, "Input should be a valid datetime")
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _period(moment: datetime, resolution: str) -> datetime:
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if resolution == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if resolution == "month" else day


def _next(begin: datetime, resolution: str) -> datetime:
    if resolution == "month":
        return (begin + timedelta(days=32)).replace(day=1)
    return begin + timedelta(days=7 if resolution == "week" else 1)
