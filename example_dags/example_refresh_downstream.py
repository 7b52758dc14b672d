# SPDX-License-Identifier: Apache-2.0
"""Runs whenever the nightly refresh has brought something new, and reads its catalogue."""

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
):
    # [START howto_piktid_refresh_read]
    @task
    def publish(triggering_asset_events: Any = None) -> int:
        """Take every output of the runs that woke this one."""
        from airflow_provider_piktid.catalogue_store import read_rows

        events = [event for group in (triggering_asset_events or {}).values() for event in group]
        fresh = 0
        for event in events:
            told = event.extra
            rows = read_rows(told["output_path"])
            fresh += sum(row["run"] == told["run"] and row["status"] == "done" for row in rows)
        return fresh

    # [END howto_piktid_refresh_read]

    publish()
