# SPDX-License-Identifier: Apache-2.0
"""
Wait for a job that was started elsewhere, by its id, then download its outputs.

**What to look at:** `wait` submits nothing and costs nothing; its **Details** have a link to the job. The outputs are
in the folder `output_path`. `make ui` has started a job in the emulator whose id is set here.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.sensors.job import PiktidJobSensor

#: Folder of the example files. `make ui` sets it; elsewhere the parameters name your own files.
DATA = os.environ.get("PIKTID_EXAMPLE_DATA", "/data")

with DAG(
    dag_id="example_piktid_sensor",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["piktid", "example"],
    doc_md=__doc__,
    params={
        "job_id": Param(
            os.environ.get("PIKTID_EXAMPLE_JOB_ID", "job-id-from-the-dashboard"),
            type="string",
            description="Id of a job of this account, such as one that was started in PiktID's web application.",
        ),
        "output_path": Param(
            f"{DATA}/rescued", type="string", description="Folder or prefix of the outputs."
        ),
    },
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
