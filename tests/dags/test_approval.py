# SPDX-License-Identifier: Apache-2.0
"""The approval example runs with ``dag.test()``; the question is answered through Airflow's API."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from tests.conftest import EXAMPLE_DAGS
from tests.dags.test_examples import AIRFLOW, Shoot, dag_bag, outputs
from tests.support.api_server import api_application
from tests.support.batch import jobs

pytestmark = pytest.mark.skipif(AIRFLOW < (3, 3), reason="dag.test() waits for an answer from 3.3 on")

DAG_ID = "example_piktid_approval"
#: For a machine that is busy: the question comes some seconds after the start.
SECONDS = 300.0


@pytest.fixture(scope="module")
def api(airflow_db: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of Airflow's own API, logged in as a user who may answer."""
    from starlette.testclient import TestClient

    folder = tmp_path_factory.mktemp("users")
    with (
        api_application(folder, "editor", "admin", "secret-word") as application,
        TestClient(application) as client,
    ):
        login = {"username": "editor", "password": "secret-word"}
        token = client.post("/auth/token", json=login).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


class Person(threading.Thread):
    """Waits for the question and answers it; keeps what was asked, and what had been published by then."""

    def __init__(self, api: Any, answer: str, published: Path) -> None:
        super().__init__(daemon=True)
        self._api = api
        self._answer = answer
        self._published = published
        self._run_ended = threading.Event()
        self.asked: dict[str, Any] = {}
        self.published_before: list[str] | None = None

    def run(self) -> None:
        deadline = time.monotonic() + SECONDS
        while not self._run_ended.wait(0.2):
            if time.monotonic() > deadline:
                self._end_runs()
            elif not self.asked:
                self._look()

    def leave(self) -> None:
        """The run has ended."""
        self._run_ended.set()
        self.join(SECONDS)

    def _look(self) -> None:
        found = self._api.get(f"/api/v2/dags/{DAG_ID}/dagRuns/~/hitlDetails?response_received=false").json()
        # The question can be read before the task waits. An answer at that moment does not resume it, which only a
        # scheduler would notice.
        waiting = [
            item
            for item in found.get("hitl_details", [])
            if not item["response_received"] and item["task_instance"]["state"] == "awaiting_input"
        ]
        if waiting:
            self._reply(waiting[0])

    def _end_runs(self) -> None:
        """Let ``dag.test()`` return, which would wait for ever."""
        runs = f"/api/v2/dags/{DAG_ID}/dagRuns"
        for run in self._api.get(f"{runs}?state=running").json()["dag_runs"]:
            self._api.patch(f"{runs}/{run['dag_run_id']}", json={"state": "failed"})

    def _reply(self, question: dict[str, Any]) -> None:
        self.published_before = outputs(self._published)
        ti = question["task_instance"]
        path = f"dagRuns/{ti['dag_run_id']}/taskInstances/{ti['task_id']}/-1/hitlDetails"
        answer = self._api.patch(
            f"/api/v2/dags/{DAG_ID}/{path}", json={"chosen_options": [self._answer], "params_input": {}}
        )
        if answer.status_code == 200:
            self.asked = question


def night(shoot: Path, folder: Path) -> Any:
    (dag,) = dag_bag(EXAMPLE_DAGS / "example_approval.py").dags.values()
    paths = {"source": shoot, "output_path": folder / "out", "published": folder / "published"}
    return dag.test(run_conf={name: str(path) for name, path in paths.items()})


def states(run: Any) -> dict[str, str]:
    return {ti.task_id: str(ti.state) for ti in run.get_task_instances()}


@pytest.mark.parametrize(
    ("answer", "published", "state"),
    [
        pytest.param("Approve", 2, "success", id="approved"),
        pytest.param("Reject", 0, "skipped", id="rejected"),
    ],
)
def test_person_decides_about_publishing(
    server: EmulatorServer, api: Any, shoot: Shoot, tmp_path: Path, answer: str, published: int, state: str
) -> None:
    """Nothing is published before the answer; the question names the contact sheet; outputs stay if it is no."""
    person = Person(api, answer, tmp_path / "published")
    person.start()

    run = night(shoot("look"), tmp_path)

    person.leave()
    assert "contact_sheet" in person.asked["body"]
    assert person.published_before == []
    assert states(run)["publish"] == state
    assert len(outputs(tmp_path / "published")) == published
    assert len(outputs(tmp_path / "out")) == 2
    assert len(jobs(server)) == 1
