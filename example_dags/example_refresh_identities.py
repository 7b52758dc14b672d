# SPDX-License-Identifier: Apache-2.0
"""Swap two identities into the same catalogue every night, each with its own output."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_piktid.task_groups.refresh import piktid_refresh

with DAG(
    dag_id="example_piktid_refresh_identities",
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["piktid", "example"],
    params={
        "source": "s3://aws_default@catalogue/photographs",
        "output_path": "s3://aws_default@catalogue-swapped",
    },
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
):
    # [START howto_piktid_refresh_identities]
    for name in ("PiktidSummer", "PiktidPremium"):
        piktid_refresh(
            group_id=name,
            source="{{ params.source }}",
            output_path="{{ params.output_path }}/" + name,
            identity_code=name,
        )
    # [END howto_piktid_refresh_identities]
