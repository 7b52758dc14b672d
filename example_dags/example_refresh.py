# SPDX-License-Identifier: Apache-2.0
"""Swap only new and changed images of a bucket, every night."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Asset

from airflow_provider_piktid.task_groups.refresh import piktid_refresh

with DAG(
    dag_id="example_piktid_refresh",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    # A second run would plan, and buy, what the first one is about to download.
    max_active_runs=1,
    tags=["piktid", "example"],
    params={
        "source": "s3://aws_default@catalogue/photographs",
        "output_path": "s3://aws_default@catalogue-swapped/summer",
        "identity_code": "PiktidSummer",
        "max_images": 500,
        "dry_run": False,
    },
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
):
    # [START howto_operator_piktid_refresh]
    piktid_refresh(
        source="{{ params.source }}",
        output_path="{{ params.output_path }}",
        identity_code="{{ params.identity_code }}",
        max_images="{{ params.max_images }}",
        dry_run="{{ params.dry_run }}",
        exclude=["*_INTERNAL_*"],
        asset=Asset("s3://catalogue-swapped/summer"),
    )
    # [END howto_operator_piktid_refresh]
