# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from airflow_provider_piktid.tasks.common import (
    delete_notifications,
    fetch_outcomes,
    push,
    run_bounded,
    steer,
)

__all__ = ["delete_notifications", "fetch_outcomes", "push", "run_bounded", "steer"]
