# SPDX-License-Identifier: Apache-2.0
"""
Swap the model on a folder of product photographs, and download the results.

Needs a connection `piktid_default`. `make demo` runs it against the emulator, without a web interface.

**What to look at:** the log of `swap` shows the job and its progress, its **Details** have a link to the job. The
outputs are in the folder `output_path`, mirrored like the source, with a manifest in its folder `_piktid`.
The page of the emulator shows each photograph beside its output; `make ui` prints its address.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.operators.model_swap import PiktidModelSwapOperator
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator

#: Folder of the example files. `make ui` sets it; elsewhere the parameters name your own files.
DATA = os.environ.get("PIKTID_EXAMPLE_DATA", "/data")

with DAG(
    dag_id="example_piktid_model_swap",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["piktid", "example"],
    doc_md=__doc__,
    params={
        "images": Param(
            f"{DATA}/shoot",
            type="string",
            description="Folder, prefix or glob of photographs, such as `s3://conn_id@bucket/shoot/`.",
        ),
        "output_path": Param(
            f"{DATA}/swapped", type="string", description="Folder or prefix of the outputs."
        ),
        "identity_code": Param("PiktidSummer", type="string", description="The model to swap in."),
        "project": Param("spring", type="string", description="Project of the uploads at PiktID."),
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
