# SPDX-License-Identifier: Apache-2.0
"""
Swap new images of a folder, let a person look at the contact sheet, and publish what was approved.

**What to look at:** the run stops at `approve`. Its **Required Actions** show where the contact sheet is and have two
buttons. After **Approve**, `publish` copies the new outputs to the folder `published`; after **Reject**, it is skipped,
and the outputs stay where they are. Trigger the DAG again: nothing is new, so nobody is asked.

Needs Airflow 3.1 with its standard provider. Elsewhere this file has no DAG: without the question, everything would be
published.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.exceptions import AirflowOptionalProviderFeatureException
from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_piktid.task_groups.refresh import piktid_refresh

try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
except (ImportError, AirflowOptionalProviderFeatureException):
    ApprovalOperator = None  # type: ignore[assignment,misc]

#: Folder of the example files. `make ui` sets it; elsewhere the parameters name your own files.
DATA = os.environ.get("PIKTID_EXAMPLE_DATA", "/data")

if ApprovalOperator is not None:
    with DAG(
        dag_id="example_piktid_approval",
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        tags=["piktid", "example"],
        doc_md=__doc__,
        params={
            "source": Param(f"{DATA}/shoot", type="string", description="Folder, prefix or glob."),
            "output_path": Param(
                f"{DATA}/for-approval", type="string", description="Folder or prefix of the outputs."
            ),
            "published": Param(f"{DATA}/published", type="string", description="Where approved outputs go."),
        },
        default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    ):
        refresh = piktid_refresh(
            source="{{ params.source }}",
            output_path="{{ params.output_path }}",
            identity_code="PiktidSummer",
            max_images=100,
        )

        # [START howto_piktid_approval]
        approve = ApprovalOperator(
            task_id="approve",
            subject="Publish the new pictures?",
            body="{{ ti.xcom_pull(task_ids='piktid_refresh.summary')['files'] }} pictures, side by side with their "
            "sources: {{ ti.xcom_pull(task_ids='piktid_refresh.summary')['contact_sheet'] }}",
            retries=0,
        )

        @task
        def publish(output_path: str, published: str, **context: object) -> int:
            """Copy the outputs of this run, and return their number."""
            from airflow.providers.common.compat.sdk import ObjectStoragePath

            from airflow_provider_piktid.refresh import read_rows

            run = context["ti"].xcom_pull(task_ids="piktid_refresh.summary")["run"]  # type: ignore[attr-defined]
            fresh = [
                row["file"] for row in read_rows(output_path) if row["run"] == run and row["status"] == "done"
            ]
            for file in fresh:
                target = ObjectStoragePath(f"{published}/{file}")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(ObjectStoragePath(f"{output_path}/{file}").read_bytes())
            return len(fresh)

        refresh >> approve >> publish("{{ params.output_path }}", "{{ params.published }}")
        # [END howto_piktid_approval]
