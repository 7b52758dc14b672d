# SPDX-License-Identifier: Apache-2.0
"""
Download the results of every model swap that ends, wherever it was started. Airflow 3.

**What to look at:** switch it on, then trigger `example_piktid_model_swap`: when its job ends, this DAG starts by
itself and downloads the outputs into the folder `output_path`. Triggered by hand, it downloads `job_ids`.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_piktid.assets import ended_job_ids, piktid_jobs_asset
from airflow_provider_piktid.operators.download import PiktidDownloadOperator

#: Folder of the example files, and a job. `make ui` sets them; elsewhere the parameters name your own.
DATA = os.environ.get("PIKTID_EXAMPLE_DATA", "/data")
JOB_IDS = os.environ.get("PIKTID_EXAMPLE_JOB_ID", "").split()

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
    doc_md=__doc__,
    params={
        "output_path": Param(f"{DATA}/ended", type="string", description="Folder or prefix of the outputs."),
        "job_ids": Param(
            JOB_IDS, type="array", description="Jobs to download if the run is started by hand."
        ),
    },
):

    @task
    def ended(params: Any = None, triggering_asset_events: Any = None) -> list[str]:
        return ended_job_ids(triggering_asset_events) or params["job_ids"]

    PiktidDownloadOperator(task_id="download", job_ids=ended(), output_path="{{ params.output_path }}")
# [END howto_job_events]
