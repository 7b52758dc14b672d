# SPDX-License-Identifier: Apache-2.0
"""
Swap two identities into the same catalogue every night, each with its own output.

**What to look at:** each group has a `summary` with a link to its own contact sheet, in its **Details**. Each
photograph is bought once for each identity; trigger the DAG again, and nothing is bought.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_piktid.task_groups.refresh import piktid_refresh

with DAG(
    dag_id="example_piktid_refresh_identities",
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["piktid", "example"],
    doc_md=__doc__,
    params={
        "source": Param(
            "s3://aws_default@catalogue/photographs", type="string", description="Folder, prefix or glob."
        ),
        "output_path": Param(
            "s3://aws_default@catalogue-swapped",
            type="string",
            description="Folder or prefix, with a folder for each identity.",
        ),
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
