# SPDX-License-Identifier: Apache-2.0
"""Regenerate the failed images of a batch once, and download the newest versions."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.operators.model_swap import PiktidModelSwapOperator
from airflow_provider_piktid.operators.regenerate import PiktidRegenerateOperator
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator

with DAG(
    dag_id="example_piktid_regenerate",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["piktid", "example"],
    params={
        "images": os.environ.get("PIKTID_EXAMPLE_IMAGES", "/data/shoot"),
        "output_path": os.environ.get("PIKTID_EXAMPLE_OUTPUT", "/data/swapped"),
    },
):
    upload = PiktidUploadImagesOperator(
        task_id="upload", images="{{ params.images }}", project_name="repaired"
    )
    swap = PiktidModelSwapOperator(
        task_id="swap",
        identity_code="PiktidSummer",
        project_id=upload.output["project_id"],
        images=upload.output["file_ids"],
        deferrable=True,
    )
    # [START howto_operator_piktid_regenerate]
    repair = PiktidRegenerateOperator(
        task_id="repair",
        job_ids=swap.output,
        max_images=20,
        fail_on_partial=False,
        deferrable=True,
    )
    # [END howto_operator_piktid_regenerate]
    PiktidDownloadOperator(
        task_id="download",
        job_ids=repair.output,
        images=upload.output["images"],
        output_path="{{ params.output_path }}",
    )
