# SPDX-License-Identifier: Apache-2.0
"""
Regenerate the failed images of a batch once, and download the newest versions.

**What to look at:** `repair` regenerates only what failed, so if all images of the swap succeeded, it costs nothing and
its log says so. The outputs are in the folder `output_path`; the emulator's page shows the version of each.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.operators.model_swap import PiktidModelSwapOperator
from airflow_provider_piktid.operators.regenerate import PiktidRegenerateOperator
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator

#: Folder of the example files. `make ui` sets it; elsewhere the parameters name your own files.
DATA = os.environ.get("PIKTID_EXAMPLE_DATA", "/data")

with DAG(
    dag_id="example_piktid_regenerate",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["piktid", "example"],
    doc_md=__doc__,
    params={
        "images": Param(f"{DATA}/shoot", type="string", description="Folder, prefix or glob of photographs."),
        "output_path": Param(
            f"{DATA}/repaired", type="string", description="Folder or prefix of the outputs."
        ),
    },
    # A retry re-attaches to the submitted jobs instead of paying again.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
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
