# SPDX-License-Identifier: Apache-2.0
"""
Swap only new and changed images of a bucket, every night.

**What to look at:** `summary` has a link to the contact sheet, sources and outputs side by side, in its **Details**.
Trigger the DAG again: `plan` finds nothing to buy, and says so in its log. The outputs and the catalogue are below
`output_path`. `dry_run` shows in the log of `plan` what a night would cost.

In `make ui` the bucket is that of a local S3 server, and the DAG runs only when it is triggered.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Asset, Param

from airflow_provider_piktid.task_groups.refresh import piktid_refresh

with DAG(
    dag_id="example_piktid_refresh",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    # A second run would plan, and buy, what the first one is about to download.
    max_active_runs=1,
    tags=["piktid", "example"],
    doc_md=__doc__,
    params={
        "source": Param(
            "s3://aws_default@catalogue/photographs",
            type="string",
            description="Folder, prefix or glob; `aws_default` is the connection to the bucket `catalogue`.",
        ),
        "output_path": Param(
            "s3://aws_default@catalogue-swapped/summer",
            type="string",
            description="Folder or prefix of the outputs and of the catalogue, for this refresh only.",
        ),
        "identity_code": Param("PiktidSummer", type="string", description="The model to swap in."),
        "max_images": Param(
            500, type="integer", minimum=1, description="The most images that one night buys."
        ),
        "dry_run": Param(False, type="boolean", description="Only log what would be done, and its cost."),
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
