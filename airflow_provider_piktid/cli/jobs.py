# SPDX-License-Identifier: Apache-2.0
"""``jobs``: what runs and what has ended, by project."""

from __future__ import annotations

import itertools
from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.cli.connection import CommandHook
from airflow_provider_piktid.cli.output import Progress, Text, counted
from airflow_provider_piktid.cli.runner import Result
from airflow_provider_piktid.exceptions import PiktidConfigError

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidClient
    from airflow_provider_piktid.models import GalleryJob

#: Newest jobs looked through at most for those that were asked for.
SCANNED = 2000

NO_PROJECT = "(no project)"


def collect(arguments: Namespace, progress: Progress) -> Result:
    """Read the newest jobs and group them by project."""
    if arguments.limit < 1:
        raise PiktidConfigError(f"--limit must be 1 or more, not {arguments.limit}.")
    read = 0
    projects: dict[str, dict[str, Any]] = {}
    with CommandHook(arguments.conn_id).get_conn() as client, progress.watch(lambda: f"{read} jobs read"):

        def listed() -> Iterator[GalleryJob]:
            nonlocal read
            for job in _listed(client, arguments):
                read += 1
                yield job

        wanted = (job for job in listed() if _is_wanted(job, arguments))
        for job in itertools.islice(wanted, arguments.limit):
            key = job.project_key or job.project_id or ""
            project = projects.setdefault(key, {"project": job.project_name or key, "key": key, "jobs": []})
            project["jobs"].append(_row(job))
        more = next(wanted, None) is not None or read >= SCANNED
    return Result({"connection": arguments.conn_id, "projects": list(projects.values()), "more": more})


def _listed(client: PiktidClient, arguments: Namespace) -> Iterator[GalleryJob]:
    statuses = arguments.status or []
    status = statuses[0] if len(statuses) == 1 else None
    return itertools.islice(client.iter_gallery_jobs(status=status), SCANNED)


def _is_wanted(job: GalleryJob, arguments: Namespace) -> bool:
    from airflow_provider_piktid.models import TERMINAL

    if arguments.running and job.status in TERMINAL:
        return False
    if arguments.status and job.status not in {status.strip().lower() for status in arguments.status}:
        return False
    return not arguments.project or arguments.project in (job.project_name, job.project_key, job.project_id)


def _row(job: GalleryJob) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "type": job.job_type,
        "status": job.status,
        "images": job.total_images,
        "completed": job.completed_images,
        "failed": job.failed_images,
        "identity": job.identity_name or job.identity_code,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
    }


def show(document: dict[str, Any], text: Text) -> None:
    """Print a table for each project."""
    from airflow_provider_piktid.models import TERMINAL

    if not document["projects"]:
        text.line(f"{document['connection']}: PiktID lists no such job.")
    for project in document["projects"]:
        jobs = project["jobs"]
        ended = sum(job["status"] in TERMINAL for job in jobs)
        name = project["project"] or NO_PROJECT
        key = f" ({project['key']})" if project["key"] not in ("", name) else ""
        text.line(f"{name}{key}: {counted(len(jobs) - ended, 'job')} running, {ended} ended")
        text.table(
            ("job", "type", "status", "done", "failed", "of", "created"),
            [
                (
                    job["job_id"],
                    job["type"],
                    job["status"],
                    job["completed"],
                    job["failed"],
                    job["images"],
                    job["created_at"],
                )
                for job in jobs
            ],
        )
        text.line()
    if document["more"]:
        text.line("There are more jobs; raise --limit, or choose with --project or --status.")
