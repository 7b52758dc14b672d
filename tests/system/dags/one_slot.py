# SPDX-License-Identifier: Apache-2.0
"""A task that uses a worker slot for a moment."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG
from airflow.providers.standard.operators.bash import BashOperator

with DAG(dag_id="one_slot", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False):
    BashOperator(task_id="work", bash_command="true")
