# SPDX-License-Identifier: Apache-2.0
"""Upload your own face as an identity, and swap it into images."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.operators.identity import PiktidUploadIdentityOperator
from airflow_provider_piktid.operators.model_swap import PiktidModelSwapOperator
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator

with DAG(
    dag_id="example_piktid_identity",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["piktid", "example"],
    params={"face": "/data/faces/anna.jpg", "images": "/data/shoot", "output_path": "/data/anna"},
):
    # [START howto_operator_piktid_identity]
    identity = PiktidUploadIdentityOperator(
        task_id="identity",
        image="{{ params.face }}",
        name="Anna",
        wait_for_preprocessing=True,
    )
    # [END howto_operator_piktid_identity]

    upload = PiktidUploadImagesOperator(task_id="upload", images="{{ params.images }}", project_name="anna")
    swap = PiktidModelSwapOperator(
        task_id="swap",
        identity_code=identity.output,
        project_id=upload.output["project_id"],
        images=upload.output["file_ids"],
        deferrable=True,
    )
    PiktidDownloadOperator(
        task_id="download",
        job_ids=swap.output,
        images=upload.output["images"],
        output_path="{{ params.output_path }}",
    )
