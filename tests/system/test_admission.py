# SPDX-License-Identifier: Apache-2.0
"""Thirty jobs on an account with five active jobs and five submissions per window, in a running Airflow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_provider_piktid.client import PiktidClient
from tests.support.admission import Account, makespan
from tests.support.batch import JPEG
from tests.support.stack import ENDED, AirflowStack, emulator_call
from tests.system.conftest import TOKEN, Emulate

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.chaos]

JOBS = 30
#: Airflow takes a second or two to resume a task, once per window: the shorter the window, the larger
#: its share. PiktID's window is a minute.
ONE_TASK = Account(rate_window=12.0, job_seconds=6.0)
MAPPED = Account(rate_window=20.0, job_seconds=10.0)


@dataclass
class Watch:
    """What was observed during a run."""

    polls: int = 0
    idle_while_waiting: int = 0
    states: set[str] = field(default_factory=set)

    def look(self, airflow: AirflowStack, dag_id: str, run_id: str) -> None:
        states = [row["state"] or "none" for row in airflow.tasks(dag_id, run_id) if row["task_id"] == "swap"]
        occupied = airflow.get("pools/default_pool")["occupied_slots"]
        self.polls += 1
        self.states.update(states)
        self.idle_while_waiting += "deferred" in states and occupied == 0


def windows(ledger: list[dict[str, Any]], account: Account) -> list[float]:
    """When each fifth job was submitted, in windows after the first."""
    starts = sorted(job["created_at"] for job in ledger)
    return [
        round((moment - starts[0]) / account.rate_window, 2) for moment in starts[:: account.jobs_per_minute]
    ]


@pytest.mark.parametrize(
    ("dag_id", "account"),
    [
        pytest.param("admission_one_task", ONE_TASK, id="one task", marks=pytest.mark.exhaustive),
        pytest.param("admission_mapped", MAPPED, id="mapped"),
    ],
)
def test_thirty_jobs_succeed_within_the_account_limits(
    airflow: AirflowStack, emulate: Emulate, dag_id: str, account: Account, record_property: Any
) -> None:
    """
    Each chunk is bought once, no task fails or retries, and deferred tasks hold no worker slot.

    The total time is at most 1.25 times what the limits require.
    """
    url = emulate(*account.emulator_options, **account.extra)
    with PiktidClient(TOKEN, base_url=url) as client:
        project_id = client.ensure_project("crowd").project_id
        images = [client.upload_image(f"{i}.jpg", JPEG).file_id for i in range(JOBS * 10)]
    run_id = airflow.trigger(dag_id, project_id=project_id, images=images)
    watch = Watch()

    def ended() -> bool:
        watch.look(airflow, dag_id, run_id)
        return airflow.run_state(dag_id, run_id) in ENDED

    airflow.wait(ended, "the run to end", seconds=240, interval=0.5)

    stats, ledger = emulator_call(url, "stats"), emulator_call(url, "ledger")["jobs"]
    ratio = makespan(ledger) / account.bound(JOBS)
    tries = {row["try_number"] for row in airflow.tasks(dag_id, run_id) if row["task_id"] == "swap"}
    print(
        f"{dag_id}: makespan {makespan(ledger):.1f} s, bound {account.bound(JOBS):.1f} s, ratio {ratio:.2f}, "
        f"every fifth job after {windows(ledger, account)} windows, "
        f"refused {stats['refused_submissions']}, idle {watch.idle_while_waiting} of {watch.polls} looks"
    )
    record_property("ratio", round(ratio, 3))
    assert airflow.run_state(dag_id, run_id) == "success"
    assert watch.states.isdisjoint({"failed", "up_for_retry", "upstream_failed"})
    assert tries == {1}
    assert len(ledger) == JOBS
    assert stats["duplicated_image_sets"] == 0
    # With other work on the machine the tasks run longer; held slots would be idle at no look at all.
    assert watch.idle_while_waiting > watch.polls / 10
    assert ratio < 1.25
