# SPDX-License-Identifier: Apache-2.0
"""
Make packshots of a product and recolour its photographs, side by side, from one upload.

**What to look at:** `packshots` combines all photographs of the folder into each output, `red` makes one output of each
photograph. Both are below `output_path`, each with a manifest in its folder `_piktid`. The page of the emulator shows
them beside the photographs; `make ui` prints its address.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.operators.packshot import PiktidPackshotOperator
from airflow_provider_piktid.operators.recolor import PiktidGarmentRecolorOperator
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator

#: Folder of the example files. `make ui` sets it; elsewhere the parameters name your own files.
DATA = os.environ.get("PIKTID_EXAMPLE_DATA", "/data")

with DAG(
    dag_id="example_piktid_garments",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["piktid", "example"],
    doc_md=__doc__,
    params={
        "images": Param(
            f"{DATA}/shoot/look-1", type="string", description="Photographs of one product, at most 10."
        ),
        "output_path": Param(
            f"{DATA}/garments", type="string", description="Folder or prefix of the outputs."
        ),
        "colour": Param("burgundy red", type="string", description="What to recolour the garment to."),
    },
    # A retry re-attaches to the submitted jobs instead of paying again.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
):
    upload = PiktidUploadImagesOperator(
        task_id="upload", images="{{ params.images }}", project_name="garments"
    )

    # [START howto_operator_piktid_packshot]
    packshots = PiktidPackshotOperator(
        task_id="packshots",
        project_id=upload.output["project_id"],
        images=upload.output["file_ids"],
        instructions=[
            {"style": "white_cutout", "framing": "square_packshot", "options": {"size": "1K"}},
            {"style": "flat_lay", "background": "oak", "num_variations": 2},
        ],
        max_credits=20,
        deferrable=True,
    )
    # [END howto_operator_piktid_packshot]

    # [START howto_operator_piktid_recolor]
    red = PiktidGarmentRecolorOperator(
        task_id="red",
        project_id=upload.output["project_id"],
        images=upload.output["file_ids"],
        reference_text="{{ params.colour }}",
        garment_label="jacket",
        max_credits=50,
        deferrable=True,
    )
    # [END howto_operator_piktid_recolor]

    for name, jobs in {"packshots": packshots, "red": red}.items():
        PiktidDownloadOperator(
            task_id=f"download_{name}",
            job_ids=jobs.output,
            images=upload.output["images"],
            output_path=f"{{{{ params.output_path }}}}/{name}",
        )
