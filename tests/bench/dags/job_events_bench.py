# SPDX-License-Identifier: Apache-2.0
"""Write down which jobs each run was started for, in ``EVENTS_FOLDER``."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_piktid.assets import ended_job_ids, piktid_jobs_asset

ASSETS = {
    "streamed": piktid_jobs_asset("streamed", projects=["streamed"]),
    "hooked": piktid_jobs_asset("hooked", projects=["hooked"], watch=False),
}


@task
def note(triggering_asset_events: Any = None, ti: Any = None) -> None:
    folder = Path(os.environ["EVENTS_FOLDER"]) / ti.dag_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{abs(hash(ti.run_id))}.json").write_text(json.dumps(ended_job_ids(triggering_asset_events)))


for name, asset in ASSETS.items():
    for runs in (16, 1):
        with DAG(
            dag_id=f"{name}_{runs}",
            schedule=[asset],
            start_date=datetime(2026, 1, 1, tzinfo=UTC),
            max_active_runs=runs,
        ):
            note()
