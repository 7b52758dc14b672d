# SPDX-License-Identifier: Apache-2.0
"""
What runs with the same options have bought before: options that change and change back need no second purchase.

The catalogue describes the current outputs only. The batches of all runs stay, with what they have paid for, and are
read here if sources have outputs with other options.
"""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from airflow_provider_piktid.files import storage
from airflow_provider_piktid.refresh.batches import WORKERS, PaidBatch, PlanFiles, read_batch
from airflow_provider_piktid.refresh.catalogue import (
    CatalogueRow,
    SourceState,
    add_rows,
    paid_base,
    pending_row,
    plain,
)
from airflow_provider_piktid.refresh.content import Classified
from airflow_provider_piktid.refresh.groups import joined
from airflow_provider_piktid.refresh.request import RefreshRequest


@dataclass(frozen=True)
class Past:
    """
    A purchase of some content.

    :param position: Position of the image in the job, from 0.
    """

    job_id: str
    position: int
    upload: Mapping[str, Any]


def resume_past(
    classified: Iterable[Classified],
    known: dict[str, SourceState],
    request: RefreshRequest,
    files: PlanFiles,
    now: float,
) -> tuple[list[Classified], list[dict[str, Any]]]:
    """
    Let outputs that were bought with these options before be downloaded instead of bought.

    :param known: The catalogue of these sources; they become ``pending`` in it.
    :return: The sources with their reasons, and the new rows.
    """
    sources = list(classified)
    if all(reason != "options" for _, reason in sources):
        return sources, []
    past = past_purchases(files, request.options_key)
    rows: list[CatalogueRow] = []
    for index, (file, reason) in enumerate(sources):
        state = known.get(file.relative)
        found = past.get(state.sha256 or "") if state is not None and reason == "options" else None
        if state is None or found is None:
            continue
        base = request.row_base(file, state.target) | {"attempts": 1, "source_sha256": state.sha256}
        row = pending_row(paid_base({"row": base}, found.upload, now), found.job_id, found.position)
        rows.append(row)
        sources[index] = (file, "pending")
    add_rows(known, rows)
    return sources, plain(rows)


def past_purchases(files: PlanFiles, options_key: str) -> dict[str, Past]:
    """Return the newest purchase of each content, by SHA-256, of all runs with these options."""
    batches = sorted(_batches(files, options_key), key=lambda batch: batch.newest)
    return {sha: past for batch in batches for sha, past in _purchases(batch)}


def _batches(files: PlanFiles, options_key: str) -> Iterator[PaidBatch]:
    batches = files.all_batches
    first = {posixpath.dirname(name): name for name in reversed(batches)}

    def has_options(name: str) -> bool:
        entries = storage.read_json(files.folder.join(name)) or [{}]
        return bool(entries[0].get("row", {}).get("options_key") == options_key)

    with ThreadPoolExecutor(WORKERS) as pool:
        matches = zip(first, pool.map(has_options, first.values()), strict=True)
        ours = {run for run, is_ours in matches if is_ours}
        chosen = [storage.beside(name, "jobs") for name in batches if posixpath.dirname(name) in ours]
        found = pool.map(lambda name: read_batch(files.folder, name, whole=True), chosen)
        yield from (batch for batch in found if batch is not None)


def _purchases(batch: PaidBatch) -> Iterator[tuple[str, Past]]:
    rest = iter(batch.uploads)
    for item in batch.record.submissions:
        for position, upload in enumerate(joined(itertools.islice(rest, item.count))):
            if item.job_id and upload.get("sha256"):
                # What the store says about the source may have changed since.
                kept = {name: upload.get(name) for name in ("file_id", "filename", "project_id", "sha256")}
                yield upload["sha256"], Past(item.job_id, position, kept)
