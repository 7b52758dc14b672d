# SPDX-License-Identifier: Apache-2.0
"""
Kill the current process once, at a given point of a paid job.

Used by DAG files in a running Airflow and by processes that replace workers. ``SIGKILL`` allows no cleanup,
like a lost machine or the out-of-memory killer.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from airflow_provider_piktid.common import records
from airflow_provider_piktid.common.records import Store
from airflow_provider_piktid.jobs.submission import JobRecord

#: Where a worker can kill itself. At the times in between it is killed by the test.
POINTS = ("before the intent", "after the intent", "before the record", "after the record")


def die_once(marker: Path) -> None:
    """Kill this process, unless ``marker`` exists."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str | None, marker: Path, submission: int = -1, kind: str | None = None) -> None:
    """
    Kill this process before or after the record of one submission is written.

    :param point: One of :data:`POINTS`; None or empty does nothing.
    :param marker: File that is created by the first kill; while it exists, nothing is killed.
    :param submission: Index of the submission in the record; default the last.
    :param kind: State key of the record; default any.
    """
    if not point or marker.exists():
        return
    if point not in POINTS:
        raise ValueError(f"{point!r} is none of {POINTS}")
    original = records.choose_store

    def choose_store(context: Any, state_path: Any, state_key: str, *arguments: Any, **options: Any) -> Any:
        store = original(context, state_path, state_key, *arguments, **options)
        return DyingStore(store, point, marker, submission) if kind in (None, state_key) else store

    # The process ends with this task, so nothing is put back.
    vars(records)["choose_store"] = choose_store


class DyingStore:
    """A store that kills its process before or after a given write."""

    def __init__(self, inner: Store[JobRecord], point: str, marker: Path, submission: int) -> None:
        self.durable, self.survives_clear = inner.durable, inner.survives_clear
        self._inner = inner
        self._when, _, self._what = point.partition(" the ")
        self._marker = marker
        self._submission = submission

    def load(self) -> JobRecord | None:
        return self._inner.load()

    def save(self, record: JobRecord) -> None:
        # A record has a request for each job, or one.
        requests = getattr(record, "submissions", None) or [getattr(record, "item", None)]
        state = getattr(requests[self._submission], "state", None)
        reached = state == ("intent" if self._what == "intent" else "submitted")
        if reached and self._when == "before":
            die_once(self._marker)
        self._inner.save(record)
        if reached and self._when == "after":
            die_once(self._marker)
