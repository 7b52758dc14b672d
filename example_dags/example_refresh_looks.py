# SPDX-License-Identifier: Apache-2.0
"""
Put the flat lays of each look on a model if a photograph of it is new or has changed.

Give it a `schedule` to run it every night, as `example_piktid_refresh` has.

**What to look at:** each folder below `source` is a look: one job, and one row in the catalogue, whose `sources` are
its photographs. `summary` has a link to the contact sheet in its **Details**: the flat lays of a look beside the
picture on the model. Trigger the DAG again: nothing is bought. Change a photograph, and its look is bought again.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_piktid.operators.flat_to_model import PiktidFlatToModelOperator
from airflow_provider_piktid.task_groups.refresh import piktid_refresh

#: Folder of the example files. `make ui` sets it; elsewhere the parameters name your own files.
DATA = os.environ.get("PIKTID_EXAMPLE_DATA", "/data")

with DAG(
    dag_id="example_piktid_refresh_looks",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    # A second run would plan, and buy, what the first one is about to download.
    max_active_runs=1,
    tags=["piktid", "example"],
    doc_md=__doc__,
    params={
        "source": Param(
            f"{DATA}/shoot", type="string", description="Folder or prefix with a folder for each look."
        ),
        "output_path": Param(
            f"{DATA}/looks-on-model",
            type="string",
            description="Folder or prefix of the outputs and of the catalogue, for this refresh only.",
        ),
        "identity_code": Param("PiktidSummer", type="string", description="The model that wears them."),
        "dry_run": Param(False, type="boolean", description="Only log what would be done, and its cost."),
    },
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
):
    # [START howto_piktid_refresh_looks]
    piktid_refresh(
        source="{{ params.source }}",
        output_path="{{ params.output_path }}",
        operator=PiktidFlatToModelOperator,
        identity_code="{{ params.identity_code }}",
        arguments={"instructions": [{"pose": "walking", "options": {"size": "1K"}}]},
        group_by="folder",
        dry_run="{{ params.dry_run }}",
    )
    # [END howto_piktid_refresh_looks]
