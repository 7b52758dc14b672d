# SPDX-License-Identifier: Apache-2.0
# [START first_night]
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_piktid.task_groups.refresh import piktid_refresh

with DAG(
    dag_id="nightly",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,
    params={"max_images": 500, "dry_run": False},
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
):
    piktid_refresh(
        source="s3://aws_default@shop/photographs",
        output_path="s3://aws_default@shop-swapped/summer",
        identity_code="PiktidSummer",
        max_images="{{ params.max_images }}",
        dry_run="{{ params.dry_run }}",
    )
# [END first_night]
