# SPDX-License-Identifier: Apache-2.0
"""
Recolour the new and changed photographs of a folder, and make packshots of them.

Give it a `schedule` to run it every night, as `example_piktid_refresh` has.

**What to look at:** two refreshes run side by side, each with its own folder below `output_path`. Each `summary` has a
link to its contact sheet in its **Details**. A packshot is made by one of two instructions; the sheet and the rows of
the catalogue say which. Trigger the DAG again: both plans find nothing to buy.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_piktid.operators.packshot import PiktidPackshotOperator
from airflow_provider_piktid.operators.recolor import PiktidGarmentRecolorOperator
from airflow_provider_piktid.task_groups.refresh import piktid_refresh

#: Folder of the example files. `make ui` sets it; elsewhere the parameters name your own files.
DATA = os.environ.get("PIKTID_EXAMPLE_DATA", "/data")

with DAG(
    dag_id="example_piktid_refresh_garments",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    # A second run would plan, and buy, what the first one is about to download.
    max_active_runs=1,
    tags=["piktid", "example"],
    doc_md=__doc__,
    params={
        "source": Param(f"{DATA}/shoot", type="string", description="Folder, prefix or glob of photographs."),
        "output_path": Param(
            f"{DATA}/garments-refreshed",
            type="string",
            description="Folder or prefix; each refresh has a folder of its own below it.",
        ),
        "colour": Param("emerald green", type="string", description="The new colour of the garments."),
    },
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
):
    # [START howto_piktid_refresh_types]
    piktid_refresh(
        group_id="recoloured",
        source="{{ params.source }}",
        output_path="{{ params.output_path }}/recoloured",
        operator=PiktidGarmentRecolorOperator,
        arguments={"reference_text": "{{ params.colour }}", "garment_label": "jacket", "max_credits": 500},
    )
    piktid_refresh(
        group_id="packshots",
        source="{{ params.source }}",
        output_path="{{ params.output_path }}/packshots",
        operator=PiktidPackshotOperator,
        arguments={
            "instructions": [
                {"style": "white_cutout", "options": {"size": "1K"}},
                {"style": "ghost_mannequin", "background": "light grey", "options": {"size": "1K"}},
            ],
        },
    )
    # [END howto_piktid_refresh_types]
