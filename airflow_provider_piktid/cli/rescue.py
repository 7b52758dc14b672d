# SPDX-License-Identifier: Apache-2.0
"""``rescue``: download the outputs of any jobs."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.cli.connection import CommandHook
from airflow_provider_piktid.cli.output import Progress, Text, counted
from airflow_provider_piktid.cli.runner import DONE, WRONG, Result
from airflow_provider_piktid.common.concurrency import run_bounded
from airflow_provider_piktid.exceptions import PiktidConfigError, PiktidDownloadError, PiktidNotFoundError
from airflow_provider_piktid.jobs.download import Download, checked_folder
from airflow_provider_piktid.jobs.outcome import job_id_list

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidClient
    from airflow_provider_piktid.models import Job

#: Jobs whose status is requested at the same time.
READERS = 8


def collect(arguments: Namespace, progress: Progress) -> Result:
    """Ask for each job, then download the outputs of those that PiktID knows."""
    job_ids = job_id_list(arguments.job_ids, "download")
    try:
        folder = checked_folder(arguments.to)
    except PiktidDownloadError as error:
        raise PiktidConfigError(str(error).replace("output_path", "--to")) from error
    hook = CommandHook(arguments.conn_id)
    with hook.get_conn() as client:
        jobs = client.run(_jobs, job_ids)
        known = [job_id for job_id in job_ids if jobs[job_id] is not None]
        document: dict[str, Any] = {
            "connection": arguments.conn_id,
            "to": folder.uri,
            "manifest": None,
            "unknown_jobs": [job_id for job_id in job_ids if jobs[job_id] is None],
            "running_jobs": [job.job_id for job in jobs.values() if job is not None and not job.done],
            "files": 0,
            "downloaded": 0,
            "bytes": 0,
            "failed": [],
        }
        if known:
            download = Download(
                folder,
                known,
                images=None,
                overwrite=arguments.overwrite,
                archive=arguments.archive,
                concurrency=hook.settings.max_concurrency,
                connection=arguments.conn_id,
            )
            with progress.watch(lambda: f"{download.done} of {len(download.rows)} outputs"):
                client.run(download.run)
            document |= _done(download)
    is_fine = not (document["unknown_jobs"] or document["running_jobs"] or document["failed"])
    return Result(document, DONE if is_fine else WRONG)


async def _jobs(client: AsyncPiktidClient, job_ids: list[str]) -> dict[str, Job | None]:
    async def one(job_id: str) -> Job | None:
        try:
            return await client.get_job(job_id)
        except PiktidNotFoundError:
            return None

    return dict(zip(job_ids, await run_bounded(one, job_ids, READERS), strict=True))


def _done(download: Download) -> dict[str, Any]:
    return {
        "manifest": download.manifest_uri,
        "files": download.done,
        "downloaded": download.fetched,
        "bytes": download.bytes,
        "failed": [
            {
                "job_id": row.job_id,
                "image_index": row.image_index,
                "group_index": row.group_index,
                "file": row.file,
                "error": row.error,
            }
            for row in download.rows
            if row.status != "done"
        ],
    }


def show(document: dict[str, Any], text: Text) -> None:
    """Print what was downloaded, and each output that was not."""
    size = document["bytes"] / 1e6
    text.line(
        f"{counted(document['files'], 'output')}, {size:.1f} MB, in {document['to']} "
        f"({document['downloaded']} downloaded now)"
    )
    if document["manifest"]:
        text.line(f"Manifest: {document['manifest']}")
    for job_id in document["unknown_jobs"]:
        text.line(f"Job {job_id}: PiktID does not know it in this account. Check the id and --conn-id.")
    for job_id in document["running_jobs"]:
        text.line(
            f"Job {job_id} still runs. Run the command again when it has ended: only the rest is downloaded."
        )
    for row in document["failed"]:
        place = f"image {row['image_index']}, variation {row['group_index']}"
        text.line(f"Job {row['job_id']}, {place}: {row['error'] or 'no output'}")
