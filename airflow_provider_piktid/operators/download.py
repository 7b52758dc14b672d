# SPDX-License-Identifier: Apache-2.0
"""Download the results of jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.jobs.arguments import checked_rows
from airflow_provider_piktid.jobs.download import Download, checked_folder
from airflow_provider_piktid.jobs.outcome import job_id_list
from airflow_provider_piktid.operators.base import fail_fast_if_permanent


class PiktidDownloadOperator(BaseOperator):
    """
    Download the newest outputs of jobs. Free of charge; a rerun downloads only the missing ones.

    Files are written atomically. A manifest is written to ``_piktid/`` below the output folder: a JSON array with
    one row per output.

    :param job_ids: Jobs, as the swap returned them; also the list of lists of a mapped swap. Outputs of partially
        failed jobs are downloaded too.
    :param output_path: Folder or prefix, on any store that ``ObjectStoragePath`` supports.
    :param images: ``images`` of the upload, so that outputs mirror the source folders. Default: none, one folder per
        job.
    :param archive: Download one ZIP per job; outputs that it does not contain are downloaded one by one. Default:
        False.
    :param overwrite: Download existing files again. Default: False.
    :param max_concurrency: Concurrent downloads. Default: ``max_concurrency`` of the connection, 8.
    :param piktid_conn_id: Connection id. Default: ``piktid_default``.
    :return: ``{"output_path", "files", "bytes", "failed", "manifest"}``: ``files`` and ``failed`` are counts
        of outputs, ``manifest`` is the URI of the manifest.
    :raises PiktidDownloadError: Existing outputs could not be downloaded or written; the others are complete.
    """

    template_fields: Sequence[str] = ("piktid_conn_id", "job_ids", "output_path", "images")
    ui_color = "#ece6ff"

    def __init__(
        self,
        *,
        job_ids: Sequence[str],
        output_path: str,
        images: Sequence[Mapping[str, Any]] | None = None,
        archive: bool = False,
        overwrite: bool = False,
        max_concurrency: int | None = None,
        piktid_conn_id: str = PiktidHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_ids = job_ids
        self.output_path = output_path
        self.images = images
        self.archive = archive
        self.overwrite = overwrite
        self.max_concurrency = max_concurrency
        self.piktid_conn_id = piktid_conn_id

    def execute(self, context: Any) -> dict[str, Any]:
        with fail_fast_if_permanent():
            job_ids = job_id_list(self.job_ids, "download")
            hook = PiktidHook(self.piktid_conn_id)
            folder = checked_folder(self.output_path)
            with hook.get_conn() as client:
                download = Download(
                    folder,
                    job_ids,
                    images=checked_rows(self.images),
                    overwrite=self.overwrite,
                    archive=self.archive,
                    concurrency=int(self.max_concurrency or hook.settings.max_concurrency),
                    connection=self.piktid_conn_id,
                )
                client.run(download.run)
            self.log.info(
                "%d output(s), %.1f MB, in %s (%d downloaded now); manifest: %s",
                download.done,
                download.bytes / 1e6,
                folder.uri,
                download.fetched,
                download.manifest_uri,
            )
            download.raise_if_incomplete()
        return {
            "output_path": folder.uri,
            "files": download.done,
            "bytes": download.bytes,
            "failed": download.failed,
            "manifest": download.manifest_uri,
        }
