# SPDX-License-Identifier: Apache-2.0
"""Airflow settings of ``demo ui``: no DAG starts on its own at a time of day."""

from __future__ import annotations

from typing import Any

from airflow.sdk.definitions.timetables.simple import NullTimetable


def dag_policy(dag: Any) -> None:
    """Remove a schedule by time: a run that starts beside the clicked one would do its work."""
    if isinstance(dag.schedule, str):
        dag.timetable = NullTimetable()
