# SPDX-License-Identifier: Apache-2.0
"""Retries in a running Airflow."""

from __future__ import annotations

import pytest

from tests.support.stack import AirflowStack

pytestmark = [pytest.mark.slow, pytest.mark.stack]


def test_policy_fails_permanent_errors_at_once(airflow: AirflowStack) -> None:
    """With the retry policy a permanent error ends a task in its first try, and another one is retried."""
    run = airflow.trigger("retried")
    assert airflow.wait_for_run("retried", run) == "failed"

    tries = {task["task_id"]: task["try_number"] for task in airflow.tasks("retried", run)}
    assert tries == {"permanent": 1, "transient": 2}
