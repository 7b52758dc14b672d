# SPDX-License-Identifier: Apache-2.0
"""Download what has ended, reported by the stream or by the webhook, into ``EVENTS_FOLDER``."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_piktid.assets import ended_job_ids, piktid_jobs_asset
from airflow_provider_piktid.operators.download import PiktidDownloadOperator

FOLDER = os.environ.get("EVENTS_FOLDER", "/tmp")
ASSETS = {
    "streamed": piktid_jobs_asset("streamed", projects=["streamed"], gather=1),
    "hooked": piktid_jobs_asset("hooked", projects=["hooked"], watch=False),
    "both": piktid_jobs_asset("both", projects=["both"], gather=1),
}


@task
def ended(triggering_asset_events: Any = None) -> list[str]:
    return ended_job_ids(triggering_asset_events)


for name, asset in ASSETS.items():
    with DAG(dag_id=f"on_{name}", schedule=[asset], start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        PiktidDownloadOperator(
            task_id="download", job_ids=ended(), output_path=f"{FOLDER}/{name}", retries=3, retry_delay=1
        )
