# SPDX-License-Identifier: Apache-2.0
"""Download the outputs of jobs into a folder, each atomically, and write the manifest."""

from __future__ import annotations

import asyncio
import posixpath
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar, Self

from airflow_provider_piktid.common.concurrency import run_bounded
from airflow_provider_piktid.exceptions import (
    PiktidDownloadError,
    PiktidError,
    PiktidLinkError,
    PiktidNotFoundError,
)
from airflow_provider_piktid.files import receive, storage
from airflow_provider_piktid.files.receive import FETCH_TRIES
from airflow_provider_piktid.files.walk import sizes_in
from airflow_provider_piktid.jobs import manifest
from airflow_provider_piktid.jobs.publish import Publisher

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidClient, Checksum
    from airflow_provider_piktid.files.storage import Location
    from airflow_provider_piktid.jobs.manifest import Row, RowKey
    from airflow_provider_piktid.models.v2 import ImageResult, JobResults

#: Longest time between two writes of the manifest during a download: files that a killed task finished after the last
#: one are transferred again and compared.
FLUSH_SECONDS = 5.0

#: Shortest time between two writes, as a multiple of what the last one took.
FLUSH_PAUSE = 20.0

#: Up to this many files of a remote folder are looked up one by one, instead of listing the folder.
FEW_FILES = 100

#: Files that are decoded at the same time. More would delay writing the files that are being downloaded.
MAX_DECODES = 2

#: ZIPs that are downloaded at the same time: each needs its size on the temporary disk of the worker.
MAX_ARCHIVES = 4


def checked_folder(output_path: str) -> Location:
    """
    Return the output folder, after checking that it can be written.

    :raises PiktidConfigError: It is empty.
    :raises PiktidDownloadError: It cannot be written.
    """
    storage.check_named("output_path", output_path)
    try:
        folder = storage.locate(output_path)
        storage.check_writable(folder)
    except Exception as error:
        raise PiktidDownloadError(
            f"output_path {output_path} cannot be written ({type(error).__name__}). Correct the path, its "
            "permissions or its connection. Nothing was downloaded; the results stay at PiktID."
        ) from error
    return folder


class Download:
    """One download of the outputs of some jobs."""

    #: Whether an output replaces any file of its name. Otherwise such a file is kept, and the output gets another name.
    replaces_files: ClassVar[bool] = False

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
        self._tag = posixpath.splitext(posixpath.basename(self._target.path))[0]
        self.rows: list[Row] = []
        self.results: dict[str, JobResults] = {}
        self._publisher = Publisher(folder)
        #: Outputs whose existing file is their own, and is to be replaced.
        self._own: set[RowKey] = set()
        self._renewals: dict[str, asyncio.Task[JobResults]] = {}
        self._flush_at = 0.0
        self._flushing = asyncio.Lock()
        self._receiving = asyncio.Semaphore(concurrency)
        self._decoding = asyncio.Semaphore(MAX_DECODES)
        self.fetched = 0

    @property
    def manifest_uri(self) -> str:
        return self._target.uri

    @property
    def done(self) -> int:
        return sum(row.status == "done" for row in self.rows)

    @property
    def failed(self) -> int:
        return sum(row.status == "failed" for row in self.rows)

    @property
    def bytes(self) -> int:
        return sum(row.size or 0 for row in self.rows if row.status == "done")

    async def run(self, client: AsyncPiktidClient) -> None:
        """Download the missing outputs. Failures of single outputs are recorded in their rows."""
        self.results = await self._read_results(client)
        planned = self._plan()
        self.rows = [row for row, _ in planned]
        await asyncio.to_thread(self._compare_with_existing)
        missing = [pair for pair in planned if pair[0].status == "pending"]
        await self._flush()
        try:
            if self._archive and missing:
                await self._from_archives(client, missing)
                missing = [pair for pair in missing if pair[0].status == "pending"]

            async def fetch(pair: tuple[Row, ImageResult]) -> None:
                await self._fetch(client, *pair)

            # While one half is being transferred, the other half is being checked and written.
            await run_bounded(fetch, missing, 2 * self._concurrency)
        finally:
            await self._flush()

    async def _read_results(self, client: AsyncPiktidClient) -> dict[str, JobResults]:
        async def results_of(job_id: str) -> JobResults:
            try:
                return await client.get_job_results(job_id)
            except PiktidNotFoundError as error:
                raise PiktidNotFoundError(
                    f"{self._connection}: there is no job {job_id!r} in this account, or no longer. Correct `job_ids`.",
                    status=error.status,
                ) from error

        results = await run_bounded(results_of, self._job_ids, self._concurrency)
        return dict(zip(self._job_ids, results, strict=True))

    def _plan(self) -> list[tuple[Row, ImageResult]]:
        return manifest.plan_rows(list(self.results.items()), self._images)

    def raise_if_incomplete(self) -> None:
        """Raise if an output that exists at PiktID could not be downloaded."""
        lost = [row for row in self.rows if row.file and row.status != "done"]
        if lost:
            lines = tuple(f"{row.file}: {row.error}" for row in lost)
            raise PiktidDownloadError(
                f"{self._connection}: {len(lost)} of {len(self.rows)} outputs could not be downloaded: "
                f"{'; '.join(lines[:5])}{'; ...' if len(lines) > 5 else ''}. The others are in {self._folder.uri}; "
                "a retry downloads only the missing ones.",
                failed=lines,
            )

    def _compare_with_existing(self) -> None:
        """Keep the complete files of an earlier download of the same jobs, and the names that it gave."""
        before = {row.key: row for row in manifest.load(storage.read_json(self._target), self._target.uri)}
        present = self._present({row.file for row in (*self.rows, *before.values()) if row.file})
        receive.remove_partial_files(self._folder, present, self._tag)
        kept = []
        for row in self.rows:
            old = before.get(row.key)
            if row.file and old is not None and old.file and old.status == "done":
                row.file, row.instead_of = old.file, old.instead_of
                if self._overwrite:
                    self._own.add(row.key)
                elif present.get(old.file) == old.size:
                    kept.append((row, old))
                    continue
            row.replaces = row.file in present and (self.replaces_files or row.key in self._own)
        self._keep(kept)

    def _keep(self, pairs: list[tuple[Row, Row]]) -> None:
        """Take files that have the content of the manifest. Of a remote store their sizes are enough."""

        def is_same(pair: tuple[Row, Row]) -> bool:
            row, old = pair
            return not self._folder.is_local or (
                storage.digest(self._folder.join(row.file or "")) == old.sha256
            )

        with ThreadPoolExecutor(self._concurrency) as pool:
            for (row, old), same in zip(pairs, list(pool.map(is_same, pairs)), strict=True):
                if same:
                    row.status, row.size, row.sha256 = "done", old.size, old.sha256
                else:
                    row.replaces = self.replaces_files

    def _present(self, files: set[str]) -> dict[str, int]:
        """
        Return the sizes of existing files.

        Only the folders of the planned files are listed: the output folder may have a million others. Few files on a
        remote store are looked up one by one.
        """
        if self._folder.is_local or len(files) > FEW_FILES:
            # Temporary files of a killed run are beside the outputs and the manifest, and in the output folder itself.
            folders = {"", storage.PRIVATE_FOLDER, *(posixpath.dirname(file) for file in files)}
            return {name: size for folder in folders for name, size in sizes_in(self._folder, folder).items()}
        self._folder.fs.invalidate_cache()

        def size(file: str) -> int | None:
            try:
                return int(self._folder.fs.info(self._folder.join(file).path)["size"] or 0)
            except FileNotFoundError:
                return None

        with ThreadPoolExecutor(self._concurrency) as pool:
            found = zip(files, pool.map(size, files), strict=True)
            return {file: size for file, size in found if size is not None}

    async def _fetch(self, client: AsyncPiktidClient, row: Row, result: ImageResult) -> None:
        url = result.download_url
        for _ in range(FETCH_TRIES):
            try:
                if not url:
                    raise PiktidNotFoundError("PiktID no longer has a link to it.", status=404)
                async with _TransferSlot(self._receiving) as slot:
                    await client.fetch(
                        url,
                        lambda stream: self._receive(
                            slot.release_after(stream.chunks()), row, stream.checksum
                        ),
                    )
                break
            except PiktidLinkError as error:
                # Links expire; the results contain a new one.
                row.error = str(error)
                try:
                    url = await self._renew_link(client, row, url)
                except PiktidError as refused:
                    row.error = str(refused)
                    break
            except PiktidDownloadError as error:
                row.error = str(error)
            except PiktidError as error:
                # The client has already retried what a retry can fix.
                row.error = str(error)
                break
            except OSError as error:
                row.error = f"it could not be written ({type(error).__name__})"
        if row.status != "done":
            row.status = "failed"
        await self._flush(now=False)

    async def _renew_link(self, client: AsyncPiktidClient, row: Row, stale: str | None) -> str | None:
        """Return a new link. The links of a job are renewed together, and again if the new ones have expired."""
        link = stale
        for again in (False, True):
            task = self._renewals.get(row.job_id)
            if task is None or (task.done() and (again or task.exception() is not None)):
                task = self._renewals[row.job_id] = asyncio.ensure_future(client.get_job_results(row.job_id))
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

    async def _receive(self, chunks: Any, row: Row, checksum: Checksum | None) -> None:
        async with receive.receive(self._folder, chunks, self._tag, checksum) as received:
            async with self._decoding:
                problem = await receive.picture_problem(received)
            if problem:
                raise PiktidDownloadError(f"{row.file} {problem}.")
            replace = self.replaces_files or row.key in self._own
            row.file = await self._publisher.publish(received, row, replace=replace)
        row.status, row.error = "done", None
        row.size, row.sha256 = received.size, received.sha256
        self.fetched += 1

    async def _from_archives(self, client: AsyncPiktidClient, missing: list[tuple[Row, ImageResult]]) -> None:
        from airflow_provider_piktid.jobs.archive import fetch_archive

        by_job: dict[str, list[tuple[Row, ImageResult]]] = {}
        for pair in missing:
            by_job.setdefault(pair[0].job_id, []).append(pair)

        async def fetch(job_id: str) -> None:
            await fetch_archive(client, job_id, by_job[job_id], self._receive)

        # One at a time, a connection that stalls would stop all of them.
        await run_bounded(fetch, list(by_job), min(self._concurrency, MAX_ARCHIVES))

    async def _flush(self, *, now: bool = True) -> None:
        if not now and time.monotonic() < self._flush_at:
            return
        async with self._flushing:
            began = time.monotonic()
            self._flush_at = began + FLUSH_SECONDS
            await asyncio.to_thread(storage.write_bytes, self._target, manifest.dump(self.rows))
            ended = time.monotonic()
            self._flush_at = ended + min(FLUSH_SECONDS, FLUSH_PAUSE * (ended - began))


class _TransferSlot:
    """A slot for one transfer, released after the last byte or at the end of the block."""

    def __init__(self, slots: asyncio.Semaphore) -> None:
        self._slots = slots
        self._held = False

    async def __aenter__(self) -> Self:
        await self._slots.acquire()
        self._held = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self._release()

    async def release_after(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            yield chunk
        self._release()

    def _release(self) -> None:
        if self._held:
            self._held = False
            self._slots.release()
