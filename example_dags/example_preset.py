# SPDX-License-Identifier: Apache-2.0
"""
Read the style of one picture, and put flat lays on a model in this style.

**What to look at:** `style` returns an instruction, and its XCom `preset` is what PiktID read from the picture. `look`
uses the instruction; its outputs are in the folder `output_path`. Clear `style`: it returns the same again and pays
nothing.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.operators.flat_to_model import PiktidFlatToModelOperator
from airflow_provider_piktid.operators.preset import PiktidExtractPresetOperator
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator

#: Folder of the example files. `make ui` sets it; elsewhere the parameters name your own files.
DATA = os.environ.get("PIKTID_EXAMPLE_DATA", "/data")

with DAG(
    dag_id="example_piktid_preset",
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
        "style": Param(f"{DATA}/street.jpg", type="string", description="A picture in the style to follow."),
        "output_path": Param(f"{DATA}/styled", type="string", description="Folder or prefix of the outputs."),
    },
    # A retry re-attaches to what was paid for instead of paying again.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
):
    upload = PiktidUploadImagesOperator(task_id="upload", images="{{ params.images }}", project_name="styled")
    upload_style = PiktidUploadImagesOperator(
        task_id="upload_style", images="{{ params.style }}", project_name="styled"
    )

    # [START howto_operator_piktid_preset]
    style = PiktidExtractPresetOperator(
        task_id="style",
        file_id="{{ ti.xcom_pull(task_ids='upload_style', key='file_ids')[0] }}",
        override={"num_variations": 2, "options": {"size": "1K"}},
    )
    look = PiktidFlatToModelOperator(
        task_id="look",
        identity_code="PiktidSummer",
        project_id=upload.output["project_id"],
        images=upload.output["file_ids"],
        instructions=[style.output],
        max_credits=10,
        deferrable=True,
    )
    # [END howto_operator_piktid_preset]

    upload_style >> style
    PiktidDownloadOperator(
        task_id="download",
        job_ids=look.output,
        images=upload.output["images"],
        output_path="{{ params.output_path }}",
    )
