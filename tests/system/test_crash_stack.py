# SPDX-License-Identifier: Apache-2.0
"""
Workers and triggerers of a running Airflow are killed with SIGKILL; Airflow's retries buy nothing twice.

``test_crash`` covers every point and every store without Airflow's processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_piktid.client import PiktidClient
from tests.support.batch import JPEG
from tests.support.stack import AirflowStack, emulator_call
from tests.system.conftest import TOKEN, Emulate

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.chaos]

IMAGES = 4
BOTH_STORES = pytest.mark.parametrize(
    "kept", ["task state store", pytest.param("state_path", marks=pytest.mark.exhaustive)]
)


@dataclass
class Batch:
    """A run of four images in two jobs."""

    airflow: AirflowStack
    url: str
    folder: Path
    dag_id: str
    run_id: str

    def ledger(self) -> list[dict[str, Any]]:
        return list(emulator_call(self.url, "ledger")["jobs"])

    def requests(self, operation: str) -> int:
        stats = emulator_call(self.url, "stats")
        return int(stats["operations"].get(operation, {}).get("requests", 0))

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        self.airflow.wait(condition, what, interval=0.05)

    def kill_task(self, task_id: str, *, with_supervisor: bool = False) -> None:
        """Kill the process of a running task, and its supervisor if the worker should be lost too."""
        pid, parent = map(int, (self.folder / f"{task_id}.pids").read_text().split())
        for victim in (parent, pid) if with_supervisor else (pid,):
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)

    def tries(self, task_id: str) -> int:
        (row,) = [row for row in self.airflow.tasks(self.dag_id, self.run_id) if row["task_id"] == task_id]
        return int(row["try_number"])

    def assert_bought_once(self, *, retried: str) -> None:
        """The run succeeds after one retry, with one job per chunk and every output."""
        assert self.airflow.wait_for_run(self.dag_id, self.run_id, seconds=90) == "success"
        assert self.tries(retried) == 2
        assert sorted(len(job["images"]) for job in self.ledger()) == [2, 2]
        assert emulator_call(self.url, "stats")["duplicated_image_sets"] == 0
        assert len(self.pictures()) == IMAGES

    def pictures(self) -> list[Path]:
        found = (self.folder / "output").rglob("*.jpg")
        return [path for path in found if "_piktid" not in path.parts]


Begin = Callable[..., Batch]


@pytest.fixture
def begin(airflow: AirflowStack, emulate: Emulate, tmp_path: Path) -> Begin:
    """Start a batch against an emulator with the given options and planned faults."""

    def start(
        dag_id: str,
        kept: str = "task state store",
        *,
        point: str = "",
        faults: list[dict[str, Any]] | None = None,
        job_seconds: float = 1,
    ) -> Batch:
        options = ("--fast-images", "--jobs-per-minute", "0", "--job-seconds", str(job_seconds))
        url = emulate(*options, images_per_job=2, jobs_per_minute=100)
        with PiktidClient(TOKEN, base_url=url) as client:
            project_id = client.ensure_project("crash").project_id
            images = [client.upload_image(f"{i}.jpg", JPEG).file_id for i in range(IMAGES)]
        if faults:
            emulator_call(url, "faults", faults)
        run_id = airflow.trigger(
            dag_id,
            folder=str(tmp_path),
            point=point,
            project_id=project_id,
            images=images,
            state_path=str(tmp_path / "records") if kept == "state_path" else "",
        )
        return Batch(airflow, url, tmp_path, dag_id, run_id)

    return start


@BOTH_STORES
@pytest.mark.parametrize(
    "point",
    [
        pytest.param("before the intent", marks=pytest.mark.exhaustive),
        "before the record",
        pytest.param("after the record", marks=pytest.mark.exhaustive),
    ],
)
def test_worker_killed_around_the_record_buys_once(begin: Begin, point: str, kept: str) -> None:
    """After a kill before or after a write of the record, Airflow's retry submits only what is missing."""
    batch = begin("crash_deferred", kept, point=point)

    batch.assert_bought_once(retried="swap")


@BOTH_STORES
def test_worker_killed_between_intent_and_request_fails_by_default(begin: Begin, kept: str) -> None:
    """After a kill between intent and request, the run fails by default and does not submit again."""
    batch = begin("crash_deferred", kept, point="after the intent")

    assert batch.airflow.wait_for_run(batch.dag_id, batch.run_id) == "failed"
    assert [len(job["images"]) for job in batch.ledger()] == [2]
    assert any("on_lost_reply='resubmit'" in text for text in batch.airflow.task_logs().values())


@BOTH_STORES
def test_worker_killed_between_request_and_reply_buys_once(begin: Begin, kept: str) -> None:
    """After a kill between request and reply, Airflow's retry finds the job in PiktID's list."""
    hang = {"operation": "model_swap", "kind": "hang", "after": 1, "done": True}
    batch = begin("crash_deferred", kept, faults=[hang])
    batch.wait(lambda: len(batch.ledger()) == 2, "the request whose reply is held back")

    batch.kill_task("swap")

    batch.assert_bought_once(retried="swap")


@pytest.mark.parametrize(
    "with_supervisor",
    [
        pytest.param(False, id="task", marks=pytest.mark.exhaustive),
        pytest.param(True, id="task and supervisor"),
    ],
)
def test_worker_killed_during_its_wait_reattaches(begin: Begin, with_supervisor: bool) -> None:
    """After a kill during a sync wait, with or without its supervisor, the retry re-attaches to the jobs."""
    batch = begin("crash_sync", job_seconds=5)
    batch.wait(lambda: len(batch.ledger()) == 2 and batch.requests("job_status") >= 2, "the wait")

    batch.kill_task("swap", with_supervisor=with_supervisor)

    batch.assert_bought_once(retried="swap")


def test_worker_killed_during_the_download_keeps_complete_files(begin: Begin) -> None:
    """After a kill during the download, the retry keeps the complete files and adds the missing ones."""
    batch = begin("crash_deferred", faults=[{"operation": "result_image", "kind": "hang", "after": 2}])
    batch.wait(
        lambda: batch.requests("result_image") == 3 and len(batch.pictures()) == 2,
        "the download that is held back",
    )

    batch.kill_task("download")

    batch.assert_bought_once(retried="download")
    assert batch.requests("result_image") <= IMAGES + 3


def test_two_triggerers_do_not_interfere(begin: Begin, airflow: AirflowStack) -> None:
    """If a suspended triggerer resumes after another one took its triggers, the run succeeds once."""
    batch = begin("crash_deferred", job_seconds=14)
    airflow.wait_for_state(batch.dag_id, batch.run_id, "swap", "deferred")
    batch.wait(lambda: batch.requests("events") >= 1, "the first triggerer to listen")
    airflow.start("triggerer", "triggerer-2")
    with airflow.held(
        "triggerer", children=False
    ):  # the supervisor; its runner goes on and keeps the trigger
        batch.wait(lambda: batch.requests("events") >= 2, "the second triggerer to listen")

    assert airflow.wait_for_run(batch.dag_id, batch.run_id) == "success"
    airflow.kill("triggerer-2")
    assert len(batch.ledger()) == 2
    assert len(batch.pictures()) == IMAGES


def test_scheduler_killed_during_the_wait_is_replaced(begin: Begin, airflow: AirflowStack) -> None:
    """After the scheduler is killed while the task is deferred, a new one completes the run."""
    batch = begin("crash_deferred", job_seconds=4)
    airflow.wait_for_state(batch.dag_id, batch.run_id, "swap", "deferred")

    airflow.kill("scheduler")
    airflow.start("scheduler")

    assert airflow.wait_for_run(batch.dag_id, batch.run_id) == "success"
    assert len(batch.ledger()) == 2
    assert len(batch.pictures()) == IMAGES
    assert json.dumps(batch.ledger()).count("completed") == 2
