# SPDX-License-Identifier: Apache-2.0
"""
The thirty jobs of the benchmark ``admission`` in a running Airflow.

Airflow takes a second or two to resume a task after its event, once per window; therefore the window is
longer here. ``--quick`` skips this benchmark.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench.admission import IMAGES_PER_JOB, TIMES_THE_BOUND, WORKER_SLOTS, prepare
from tests.bench.process import emulator
from tests.bench.rows import Row, at_most, told
from tests.support.admission import Account, makespan
from tests.support.service import connection_json
from tests.support.stack import ENDED, AirflowStack, emulator_call

DAGS = Path(__file__).parent / "dags" / "admission_bench.py"
ACCOUNT = Account(jobs_per_minute=5, rate_window=24.0, active_jobs=5, job_seconds=12.0)
JOBS = 30
WAYS = {"one_task": "PIKTID_ONE", "mapped": "PIKTID_MAPPED"}


def run(*, quick: bool = False) -> list[Row]:
    """Run both DAGs in parallel, each with its own account."""
    if quick:
        return []
    with ExitStack() as stack:
        urls = {
            dag: stack.enter_context(emulator(*ACCOUNT.emulator_options, "--credits", "10000"))
            for dag in WAYS
        }
        connections = {
            f"AIRFLOW_CONN_{name}": connection_json(urls[dag], **ACCOUNT.extra) for dag, name in WAYS.items()
        }
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        airflow = stack.enter_context(
            AirflowStack(home / "airflow", [DAGS], parallelism=WORKER_SLOTS, environment=connections)
        )
        runs = {}
        for dag, url in urls.items():
            project, images = prepare(url, JOBS)
            runs[dag] = airflow.trigger(dag, project_id=project, images=images)
        looks = _watch(airflow, runs)
        return [row for dag in WAYS for row in _rows(airflow, dag, runs[dag], urls[dag])] + [looks]


def _watch(airflow: AirflowStack, runs: dict[str, str]) -> Row:
    """Wait for the runs and count the used worker slots meanwhile."""
    occupied: list[int] = []

    def ended() -> bool:
        occupied.append(int(airflow.get("pools/default_pool")["occupied_slots"]))
        return all(airflow.run_state(dag, run) in ENDED for dag, run in runs.items())

    airflow.wait(ended, "the runs to end", seconds=300, interval=0.5)
    free = sum(count == 0 for count in occupied) / len(occupied)
    return told("Airflow: time in which no slot was taken", 100 * free, "%", f"{len(occupied)} looks")


def _rows(airflow: AirflowStack, dag: str, run: str, url: str) -> list[Row]:
    ledger: list[dict[str, Any]] = emulator_call(url, "ledger")["jobs"]
    states = airflow.task_states(dag, run, "swap")
    if len(ledger) != JOBS or any(len(job["images"]) != IMAGES_PER_JOB for job in ledger):
        raise RuntimeError(f"{dag}: {len(ledger)} jobs were made instead of {JOBS}")
    took, bound = makespan(ledger), ACCOUNT.bound(JOBS)
    name = {"one_task": f"Airflow, one task, {JOBS} jobs", "mapped": f"Airflow, {JOBS} mapped tasks"}[dag]
    return [
        at_most(
            f"{name}: makespan over bound",
            took / bound,
            TIMES_THE_BOUND,
            "x",
            f"{took:.0f} s, bound {bound:g} s",
        ),
        at_most(f"{name}: failed tasks", sum(state != "success" for state in states), 0, f"of {len(states)}"),
    ]
