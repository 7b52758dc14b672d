# SPDX-License-Identifier: Apache-2.0
"""
Create a person who does not exist, and swap this person into images.

**What to look at:** `person` buys three drafts and promotes the first one, which costs 50 credits; its XCom has
`identity_code`, and `drafts` with a number for each. The drafts are in the folder `drafts` below `output_path`, the
outputs of the swap in `swapped`. The page of the emulator shows drafts and identity; `make ui` prints its address.

To choose a draft yourself, leave `promote` out, look at the drafts, and use `PiktidPromoteIdentityOperator`.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.operators.identity import PiktidCreateIdentityOperator
from airflow_provider_piktid.operators.model_swap import PiktidModelSwapOperator
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator

#: Folder of the example files. `make ui` sets it; elsewhere the parameters name your own files.
DATA = os.environ.get("PIKTID_EXAMPLE_DATA", "/data")

with DAG(
    dag_id="example_piktid_create_identity",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["piktid", "example"],
    doc_md=__doc__,
    params={
        "images": Param(f"{DATA}/shoot", type="string", description="Folder, prefix or glob of photographs."),
        "output_path": Param(
            f"{DATA}/created", type="string", description="Folder or prefix of the outputs."
        ),
        "name": Param("Spring model", type="string", description="Name of the new identity."),
    },
    # A retry re-attaches to drafts and identity instead of paying again.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
):
    # [START howto_operator_piktid_create_identity]
    person = PiktidCreateIdentityOperator(
        task_id="person",
        instructions=[
            {
                "appearance": {"gender": "female", "age": 28, "expression": "relaxed"},
                "hair": {"color": "chestnut brown", "length": "long"},
                "num_variations": 3,
                "options": {"size": "1K", "ar": "3:4"},
            }
        ],
        name="{{ params.name }}",
        promote=0,
        max_credits=60,
        deferrable=True,
    )
    # [END howto_operator_piktid_create_identity]

    upload = PiktidUploadImagesOperator(
        task_id="upload", images="{{ params.images }}", project_name="new-person"
    )
    swap = PiktidModelSwapOperator(
        task_id="swap",
        identity_code=person.output["identity_code"],
        project_id=upload.output["project_id"],
        images=upload.output["file_ids"],
        deferrable=True,
    )
    PiktidDownloadOperator(
        task_id="download_drafts", job_ids=person.output, output_path="{{ params.output_path }}/drafts"
    )
    PiktidDownloadOperator(
        task_id="download",
        job_ids=swap.output,
        images=upload.output["images"],
        output_path="{{ params.output_path }}/swapped",
    )
