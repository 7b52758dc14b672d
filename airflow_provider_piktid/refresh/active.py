# SPDX-License-Identifier: Apache-2.0
"""
One run at a time for each output folder.

The plan writes ``_piktid/active.json``, and the summary removes it. If it is still there, Airflow is asked whether the
DAG run that wrote it has ended: a killed run, or a lost metadata database, does not stop the next one. Stores have no
compare-and-swap: of two plans that write within the same moment, both may go on.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from airflow_provider_piktid.exceptions import PiktidRecordError
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.storage import Location

log = logging.getLogger(__name__)

NAME = "active.json"

#: A run of which Airflow cannot tell whether it has ended stops others for this long.
UNKNOWN_SECONDS = 12 * 3600.0

#: States of a DAG run that still works, or will.
RUNNING = frozenset({"running", "queued", "restarting"})


@dataclass(frozen=True)
class ActiveRun:
    """
    The run that works on an output folder.

    :param task_id: Its plan.
    :param since: When the plan started, epoch seconds.
    """

    dag_id: str
    run_id: str
    task_id: str
    since: float

    def is_same(self, other: ActiveRun) -> bool:
        """Whether two are tries of the same plan of the same DAG run."""
        return (self.dag_id, self.run_id, self.task_id) == (other.dag_id, other.run_id, other.task_id)


@contextlib.contextmanager
def working(private: Location, ti: Any) -> Iterator[None]:
    """
    Note that this run works on the output folder, until its summary; a plan that fails takes the note back.

    :raises PiktidRecordError: Another run works on it.
    """
    begin_run(private, ti)
    try:
        yield
    except Exception:
        end_run(private, ti, ti.task_id)
        raise


def begin_run(private: Location, ti: Any) -> None:
    """
    Note that this run works on the output folder.

    :param private: Folder of the refresh's own files.
    :raises PiktidRecordError: Another run does, and a retry may find that it has ended; or the folder cannot be
        written.
    """
    mine = ActiveRun(ti.dag_id, ti.run_id, ti.task_id, time.time())
    other = _read(private)
    if other is not None and not other.is_same(mine) and _is_running(other, ti):
        raise _busy(private, other)
    _write(private, mine)
    other = _read(private)
    if other is not None and not other.is_same(mine):
        raise _busy(private, other)


def end_run(private: Location, ti: Any, plan_task_id: str) -> None:
    """Remove the note of this run."""
    mine = ActiveRun(ti.dag_id, ti.run_id, plan_task_id, 0.0)
    other = _read(private)
    if other is not None and other.is_same(mine):
        place = private.join(NAME)
        place.fs.rm_file(place.path)


def _read(private: Location) -> ActiveRun | None:
    place = private.join(NAME)
    try:
        found = storage.read_json(place)
        return None if found is None else ActiveRun(**found)
    except (TypeError, ValueError):
        log.warning("%s is damaged and does not count.", place.uri)
        return None


def _write(private: Location, run: ActiveRun) -> None:
    place = private.join(NAME)
    try:
        storage.write_bytes(place, json.dumps(asdict(run)).encode())
    except OSError as error:
        raise PiktidRecordError(
            f"{place.uri} cannot be written ({type(error).__name__}). Make `output_path` writable for the workers. "
            "Nothing was submitted."
        ) from error


def _busy(private: Location, other: ActiveRun) -> PiktidRecordError:
    minutes = max(0.0, time.time() - other.since) / 60
    return PiktidRecordError(
        f"DAG run {other.run_id} of {other.dag_id} ({other.task_id}) has worked on this output folder for "
        f"{minutes:.0f} minutes. Nothing was submitted. Wait until it ends, and use `max_active_runs=1`; if it does "
        f"not run, remove {private.join(NAME).uri}."
    )


def _is_running(other: ActiveRun, ti: Any) -> bool:
    """Ask Airflow whether a DAG run still works; where it cannot tell, a run is taken to have ended by its age."""
    try:
        state = _state(other, ti)
    except Exception as error:  # noqa: BLE001 - any failure of Airflow's API means "not known"
        log.warning("Airflow does not tell the state of DAG run %s (%s).", other.run_id, type(error).__name__)
        return time.time() - other.since < UNKNOWN_SECONDS
    return state in RUNNING


def _state(other: ActiveRun, ti: Any) -> str | None:
    """Return the state of a DAG run; None if Airflow does not know it."""
    if not hasattr(ti, "get_dagrun_state"):
        return _state_in_database(other)
    try:
        return str(ti.get_dagrun_state(other.dag_id, other.run_id))
    except Exception as error:
        if _is_not_found(error):
            return None
        raise


def _is_not_found(error: Exception) -> bool:
    """Return whether the task SDK does not know the DAG run, as after a deletion or a lost metadata database."""
    detail = getattr(getattr(error, "error", None), "detail", None)
    return isinstance(detail, dict) and detail.get("status_code") == 404


def _state_in_database(other: ActiveRun) -> str | None:
    """Read the state as a worker of Airflow 2 may."""
    from airflow.models.dagrun import DagRun

    found = DagRun.find(dag_id=other.dag_id, run_id=other.run_id)
    return str(found[0].state) if found else None
