# SPDX-License-Identifier: Apache-2.0
"""Wait for a job that was started elsewhere, by its id, then download its outputs."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.sensors.job import PiktidJobSensor

with DAG(
    dag_id="example_piktid_sensor",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["piktid", "example"],
    params={"job_id": "job-id-from-the-dashboard", "output_path": "/data/rescued"},
):
    # [START howto_sensor_piktid_job]
    wait = PiktidJobSensor(
        task_id="wait",
        job_id="{{ params.job_id }}",
        deferrable=True,
        timeout=3600,
    )
    # [END howto_sensor_piktid_job]

    wait >> PiktidDownloadOperator(
        task_id="download",
        job_ids=["{{ params.job_id }}"],
        output_path="{{ params.output_path }}",
    )
