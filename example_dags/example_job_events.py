# SPDX-License-Identifier: Apache-2.0
"""Download the results of every model swap that ends, wherever it was started. Airflow 3."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_piktid.assets import ended_job_ids, piktid_jobs_asset
from airflow_provider_piktid.operators.download import PiktidDownloadOperator

# [START howto_job_events]
ENDED_SWAPS = piktid_jobs_asset("piktid_ended_swaps", job_types=["model_swap"])

with DAG(
    dag_id="example_piktid_job_events",
    schedule=[ENDED_SWAPS],
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    # As soon as it is switched on, it starts with every swap of the account.
    is_paused_upon_creation=True,
    tags=["piktid", "example"],
    params={"output_path": "/data/ended"},
):

    @task
    def ended(triggering_asset_events: Any = None) -> list[str]:
        return ended_job_ids(triggering_asset_events)

    PiktidDownloadOperator(task_id="download", job_ids=ended(), output_path="{{ params.output_path }}")
# [END howto_job_events]
