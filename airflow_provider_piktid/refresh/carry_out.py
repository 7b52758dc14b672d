# SPDX-License-Identifier: Apache-2.0
"""Carry out a plan: write its rows and batches, and remove the outputs of deleted sources."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.storage import SourceFile
from airflow_provider_piktid.refresh.batches import CLOSED, close_runs, take_over
from airflow_provider_piktid.refresh.catalogue import TICK, add_rows, pruned_row
from airflow_provider_piktid.refresh.content import WAITING, base_of, rows_for_equal
from airflow_provider_piktid.refresh.entries import late_entries
from airflow_provider_piktid.refresh.outputs import OutputFolder
from airflow_provider_piktid.refresh.plan import Plan
from airflow_provider_piktid.refresh.request import RefreshRequest
from airflow_provider_piktid.refresh.store import CatalogueStore


def carry_out(plan: Plan, request: RefreshRequest, store: CatalogueStore) -> str:
    """Write the rows of the plan; return the URI of the batch to download only, or an empty string."""
    _reuse(plan, request, store)
    late = late_entries(plan, request)
    pruned = _prune(plan, request, store) if request.prune else []
    if rows := [*plan.rows(), *pruned]:
        store.write(f"{request.run}-plan-{time.time_ns()}", rows)
    take_over(plan.files, plan.paid, request.run, f"A later run of {request.producer}")
    close_runs(plan.files, plan.paid, request.run)
    # An old run that is cleared as a whole works again.
    storage.remove_files([plan.files.folder.join(f"{request.run}{CLOSED}")])
    store.merge(plan.damaged, without=request.run)
    return store.write_batches(f"{request.run}/late", [late])[0] if late else ""


def _reuse(plan: Plan, request: RefreshRequest, store: CatalogueStore) -> None:
    """
    Give sources the output of a known source with equal content, and add their rows to the catalogue.

    Rows that say ``pending`` are written first: a copy may replace the former output of a source, and if this
    process ends in between, that output must not be taken for what the old row says.
    """
    pairs: dict[str, str] = {}
    rows = [row for file in plan.reused for row in _equal_rows(file, plan, request, pairs)]
    if not rows:
        return
    part = f"{request.run}-equal-{time.time_ns()}"
    store.write(part, [_not_copied(row) for row in rows])
    lost = OutputFolder(store.output).copy(pairs)
    rows = [_not_copied(row) if row["file"] in lost else row for row in rows]
    store.write(part, rows)
    add_rows(plan.known, rows)


def _equal_rows(
    file: SourceFile, plan: Plan, request: RefreshRequest, pairs: dict[str, str]
) -> list[dict[str, Any]]:
    """Return the rows of a source with known content; add the files to copy, target to source, to ``pairs``."""
    owner = plan.reuse.owners[file.relative]
    known, state = plan.known, plan.known.get(file.relative)
    is_same = plan.reuse.digests.get(file.relative) in (None, state.sha256 if state else None)
    if state is not None and state.status in WAITING and is_same:
        base = base_of(state.rows[0]) | {"run": request.run}
    else:
        base = request.row_base(file, plan.names[file.relative])
    before = known[owner].rows
    rows = rows_for_equal(before, base | {"at": plan.now + 2 * TICK}, owner)
    for row, old in zip(rows, before, strict=True):
        if row["status"] == "done" and row["file"]:
            pairs[row["file"]] = old["file"]
    return rows


def _not_copied(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose output has to be downloaded from PiktID if it cannot be copied."""
    if row["status"] != "done":
        return dict(row)
    return {**row, "status": "pending", "file": None, "size": None, "error": "not copied yet"}


def _prune(plan: Plan, request: RefreshRequest, store: CatalogueStore) -> list[dict[str, Any]]:
    """Remove the outputs of deleted sources, unless they are now those of another source; return the new rows."""
    states = {name: plan.known.pop(name) for name in plan.deleted}
    removed = {row["file"] for state in states.values() for row in state.rows if row["file"]}
    kept = {row["file"] for file in plan.reused for row in plan.known[file.relative].rows}
    OutputFolder(store.output).remove(removed - kept)
    at = plan.now + 2 * TICK
    return [pruned_row(name, state, request.run, at) for name, state in states.items()]
