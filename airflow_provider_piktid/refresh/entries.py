# SPDX-License-Identifier: Apache-2.0
"""The entries of batch files: what to upload, what to download, and the rows that result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow_provider_piktid.files.storage import SourceFile
from airflow_provider_piktid.refresh.catalogue import Reason, SourceState
from airflow_provider_piktid.refresh.content import base_of
from airflow_provider_piktid.refresh.plan import Plan
from airflow_provider_piktid.refresh.request import RefreshRequest


def batch_entries(plan: Plan, request: RefreshRequest) -> list[dict[str, Any]]:
    """Describe each source to submit: the upload reads ``source`` and ``relative``, the rest goes to the rows."""
    return [
        _entry(file, reason, plan, request) | {"planned_at": plan.entries_at} for file, reason in plan.work
    ]


def _entry(file: SourceFile, reason: Reason, plan: Plan, request: RefreshRequest) -> dict[str, Any]:
    before = plan.known.get(file.relative)
    attempts = before.attempts if before is not None and reason == "failed" else 0
    attempts = max(attempts, plan.reuse.attempts.get(file.relative, 0)) + 1
    digest = plan.reuse.digests.get(file.relative)
    entry = _named(file, plan, request, {"attempts": attempts, "source_sha256": digest})
    equal = [
        _named(other, plan, request, {"attempts": attempts, "source_sha256": digest})
        for other in plan.equal.get(file.relative, ())
    ]
    return entry | {"reason": reason, "equal": equal}


def _named(
    file: SourceFile, plan: Plan, request: RefreshRequest, fields: Mapping[str, Any]
) -> dict[str, Any]:
    target = plan.names[file.relative]
    row = {**request.row_base(file, target), **fields}
    return {"source": file.location.uri, "relative": target, "row": row, **_combined(row, request)}


def _combined(row: Mapping[str, Any], request: RefreshRequest) -> dict[str, Any]:
    """Return the files that are one job, and the outputs of each instruction if they are those of now."""
    if not row.get("sources"):
        return {}
    is_current = row["options_key"] == request.options_key
    return {"files": row["sources"]} | ({"instructions": list(request.instructions)} if is_current else {})


def late_entries(plan: Plan, request: RefreshRequest) -> list[dict[str, Any]]:
    """Describe the sources that earlier runs paid for and whose outputs are not, or no longer, in the folder."""
    states = plan.known.values()
    rows = [row for state in states if _is_late(state, request) for row in state.rows]
    rows += [vars(row) for row in plan.recovered if row.status == "pending"]
    by_source: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_source.setdefault(row["relative"], []).append(row)
    planned = {"planned_at": plan.entries_at}
    entries = [_late_entry(found, request) | planned for found in by_source.values()]
    # Outputs that existed before come first: what becomes of the first of a group counts for all.
    return _together(sorted(entries, key=lambda entry: "kept" not in entry))


def _is_late(state: SourceState, request: RefreshRequest) -> bool:
    return state.status == "pending" or (state.status == "lost" and request.can_fetch(state))


def _late_entry(rows: Sequence[Mapping[str, Any]], request: RefreshRequest) -> dict[str, Any]:
    first = rows[0]
    is_lost = any(row["status"] == "lost" for row in rows)
    kept = {"kept": [{**row, "run": request.run} for row in rows]} if is_lost else {}
    base = base_of(first) | {"run": request.run}
    return kept | {
        "source": first["source"],
        "relative": first["target"],
        "file_id": first["file_id"],
        "position": first["image_index"],
        "job_ids": list(dict.fromkeys(row["job_id"] for row in rows if row["job_id"])),
        "row": base,
        **_combined(base, request),
    }


def _together(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put sources that wait for the same output together: it is downloaded once, and copied."""
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for entry in entries:
        key = (entry["file_id"] or entry["source"], *entry["job_ids"])
        if first := groups.get(key):
            first["equal"].append(entry)
        else:
            groups[key] = entry | {"equal": []}
    return list(groups.values())
