# SPDX-License-Identifier: Apache-2.0
"""The entries of batch files: what to upload, what to download, and the rows that result."""

from __future__ import annotations

from typing import Any

from airflow_provider_piktid.files.storage import SourceFile
from airflow_provider_piktid.refresh.catalogue import Reason
from airflow_provider_piktid.refresh.plan import Plan
from airflow_provider_piktid.refresh.request import RefreshRequest


def batch_entries(plan: Plan, request: RefreshRequest) -> list[dict[str, Any]]:
    """Describe each source to submit: the upload reads ``source`` and ``relative``, the rest goes to the rows."""
    return [_entry(file, reason, plan, request) for file, reason in plan.work]


def _entry(file: SourceFile, reason: Reason, plan: Plan, request: RefreshRequest) -> dict[str, Any]:
    before = plan.snapshot.known.get(file.relative)
    attempts = before.attempts if before is not None and reason == "failed" else 0
    target = plan.names[file.relative]
    return {
        "source": file.location.uri,
        "relative": target,
        "reason": reason,
        "row": request.row_base(file, target) | {"attempts": attempts + 1},
    }


def late_entries(plan: Plan, request: RefreshRequest) -> list[dict[str, Any]]:
    """Describe the sources that earlier runs paid for and whose outputs are not downloaded yet."""
    rows = [row for known in plan.snapshot.known.values() if known.status == "pending" for row in known.rows]
    rows += [vars(row) for row in plan.recovered if row.status == "pending"]
    entries: dict[str, dict[str, Any]] = {}
    for row in rows:
        entry = entries.setdefault(
            row["relative"],
            {
                "source": row["source"],
                "relative": row["target"],
                "file_id": row["file_id"],
                "job_ids": [],
                "row": {name: row[name] for name in ROW_BASE} | {"run": request.run},
            },
        )
        if row["job_id"] and row["job_id"] not in entry["job_ids"]:
            entry["job_ids"].append(row["job_id"])
    return list(entries.values())


#: Fields of a row that describe what was submitted, and not its outcome.
ROW_BASE = (
    "relative",
    "source",
    "source_version",
    "source_sha256",
    "source_size",
    "source_modified",
    "target",
    "identity_code",
    "options_key",
    "producer",
    "run",
    "attempts",
)
