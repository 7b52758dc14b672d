# SPDX-License-Identifier: Apache-2.0
"""Carry out a plan: write its rows and batches, and remove the outputs of deleted sources."""

from __future__ import annotations

from airflow_provider_piktid.refresh.batches import close_runs
from airflow_provider_piktid.refresh.entries import late_entries
from airflow_provider_piktid.refresh.plan import Plan
from airflow_provider_piktid.refresh.request import RefreshRequest
from airflow_provider_piktid.refresh.store import CatalogueStore


def carry_out(plan: Plan, request: RefreshRequest, store: CatalogueStore) -> str:
    """Write the rows of the plan; return the URI of the batch to download only, or an empty string."""
    late = late_entries(plan, request)
    is_pruned = bool(request.prune and plan.deleted)
    if is_pruned:
        _prune(plan, store)
    if rows := plan.rows():
        store.write(f"{request.run}-plan", rows)
    close_runs(store.private, [batch for batch in plan.paid if batch.run != request.run])
    store.compact(plan.snapshot, rewrite=is_pruned)
    return store.write_batches(f"{request.run}/late", [late])[0] if late else ""


def _prune(plan: Plan, store: CatalogueStore) -> None:
    known = plan.snapshot.known
    store.remove_outputs({row["file"] for name in plan.deleted for row in known[name].rows if row["file"]})
    for name in plan.deleted:
        del known[name]
