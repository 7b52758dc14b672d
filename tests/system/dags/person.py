# SPDX-License-Identifier: Apache-2.0
"""Generated persons with a short stagger, for the system tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_piktid.operators.generate_person import PiktidGeneratePersonOperator

with DAG(
    dag_id="person",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={"image": "", "output_path": ""},
    default_args={"retries": 2, "retry_delay": timedelta(seconds=1)},
):
    PiktidGeneratePersonOperator(
        task_id="generate",
        image="{{ params.image }}",
        persons=[0, 1],
        keywords=["Oceania", "East Asia"],
        output_path="{{ params.output_path }}",
        stagger=2,
        timeout=120,
        deferrable=True,
    )
