# SPDX-License-Identifier: Apache-2.0
"""The same images as one task of many jobs, and as mapped tasks of one job, each with its own account."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_piktid.operators.model_swap import PiktidModelSwapOperator

COMMON: dict[str, Any] = {
    "schedule": None,
    "start_date": datetime(2026, 1, 1, tzinfo=UTC),
    "catchup": False,
    "render_template_as_native_obj": True,
    "max_active_tasks": 100,
    "params": {"project_id": "", "images": []},
}
SWAP: dict[str, Any] = {
    "task_id": "swap",
    "identity_code": "PiktidSummer",
    "project_id": "{{ params.project_id }}",
    "deferrable": True,
    "timeout": 300,
}

with DAG(dag_id="one_task", **COMMON):
    PiktidModelSwapOperator(images="{{ params.images }}", piktid_conn_id="piktid_one", **SWAP)

with DAG(dag_id="mapped", **COMMON):

    @task
    def batches(images: list[str]) -> list[list[str]]:
        """Return lists of ten images."""
        return [images[start : start + 10] for start in range(0, len(images), 10)]

    PiktidModelSwapOperator.partial(piktid_conn_id="piktid_mapped", **SWAP).expand(
        images=batches("{{ params.images }}")  # type: ignore[arg-type]
    )
