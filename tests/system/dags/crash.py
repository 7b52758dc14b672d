# SPDX-License-Identifier: Apache-2.0
"""A swap and a download whose workers kill themselves at a given point, or are killed by the test."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.operators.model_swap import PiktidModelSwapOperator
from tests.support import crash


def prepare(context: Any) -> None:
    """Write the process ids of the task and its supervisor, and set up the planned kill."""
    params = context["params"]
    note = Path(params["folder"]) / f"{context['ti'].task_id}.pids"
    fresh = note.with_suffix(".new")
    fresh.write_text(f"{os.getpid()} {os.getppid()}")
    fresh.replace(note)
    crash.arm(params["point"], Path(params["folder"]) / "died")


class MortalSwap(PiktidModelSwapOperator):
    """A swap that may be killed."""

    def execute(self, context: Any) -> Any:
        prepare(context)
        return super().execute(context)


class MortalDownload(PiktidDownloadOperator):
    """A download that may be killed."""

    def execute(self, context: Any) -> Any:
        prepare(context)
        return super().execute(context)


for name, deferrable in (("crash_deferred", True), ("crash_sync", False)):
    with DAG(
        dag_id=name,
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        render_template_as_native_obj=True,
        default_args={"retries": 2, "retry_delay": timedelta(seconds=1)},
        params={"folder": "", "point": "", "project_id": "", "images": [], "state_path": ""},
    ) as dag:
        swap = MortalSwap(
            task_id="swap",
            identity_code="PiktidSummer",
            project_id="{{ params.project_id }}",
            images="{{ params.images }}",
            state_path="{{ params.state_path }}",
            deferrable=deferrable,
            timeout=90,
            lost_reply_grace=2,
        )
        MortalDownload(
            task_id="download",
            job_ids=swap.output,
            output_path="{{ params.folder }}/output",
            max_concurrency=1,
        )
    globals()[name] = dag
