# SPDX-License-Identifier: Apache-2.0
"""
Replace two persons in one picture by generated ones, for three locations each.

Needs a connection ``piktid_default`` with e-mail and password of a v1 account, or a v1 access token.
``make demo-person`` runs it against the emulator.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_piktid.operators.generate_person import PiktidGeneratePersonOperator

with DAG(
    dag_id="example_piktid_generate_person",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["piktid", "example"],
    params={
        "image": "/data/street.jpg",  # or s3://conn_id@bucket/street.jpg
        "output_path": "/data/generated",
        "persons": "[0, 1]",  # or all, or largest
    },
    # A retry pays only for what is missing.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
):
    # [START howto_operator_piktid_generate_person]
    generate = PiktidGeneratePersonOperator(
        task_id="generate",
        image="{{ params.image }}",
        persons="{{ params.persons }}",
        keywords=["Oceania", "North Europe", {"Location": "East Asia"}],
        options={"seed": 7},
        output_path="{{ params.output_path }}",
        deferrable=True,
        timeout=900,
    )
    # [END howto_operator_piktid_generate_person]
