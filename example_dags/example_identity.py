# SPDX-License-Identifier: Apache-2.0
"""
Upload your own face as an identity, and swap it into images.

**What to look at:** `identity` returns the code of the new identity, which the emulator's page lists with its face. The
outputs of the swap are in the folder `output_path`. A second run uses the identity that exists and uploads none.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.operators.identity import PiktidUploadIdentityOperator
from airflow_provider_piktid.operators.model_swap import PiktidModelSwapOperator
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator

#: Folder of the example files. `make ui` sets it; elsewhere the parameters name your own files.
DATA = os.environ.get("PIKTID_EXAMPLE_DATA", "/data")

with DAG(
    dag_id="example_piktid_identity",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["piktid", "example"],
    doc_md=__doc__,
    params={
        "face": Param(f"{DATA}/faces/anna.jpg", type="string", description="Picture with exactly one face."),
        "images": Param(f"{DATA}/shoot", type="string", description="Folder, prefix or glob of photographs."),
        "output_path": Param(f"{DATA}/anna", type="string", description="Folder or prefix of the outputs."),
    },
    # A retry re-attaches to the submitted jobs instead of paying again.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
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
