# SPDX-License-Identifier: Apache-2.0
"""Download the outputs of a batch and describe its outcome in rows of the catalogue."""

from __future__ import annotations

import itertools
import posixpath
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.common.concurrency import run_bounded
from airflow_provider_piktid.exceptions import PiktidConfigError, PiktidNotFoundError
from airflow_provider_piktid.jobs import manifest
from airflow_provider_piktid.jobs.download import Download, checked_folder
from airflow_provider_piktid.refresh.catalogue import (
    TICK,
    CatalogueRow,
    Status,
    output_fields,
    paid_base,
    pending_row,
    row_of,
)
from airflow_provider_piktid.refresh.combined import instructions_of, name_combined
from airflow_provider_piktid.refresh.content import rows_for_equal_entries
from airflow_provider_piktid.refresh.groups import joined
from airflow_provider_piktid.refresh.outputs import OutputFolder

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidClient
    from airflow_provider_piktid.jobs.manifest import Row
    from airflow_provider_piktid.models.v2 import ImageResult, JobResults
    from airflow_provider_piktid.refresh.store import CatalogueStore


class Collection:
    """
    A batch of the plan, with the results of its upload and swap.

    :param entries: Content of the batch file. Entries of an earlier run contain their job ids and file ids.
    :param images: ``images`` of the upload.
    :param jobs: ``jobs`` of the swap: ``[job id or None, number of images]`` in the order of ``images``.
    """

    def __init__(
        self,
        entries: Sequence[Mapping[str, Any]],
        *,
        images: Sequence[Mapping[str, Any]],
        jobs: Sequence[Sequence[Any]],
    ) -> None:
        self.entries = entries
        self.is_late = any("job_ids" in entry for entry in entries)
        self._images = {image["source"]: image for image in joined(images)}
        self._places = {} if self.is_late else _place_of_each(images, jobs)

    @property
    def job_ids(self) -> list[str]:
        return list(dict.fromkeys(itertools.chain.from_iterable(map(self._jobs_of, self.entries))))

    def _jobs_of(self, entry: Mapping[str, Any]) -> list[str]:
        if self.is_late:
            return list(entry["job_ids"])
        place = self._places.get(self._file_id(entry) or "")
        return [place[0]] if place else []

    def _now(self) -> float:
        """Return the time of the rows: later than those of the plan and of its requests, whatever the clock says."""
        planned = max((entry.get("planned_at", 0.0) for entry in self.entries), default=0.0)
        return max(time.time(), planned + 2 * TICK)

    def _position(self, entry: Mapping[str, Any]) -> int | None:
        """Return the position of a source in its job, from 0; None if it was not recorded."""
        place = self._places.get(self._file_id(entry) or "")
        return place[1] if place else entry.get("position")

    def _file_id(self, entry: Mapping[str, Any]) -> str | None:
        file_id = entry.get("file_id") or self._images.get(entry["source"], {}).get("file_id")
        return str(file_id) if file_id else None

    def download(self, output_path: str, concurrency: int, connection: str) -> CollectDownload:
        """Return a download of the outputs that these jobs have for this batch."""
        submitted = [entry for entry in self.entries if self._jobs_of(entry)]
        images: list[Mapping[str, Any]] = [
            {
                **self._image(entry),
                "filename": self._image(entry).get("filename") or self._file_id(entry),
                "source": entry["source"],
                "relative": entry["relative"],
                "position": self._position(entry),
                "job_ids": self._jobs_of(entry),
                "sources": entry["row"].get("sources"),
            }
            for entry in submitted
        ]
        return CollectDownload(
            checked_folder(output_path),
            self.job_ids,
            images=images,
            overwrite=False,
            archive=False,
            concurrency=concurrency,
            connection=connection,
        )

    def pending_rows(self) -> list[CatalogueRow]:
        """
        Return a ``pending`` row for each source that was paid for.

        They are written before the download starts, so that no later run pays again if this task is killed.
        """
        now = self._now()
        rows: list[CatalogueRow] = []
        for entry in self.entries:
            # The plan has written the rows of outputs that were removed from the folder.
            if "kept" not in entry and (jobs := self._jobs_of(entry)):
                rows += self._with_equal(entry, [self._pending(entry, jobs[-1], now)])
        return rows

    def _pending(self, entry: Mapping[str, Any], job_id: str, now: float) -> CatalogueRow:
        return pending_row(self._base(entry, now), job_id, self._position(entry))

    def rows(self, download: CollectDownload) -> list[CatalogueRow]:
        """Return the rows of all sources that were paid for; the others keep their old rows."""
        outputs: dict[str | None, list[Row]] = {}
        for row in download.rows:
            outputs.setdefault(row.source, []).append(row)
        now = self._now()
        made: list[CatalogueRow] = []
        for entry in self.entries:
            jobs = self._jobs_of(entry)
            if jobs:
                rows = self._rows_of(entry, outputs.get(entry["source"], []), jobs, download, now)
                made += self._with_equal(entry, rows)
        return made

    def _with_equal(self, entry: Mapping[str, Any], rows: list[CatalogueRow]) -> list[CatalogueRow]:
        """Return the rows of an entry, and those of sources that get the same output."""
        return rows + rows_for_equal_entries(entry, self._image(entry), rows)

    def copy(self, rows: Sequence[CatalogueRow], store: CatalogueStore) -> list[CatalogueRow]:
        """Copy outputs for the sources with equal content; return all rows as they are then."""
        files = {(row.relative, *_output_key(row)): row.file for row in rows if row.status == "done"}
        pairs = {
            row.file: source
            for row in rows
            if row.equal_to and row.file and (source := files.get((row.equal_to, *_output_key(row))))
        }
        lost = OutputFolder(store.output).copy(pairs) if pairs else set()
        return [_not_copied(row) if row.equal_to and row.file in lost else row for row in rows]

    def _rows_of(
        self,
        entry: Mapping[str, Any],
        outputs: Sequence[Row],
        jobs: Sequence[str],
        download: CollectDownload,
        now: float,
    ) -> list[CatalogueRow]:
        if "kept" in entry:
            return [_fetched_again(row, outputs, download, now) for row in entry["kept"]]
        base = self._base(entry, now)
        running = [job for job in jobs if job in download.results and not download.results[job].done]
        numbers = instructions_of(outputs, entry.get("instructions", ()))
        made = [
            replace(_of_output(base, row, download.results[row.job_id], bool(running)), instruction=number)
            for row, number in zip(outputs, numbers, strict=True)
        ]
        if not outputs or (running and all(row.status != "pending" for row in made)):
            made.append(self._without_output(entry, jobs, download, now, bool(running)))
        if self.is_late:
            for row in made:
                row.late_runs = row.late_runs + 1 if row.status == "pending" else 0
        return made

    def _base(self, entry: Mapping[str, Any], now: float) -> dict[str, Any]:
        return paid_base(entry, self._image(entry), now)

    def _image(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        known = {name: entry["row"].get(name) for name in ("filename", "project_id")}
        return {"file_id": self._file_id(entry)} | known | dict(self._images.get(entry["source"], {}))

    def _without_output(
        self,
        entry: Mapping[str, Any],
        jobs: Sequence[str],
        download: CollectDownload,
        now: float,
        running: bool,
    ) -> CatalogueRow:
        row = self._pending(entry, jobs[-1], now)
        # A new job may not be visible yet; one of an earlier run is lost.
        unknown = [job for job in jobs if job not in download.results]
        if running or (unknown and not self.is_late):
            return replace(row, error="the job is still running")
        reason = "PiktID no longer knows its job" if unknown else "the job ended without an output for it"
        return replace(row, status="failed", error=reason)

    @staticmethod
    def part_name(batch: str) -> str:
        """Name the part of a batch by run and number, so that a task that runs again replaces its own part."""
        return batch.rpartition("/plans/")[2].removesuffix(".json").replace("/", "-")

    @staticmethod
    def counts(rows: Sequence[CatalogueRow]) -> dict[str, Any]:
        """Count outputs by status and add up their credits."""
        spent = [row.credits for row in rows if row.credits is not None]
        counted = {
            status: sum(row.status == status for row in rows)
            for status in ("done", "failed", "pending", "lost")
        }
        return counted | {"credits": round(sum(spent), 4) if spent else None}


class CollectDownload(Download):
    """
    A download of the outputs of one batch only; jobs that PiktID does not know are skipped.

    :raises PiktidConfigError: It knows none of the projects either, so the jobs are those of another account.
    """

    # The catalogue gives each source its own name, and a new output of the source replaces the old one.
    replaces_files = True

    async def _read_results(self, client: AsyncPiktidClient) -> dict[str, JobResults]:
        async def read(job_id: str) -> JobResults | None:
            try:
                return await client.get_job_results(job_id)
            except PiktidNotFoundError:
                return None

        found = await run_bounded(read, self._job_ids, self._concurrency)
        pairs = list(zip(self._job_ids, found, strict=True))
        if any(results is None for _, results in pairs):
            await self._check_account(client)
        return {job_id: results for job_id, results in pairs if results is not None}

    async def _check_account(self, client: AsyncPiktidClient) -> None:
        """Distinguish a removed job from one of another account, which must not be bought again."""
        projects = {str(image["project_id"]) for image in self._images or [] if image.get("project_id")}
        if not projects:
            return
        async for project in client.iter_projects():
            if project.project_id in projects:
                return
        raise PiktidConfigError(
            f"{self._connection} belongs to another account than the one that paid for these outputs: PiktID does not "
            f"know their jobs, nor project {', '.join(sorted(projects))}. Nothing was bought again. Use the connection "
            "of that account, or another `output_path`."
        )

    def _compare_with_existing(self) -> None:
        """Keep the files of an earlier download, except under the name of another source with equal content."""
        planned = [row.file for row in self.rows]
        super()._compare_with_existing()
        for row, name in zip(self.rows, planned, strict=True):
            if row.file and name and posixpath.splitext(row.file)[0] != posixpath.splitext(name)[0]:
                row.file, row.status, row.size, row.sha256 = name, "pending", None, None

    def _plan(self) -> list[tuple[Row, ImageResult]]:
        sources = {image["source"] for image in self._images or []}
        results = [(job_id, self._with_inputs(job_id, found)) for job_id, found in self.results.items()]
        planned = manifest.plan_rows(results, self._images)
        name_combined([row for row, _ in planned], self._images or [])
        return [pair for pair in planned if pair[0].source in sources]

    def _with_inputs(self, job_id: str, results: JobResults) -> JobResults:
        """
        Return the results of a job with the inputs that the server left out, by file name or position in the job.

        Results of sources that are not in this batch are left out, unless a position was not recorded.
        """
        images = [image for image in self._images or [] if job_id in image["job_ids"]]
        if any(image["sources"] for image in images):
            # All images of the job are one source, and go into each output.
            found = [_with_file_id(result, images[0]["file_id"]) for result in results.results]
            return results.model_copy(update={"results": found})
        if any(image["position"] is None for image in images):
            return results
        placed = [_with_input(result, images) for result in results.results]
        return results.model_copy(update={"results": [result for result in placed if result is not None]})


def _with_file_id(result: ImageResult, file_id: str) -> ImageResult:
    from airflow_provider_piktid.models.v2 import ImageLinks

    return result.model_copy(update={"inputs": [ImageLinks(uuid=file_id)]})


def _with_input(result: ImageResult, images: Sequence[Mapping[str, Any]]) -> ImageResult | None:
    if any(link.uuid for link in result.inputs):
        return result
    named = [image for image in images if image["filename"] == result.original_filename]
    placed = [image for image in images if image["position"] == result.image_index]
    image = next(iter(named or placed), None)
    return None if image is None else _with_file_id(result, image["file_id"])


def _place_of_each(
    images: Sequence[Mapping[str, Any]], jobs: Sequence[Sequence[Any]]
) -> dict[str, tuple[str, int]]:
    """Return the job of each file id, and its position there."""
    rest = (str(image["file_id"]) for image in images)
    return {
        file_id: (str(job_id), position)
        for job_id, count in jobs
        for position, file_id in enumerate(itertools.islice(rest, int(count)))
        if job_id
    }


def _fetched_again(
    row: Mapping[str, Any], outputs: Sequence[Row], download: CollectDownload, now: float
) -> CatalogueRow:
    """Return the row of an output that was removed from the folder, after the attempt to download it again."""
    old = replace(row_of(row), at=now)
    if old.status != "lost":
        return old
    if old.job_id not in download.results:
        return replace(old, job_id=None, error="its output was removed, and PiktID no longer has the job")
    found = next((output for output in outputs if output.key == _output_key(old)), None)
    if found is None or found.status != "done":
        reason = found.error if found and found.error else "PiktID no longer has it"
        error = f"its output was removed, and could not be downloaded again: {reason}"
        return replace(old, late_runs=old.late_runs + 1, error=error)
    return replace(old, status="done", late_runs=0, error=None, **output_fields(found))


def _output_key(row: CatalogueRow) -> tuple[Any, ...]:
    return row.job_id, row.image_index, row.group_index, row.version


def _not_copied(row: CatalogueRow) -> CatalogueRow:
    return replace(row, status="pending", file=None, size=None, error="its output could not be copied")


def _of_output(base: dict[str, Any], row: Row, results: JobResults, running: bool) -> CatalogueRow:
    status: Status = "done" if row.status == "done" else "failed"
    if row.status != "done" and (row.file or running):
        # The output exists or may still be made: downloading it later is free, submitting it again is not.
        status = "pending"
    outputs = sum(bool(result.download_url) for result in results.results) or len(results.results)
    spent = results.credits_used if status == "done" else None
    return CatalogueRow(
        **base,
        status=status,
        **output_fields(row),
        credits=None if spent is None else round(spent / max(1, outputs), 6),
        error=row.error,
    )
