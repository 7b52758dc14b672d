# SPDX-License-Identifier: Apache-2.0
"""Nightly refreshes whose retries come soon, for the tests that kill parts of a cluster."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_piktid.task_groups.refresh import piktid_refresh

#: The second one has batches of the default size, 50 images.
for name, images_per_batch in (("nightly", 20), ("nightly_large", None)):
    with DAG(
        dag_id=name,
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        params={"source": "", "output_path": ""},
        default_args={"retries": 3, "retry_delay": timedelta(seconds=10)},
    ) as dag:
        piktid_refresh(
            source="{{ params.source }}",
            output_path="{{ params.output_path }}",
            identity_code="PiktidSummer",
            images_per_batch=images_per_batch,
            swap={"timeout": 1200},
        )
    globals()[name] = dag
