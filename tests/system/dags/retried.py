# SPDX-License-Identifier: Apache-2.0
"""Two tasks with the retry policy, for the system tests: one error is permanent, the other is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_piktid.exceptions import PiktidAuthError, PiktidConnectionError
from airflow_provider_piktid.retries import RETRIES, PiktidRetryPolicy

with DAG(
    dag_id="retried",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={
        **RETRIES,
        "retries": 1,
        "retry_delay": timedelta(seconds=1),
        "retry_policy": PiktidRetryPolicy(),
    },
):

    @task
    def permanent() -> None:
        raise PiktidAuthError("the token is refused", status=401)

    @task
    def transient() -> None:
        raise PiktidConnectionError("PiktID does not answer")

    permanent()
    transient()
