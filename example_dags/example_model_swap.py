# SPDX-License-Identifier: Apache-2.0
"""
Swap the model on a folder of product photographs, and download the results.

Needs a connection ``piktid_default``. ``make demo`` runs it against the emulator.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.operators.model_swap import PiktidModelSwapOperator
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator

with DAG(
    dag_id="example_piktid_model_swap",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["piktid", "example"],
    params={
        # A folder, prefix or glob, such as s3://conn_id@bucket/shoot/
        "images": os.environ.get("PIKTID_EXAMPLE_IMAGES", "/data/shoot"),
        "output_path": os.environ.get("PIKTID_EXAMPLE_OUTPUT", "/data/swapped"),
        "identity_code": "PiktidSummer",
        "project": "spring",
    },
    # A retry re-attaches to the submitted jobs instead of paying again.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
):
    # [START howto_operator_piktid_upload]
    upload = PiktidUploadImagesOperator(
        task_id="upload",
        images="{{ params.images }}",
        project_name="{{ params.project }}",
        exclude=["*_INTERNAL_*", "*_NONMODEL_*"],
    )
    # [END howto_operator_piktid_upload]

    # [START howto_operator_piktid_model_swap]
    swap = PiktidModelSwapOperator(
        task_id="swap",
        identity_code="{{ params.identity_code }}",
        project_id=upload.output["project_id"],
        images=upload.output["file_ids"],
        add_ai_watermark=True,
        deferrable=True,
        timeout=1800,
    )
    # [END howto_operator_piktid_model_swap]

    # [START howto_operator_piktid_download]
    download = PiktidDownloadOperator(
        task_id="download",
        job_ids=swap.output,
        images=upload.output["images"],
        output_path="{{ params.output_path }}",
    )
    # [END howto_operator_piktid_download]
