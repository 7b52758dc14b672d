# SPDX-License-Identifier: Apache-2.0
"""
Put the garments of a folder of flat lays on a model.

**What to look at:** all photographs of the folder go into each of the three outputs. These are in the folder
`output_path`, with a manifest in its folder `_piktid` that lists the photographs of each one. The page of the emulator
shows them beside the outputs; `make ui` prints its address.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.operators.flat_to_model import PiktidFlatToModelOperator
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator

#: Folder of the example files. `make ui` sets it; elsewhere the parameters name your own files.
DATA = os.environ.get("PIKTID_EXAMPLE_DATA", "/data")

with DAG(
    dag_id="example_piktid_flat_to_model",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["piktid", "example"],
    doc_md=__doc__,
    params={
        "images": Param(
            f"{DATA}/shoot/look-1",
            type="string",
            description="Photographs of the garments of one look, at most 10.",
        ),
        "output_path": Param(f"{DATA}/looks", type="string", description="Folder or prefix of the outputs."),
        "identity_code": Param("PiktidSummer", type="string", description="The model that wears them."),
    },
    # A retry re-attaches to the submitted job instead of paying again.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
):
    upload = PiktidUploadImagesOperator(task_id="upload", images="{{ params.images }}", project_name="looks")

    # [START howto_operator_piktid_flat_to_model]
    look = PiktidFlatToModelOperator(
        task_id="look",
        identity_code="{{ params.identity_code }}",
        project_id=upload.output["project_id"],
        images=upload.output["file_ids"],
        instructions=[
            {"pose": "walking", "background": "a quiet street", "num_variations": 2},
            {"prompt": "close-up of the collar", "options": {"size": "1K", "ar": "1:1"}},
        ],
        max_credits=20,
        deferrable=True,
    )
    # [END howto_operator_piktid_flat_to_model]

    download = PiktidDownloadOperator(
        task_id="download",
        job_ids=look.output,
        images=upload.output["images"],
        output_path="{{ params.output_path }}",
    )
