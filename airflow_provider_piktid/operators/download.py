# SPDX-License-Identifier: Apache-2.0
"""Download the results of jobs."""

from __future__ import annotations

import asyncio
import posixpath
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_piktid import manifest, media, storage
from airflow_provider_piktid.exceptions import (
    PiktidConfigError,
    PiktidDownloadError,
    PiktidError,
    PiktidLinkError,
    PiktidNotFoundError,
)
from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.tasks.common import run_bounded, steer

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidClient
    from airflow_provider_piktid.manifest import Row
    from airflow_provider_piktid.models.v2 import ImageResult, JobResults
    from airflow_provider_piktid.storage import Location

#: The manifest is written this often while files arrive, so that a killed task finds its way again.
FLUSH_SECONDS = 5.0

#: A picture that arrives cut off is fetched again this often.
FETCH_TRIES = 3


class PiktidDownloadOperator(BaseOperator):
    """
    Download the newest outputs of jobs. Free of charge; a rerun fetches only what is missing.

    Every file appears under its name only once it is whole. A manifest lies beside the outputs, in
    ``_piktid/``: a JSON array with one row per output.

    :param job_ids: Jobs, as the swap returned them; a mapped swap's list of lists will do. Jobs that failed
        in part are welcome: what they gave is fetched.
    :param output_path: Folder or prefix, on any store that ``ObjectStoragePath`` knows.
    :param images: The upload's ``images``: outputs then mirror the source folders. Default: a folder per job.
    :param archive: Fetch one ZIP per job instead of picture by picture; what it lacks is fetched singly.
    :param overwrite: Fetch files again that are there already.
    :param max_concurrency: Downloads at once. Default: the connection's ``max_concurrency``, 8.
    :param piktid_conn_id: Connection id.
    :return: ``{"output_path", "files", "bytes", "failed", "manifest"}``: ``files`` and ``failed`` are counts
        of outputs, ``manifest`` is the URI of the manifest.
    :raises PiktidDownloadError: Outputs that exist could not be fetched or written; the others are there.
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
        with steer():
            job_ids = self._checked_jobs()
            hook = PiktidHook(self.piktid_conn_id)
            folder = self._checked_folder()
            with hook.get_conn() as client:
                download = Download(
                    folder,
                    job_ids,
                    images=list(self.images) if self.images else None,
                    overwrite=self.overwrite,
                    archive=self.archive,
                    concurrency=int(self.max_concurrency or hook.settings.max_concurrency),
                    connection=self.piktid_conn_id,
                )
                client.run(download.run)
            self.log.info(
                "%d output(s), %.1f MB, in %s (%d fetched now); manifest: %s",
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

    def _checked_jobs(self) -> list[str]:
        given = [self.job_ids] if isinstance(self.job_ids, str) else list(self.job_ids or [])
        # A mapped swap gives one list for each of its task instances, and None for a skipped one.
        nested = [[item] if isinstance(item, str) else list(item or []) for item in given]
        ids = [job_id for part in nested for job_id in part]
        if not ids:
            raise PiktidConfigError(
                "job_ids is empty: there is nothing to download. Give the swap's job ids."
            )
        return [str(job_id) for job_id in dict.fromkeys(ids)]

    def _checked_folder(self) -> Location:
        try:
            folder = storage.locate(self.output_path)
            storage.check_writable(folder)
        except Exception as error:
            raise PiktidDownloadError(
                f"output_path {self.output_path} cannot be written ({type(error).__name__}). Correct the path, its "
                "permissions or its connection. Nothing was fetched; the results stay at PiktID."
            ) from error
        return folder


class Download:
    """One run over the outputs of some jobs."""

    def __init__(
        self,
        folder: Location,
        job_ids: list[str],
        *,
        images: list[Mapping[str, Any]] | None,
        overwrite: bool,
        archive: bool,
        concurrency: int,
        connection: str,
    ) -> None:
        self._folder = folder
        self._job_ids = job_ids
        self._images = images
        self._overwrite = overwrite
        self._archive = archive
        self._concurrency = concurrency
        self._connection = connection
        self._target = folder.join(manifest.manifest_path(job_ids))
        self._mark = posixpath.splitext(posixpath.basename(self._target.path))[0]
        self._rows: list[Row] = []
        self._fresh: dict[str, asyncio.Task[JobResults]] = {}
        self._flushed_at = 0.0
        self._flushing = asyncio.Lock()
        self.fetched = 0

    @property
    def manifest_uri(self) -> str:
        return self._target.uri

    @property
    def done(self) -> int:
        return sum(row.status == "done" for row in self._rows)

    @property
    def failed(self) -> int:
        return sum(row.status == "failed" for row in self._rows)

    @property
    def bytes(self) -> int:
        return sum(row.size or 0 for row in self._rows if row.status == "done")

    async def run(self, client: AsyncPiktidClient) -> None:
        """Fetch what is missing. Failures of single outputs end up in their rows."""
        results = await run_bounded(client.get_job_results, self._job_ids, self._concurrency)
        planned = manifest.plan_rows(list(zip(self._job_ids, results, strict=True)), self._images)
        self._rows = [row for row, _ in planned]
        await asyncio.to_thread(self._take_stock)
        wanted = [pair for pair in planned if pair[0].status == "pending"]
        await self._flush()
        try:
            if self._archive and wanted:
                await self._from_archives(client, wanted)
                wanted = [pair for pair in wanted if pair[0].status == "pending"]

            async def fetch(pair: tuple[Row, ImageResult]) -> None:
                await self._fetch(client, *pair)

            await run_bounded(fetch, wanted, self._concurrency)
        finally:
            await self._flush()

    def raise_if_incomplete(self) -> None:
        """Raise if an output that exists at PiktID did not arrive."""
        lost = [row for row in self._rows if row.file and row.status != "done"]
        if lost:
            lines = tuple(f"{row.file}: {row.error}" for row in lost)
            raise PiktidDownloadError(
                f"{self._connection}: {len(lost)} of {len(self._rows)} outputs did not arrive: "
                f"{'; '.join(lines[:5])}{'; ...' if len(lines) > 5 else ''}. The others are in {self._folder.uri}; "
                "a retry fetches only what is missing.",
                failed=lines,
            )

    def _take_stock(self) -> None:
        """Take over what an earlier run of the same jobs left, and notice files that are somebody else's."""
        before = {row.key: row for row in manifest.load(storage.read_json(self._target), self._target.uri)}
        present = storage.sizes_below(self._folder)
        storage.sweep(self._folder, present, self._mark)
        for row in self._rows:
            if not row.file:
                continue
            old = before.get(row.key)
            known = old.file if old and old.file else row.file
            if known not in present:
                continue
            if old is None or self._overwrite or (old.status != "done" and old.replaces):
                row.replaces = True
            elif old.status == "done" and present[known] == old.size:
                row.file, row.status, row.size, row.sha256 = known, "done", old.size, old.sha256
            elif old.status == "pending":
                # It got its name in one step after that manifest was written, so it is whole.
                row.status, row.size = "done", present[known]
                row.sha256 = storage.digest(self._folder.join(known))

    async def _fetch(self, client: AsyncPiktidClient, row: Row, result: ImageResult) -> None:
        url = result.download_url
        for _ in range(FETCH_TRIES):
            try:
                if not url:
                    raise PiktidNotFoundError("PiktID has no link to it any more.", status=404)
                await client.fetch(url, lambda stream: self._land(stream.chunks(), row))
                break
            except PiktidLinkError as error:
                # Links expire; the results give a new one.
                row.error = str(error)
                try:
                    url = await self._renewed(client, row, url)
                except PiktidError as refused:
                    row.error = str(refused)
                    break
            except PiktidDownloadError as error:
                row.error = str(error)
            except PiktidError as error:
                # The client has repeated what repeating can mend.
                row.error = str(error)
                break
            except OSError as error:
                row.error = f"it could not be written ({type(error).__name__})"
        if row.status != "done":
            row.status = "failed"
        await self._flush(now=False)

    async def _renewed(self, client: AsyncPiktidClient, row: Row, stale: str | None) -> str | None:
        """Ask once per job for new links, however many of them have expired; again when those have, too."""
        link = stale
        for again in (False, True):
            task = self._fresh.get(row.job_id)
            if task is None or (task.done() and (again or task.exception() is not None)):
                task = self._fresh[row.job_id] = asyncio.ensure_future(client.get_job_results(row.job_id))
            link = next(
                (
                    result.download_url
                    for result in (await task).results
                    if (row.job_id, *result.key, result.version) == row.key
                ),
                None,
            )
            if link != stale:
                break
        return link

    async def _land(self, chunks: Any, row: Row) -> None:
        async with storage.landing(self._folder, chunks, self._mark) as landed:
            if not media.is_whole(landed.head, landed.tail, landed.size):
                raise PiktidDownloadError(
                    f"{row.file} arrived cut off or is no picture ({landed.size} bytes)."
                )
            name = _true_name(row.file or "", landed.head)
            await storage.publish(landed, self._folder.join(name))
        row.file, row.status, row.error = name, "done", None
        row.size, row.sha256 = landed.size, landed.sha256
        self.fetched += 1

    async def _from_archives(self, client: AsyncPiktidClient, wanted: list[tuple[Row, ImageResult]]) -> None:
        from airflow_provider_piktid.operators._archive import fetch_archive

        for job_id in self._job_ids:
            pairs = [pair for pair in wanted if pair[0].job_id == job_id]
            if pairs:
                await fetch_archive(client, job_id, pairs, self._land)

    async def _flush(self, *, now: bool = True) -> None:
        if not now and time.monotonic() - self._flushed_at < FLUSH_SECONDS:
            return
        async with self._flushing:
            self._flushed_at = time.monotonic()
            await asyncio.to_thread(storage.write_bytes, self._target, manifest.dump(self._rows))


def _true_name(name: str, head: bytes) -> str:
    """Give a file the ending of what it is: the server copies that of the input."""
    found = media.sniff(head)
    stem, extension = posixpath.splitext(name)
    if found is None or extension.lower() in media.EXTENSIONS[found]:
        return name
    return stem + media.EXTENSIONS[found][0]
