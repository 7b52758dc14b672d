# SPDX-License-Identifier: Apache-2.0
"""
Replace a person in one picture by generated ones, for three locations.

Needs a connection `piktid_v1` with e-mail and password of a v1 account, or a v1 access token: the accounts of PiktID's
two APIs are separate. `make demo-person` runs it against the emulator, without a web interface.

**What to look at:** three pictures in the folder `output_path`, one for each location; the task returns them with
person and keyword. A generation starts every 15 seconds, as PiktID recommends. The emulator's page lists them under v1.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_piktid.operators.generate_person import PiktidGeneratePersonOperator

#: Folder of the example files. `make ui` sets it; elsewhere the parameters name your own files.
DATA = os.environ.get("PIKTID_EXAMPLE_DATA", "/data")

with DAG(
    dag_id="example_piktid_generate_person",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["piktid", "example"],
    doc_md=__doc__,
    params={
        "image": Param(
            f"{DATA}/street.jpg",
            type="string",
            description="Picture, such as `s3://conn_id@bucket/street.jpg`.",
        ),
        "output_path": Param(
            f"{DATA}/generated", type="string", description="Folder or prefix of the outputs."
        ),
        "persons": Param(
            "largest",
            type="string",
            description="Whom to replace: `largest`, `all`, or numbers such as `[0, 1]`.",
        ),
    },
    # A retry pays only for what is missing.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
):
    # [START howto_operator_piktid_generate_person]
    generate = PiktidGeneratePersonOperator(
        task_id="generate",
        piktid_conn_id="piktid_v1",
        image="{{ params.image }}",
        persons="{{ params.persons }}",
        keywords=["Oceania", "North Europe", {"Location": "East Asia"}],
        options={"seed": 7},
        output_path="{{ params.output_path }}",
        deferrable=True,
        timeout=900,
    )
    # [END howto_operator_piktid_generate_person]
