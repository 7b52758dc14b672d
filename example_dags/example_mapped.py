# SPDX-License-Identifier: Apache-2.0
"""
Map the tasks over folders: each folder is uploaded, swapped and downloaded on its own.

**What to look at:** the grid shows two instances of each task, named after their folders. If one fails, clear only
that one. The outputs are in the folder `output_path`, in one folder for each shoot.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.operators.model_swap import PiktidModelSwapOperator
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator

SHOOTS = ["shirts", "dresses"]

#: Folder of the example files. `make ui` sets it; elsewhere the parameters name your own files.
DATA = os.environ.get("PIKTID_EXAMPLE_DATA", "/data")

with DAG(
    dag_id="example_piktid_mapped",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["piktid", "example"],
    doc_md=__doc__,
    params={
        "root": Param(
            f"{DATA}/shoots", type="string", description="Folder or prefix with a folder for each shoot."
        ),
        "output_path": Param(f"{DATA}/mapped", type="string", description="Folder or prefix of the outputs."),
        "shoots": Param(SHOOTS, type="array", description="Names of the folders, in the order of the tasks."),
    },
    # A retry re-attaches to the submitted jobs instead of paying again.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
):
    # [START howto_piktid_mapped]
    upload = PiktidUploadImagesOperator.partial(
        task_id="upload",
        map_index_template="{{ task.project_name }}",
    ).expand_kwargs([{"images": "{{ params.root }}/" + name, "project_name": name} for name in SHOOTS])

    swap = PiktidModelSwapOperator.partial(
        task_id="swap",
        identity_code="PiktidSummer",
        deferrable=True,
        max_images=100,
    ).expand_kwargs(
        upload.output.map(lambda row: {"project_id": row["project_id"], "images": row["file_ids"]})
    )

    PiktidDownloadOperator.partial(
        task_id="download",
        # One folder per shoot: images of two shoots may have the same name.
        output_path="{{ params.output_path }}/{{ params.shoots[ti.map_index] }}",
    ).expand_kwargs(
        swap.output.zip(upload.output).map(lambda pair: {"job_ids": pair[0], "images": pair[1]["images"]})
    )
    # [END howto_piktid_mapped]
