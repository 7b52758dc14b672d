# SPDX-License-Identifier: Apache-2.0
"""The DAG of a user, in a project of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.operators.model_swap import PiktidModelSwapOperator
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator

with DAG(
    dag_id="spring",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    params={"images": "/data/shoot", "output_path": "/data/swapped"},
    default_args={"retries": 1, "retry_delay": timedelta(0)},
):
    upload = PiktidUploadImagesOperator(task_id="upload", images="{{ params.images }}", project_name="spring")
    swap = PiktidModelSwapOperator(
        task_id="swap",
        identity_code="PiktidSummer",
        project_id=upload.output["project_id"],
        images=upload.output["file_ids"],
        lost_reply_grace=0.3,
        deferrable=True,
    )
    PiktidDownloadOperator(
        task_id="download",
        job_ids=swap.output,
        images=upload.output["images"],
        output_path="{{ params.output_path }}",
    )
