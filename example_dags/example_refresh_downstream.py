# SPDX-License-Identifier: Apache-2.0
"""
Run after each nightly refresh with new outputs, and read its catalogue.

**What to look at:** trigger `example_piktid_refresh`; when it has bought something, this DAG starts by itself, and
`publish` returns the new outputs. Triggered by hand, it returns none, as no refresh has sent an event.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, task

with DAG(
    dag_id="example_piktid_refresh_downstream",
    # [START howto_piktid_refresh_downstream]
    schedule=[Asset("s3://catalogue-swapped/summer")],
    # [END howto_piktid_refresh_downstream]
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["piktid", "example"],
    doc_md=__doc__,
):
    # [START howto_piktid_refresh_read]
    @task
    def publish(**context: Any) -> list[str]:
        """Return the outputs of the runs that triggered this one."""
        from airflow_provider_piktid.refresh import read_rows

        # Airflow 2.11 calls assets datasets.
        triggering = context.get("triggering_asset_events") or context.get("triggering_dataset_events") or {}
        fresh = []
        for run in [event.extra for events in triggering.values() for event in events]:
            rows = read_rows(run["output_path"])
            fresh += [row["file"] for row in rows if row["run"] == run["run"] and row["status"] == "done"]
        return fresh

    # [END howto_piktid_refresh_read]

    publish()
