# SPDX-License-Identifier: Apache-2.0
"""With ``reuse`` the same pictures with the same options are bought once in all DAG runs."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import PiktidJobFailedError, PiktidSubmissionError
from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator
from tests.support.batch import after_status, jobs, swap_run
from tests.support.fixtures import Start
from tests.support.service import picture
from tests.support.shoot import files
from tests.support.tasks import TaskInstance, TaskRun

PATHS = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "sync"])


@dataclass
class Dag:
    """A DAG of upload, swap and download whose runs share a ``state_path``."""

    server: EmulatorServer
    folder: Path
    runs: int = 0

    def add(self, *names: str) -> None:
        for name in names:
            picture(self.folder / "in" / name, color=f"#{zlib.crc32(name.encode()) % 0xFFFFFF:06x}")

    def run(self, **swap: Any) -> list[str]:
        """Run the DAG as a new run; return the job ids of the swap."""
        self.runs += 1
        job_ids: list[str] = self.swap(self.upload(), **swap).run()
        return job_ids

    def upload(self) -> dict[str, Any]:
        def make() -> PiktidUploadImagesOperator:
            return PiktidUploadImagesOperator(
                task_id="upload", images=str(self.folder / "in"), project_name="x", state_path=self.state_path
            )

        given: dict[str, Any] = TaskRun(make, None, self.instance("upload")).run()
        return given

    def swap(self, given: dict[str, Any], **arguments: Any) -> TaskRun:
        fixed = {"project_id": given["project_id"], "state_path": self.state_path, "reuse": True}
        images = arguments.pop("images", given["images"])
        task = swap_run(self.server, images, **(fixed | arguments))
        task.store, task.ti = None, self.instance("swap")
        return task

    def instance(self, task_id: str) -> TaskInstance:
        return TaskInstance(task_id=task_id, run_id=f"manual__{self.runs}")

    @property
    def state_path(self) -> str:
        return str(self.folder / "state")

    @property
    def bought(self) -> list[int]:
        """The number of images of each job."""
        return [len(job["images"]) for job in jobs(self.server)]

    def record(self) -> Path:
        (found,) = (self.folder / "state").glob("reuse-*/*.json")
        return found


@pytest.fixture
def dag(server: EmulatorServer, tmp_path: Path) -> Dag:
    made = Dag(server, tmp_path)
    made.add("a.jpg", "b.jpg")
    return made


@PATHS
def test_ten_runs_pay_once(dag: Dag, deferrable: bool) -> None:
    """A DAG that runs ten times over the same pictures pays once."""
    results = [dag.run(deferrable=deferrable) for _ in range(10)]

    assert dag.bought == [2]
    assert {tuple(result) for result in results} == {(jobs(dag.server)[0]["job_id"],)}


def test_runs_pay_each_time_by_default(dag: Dag) -> None:
    """Without ``reuse`` each run is a purchase of its own."""
    dag.run(reuse=False)
    dag.run(reuse=False)

    assert dag.bought == [2, 2]


@pytest.mark.parametrize(
    "change",
    [{"num_variations": 2}, {"identity_code": "PiktidPremium"}, {"rerun_key": "second"}],
    ids=["options", "identity", "rerun_key"],
)
def test_other_options_are_bought(dag: Dag, change: dict[str, Any]) -> None:
    """Outputs with other options, another identity or another ``rerun_key`` are not used again."""
    dag.run()
    dag.run(**change)
    dag.run(**change)

    assert dag.bought == [2, 2]


def test_only_new_pictures_are_bought(dag: Dag) -> None:
    """A run with some new pictures buys these and returns the jobs of all."""
    (first,) = dag.run()
    dag.add("c.jpg")

    second = dag.run()

    assert dag.bought == [2, 1]
    assert second == [first, jobs(dag.server)[1]["job_id"]]
    assert dag.run() == second


def test_equal_pictures_are_bought_once(dag: Dag) -> None:
    """Two pictures with the same content in one run are bought once."""
    (dag.folder / "in" / "copy.jpg").write_bytes((dag.folder / "in" / "a.jpg").read_bytes())

    dag.run()

    assert dag.bought == [2]


def test_renamed_picture_is_not_bought_again(dag: Dag) -> None:
    """A picture is compared by its content, not by its name."""
    dag.run()
    (dag.folder / "in" / "a.jpg").rename(dag.folder / "in" / "new.jpg")

    dag.run()

    assert dag.bought == [2]


def test_reused_outputs_are_downloaded_under_the_names_of_this_run(dag: Dag) -> None:
    """XCom ``images`` matches reused outputs with this run's sources, also after a rename."""
    dag.run()
    (dag.folder / "in" / "a.jpg").rename(dag.folder / "in" / "new.jpg")
    dag.runs += 1
    swap = dag.swap(dag.upload())
    job_ids, out = swap.run(), dag.folder / "out"

    images = swap.ti.xcom["images"]
    TaskRun(
        lambda: PiktidDownloadOperator(task_id="d", job_ids=job_ids, images=images, output_path=str(out))
    ).run()

    assert files(out) == ["b_0_v0.jpg", "new_0_v0.jpg"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"state_path": None}, "needs a `state_path`", id="no state_path"),
        pytest.param({"images": ["file-1"]}, "Pass the rows of the upload", id="plain file ids"),
        pytest.param({"record_beside": "/tmp/x.json"}, "no `record_beside`", id="record of a refresh"),
    ],
)
def test_reuse_without_what_it_needs_is_refused(dag: Dag, arguments: dict[str, Any], message: str) -> None:
    """``reuse`` without a ``state_path`` or without the content of the images fails before anything is bought."""
    with pytest.raises(AirflowFailException, match=message):
        dag.run(**arguments)

    assert dag.bought == []


@PATHS
def test_running_job_of_another_run_is_waited_for(start: Start, tmp_path: Path, deferrable: bool) -> None:
    """A job that another run has bought and that still runs is waited for."""
    dag = Dag(start(), tmp_path)
    dag.add("a.jpg")
    dag.server.faults.add("job", "never_end")
    (job_id,) = dag.run(wait_for_completion=False)

    with after_status(dag.server, dag.server.state.complete_job, job_id):
        result = dag.run(deferrable=deferrable)

    assert dag.bought == [1]
    assert [job["status"] for job in jobs(dag.server)] == ["completed"]
    assert result == [jobs(dag.server)[0]["job_id"]]


def test_retry_of_a_run_that_reuses_attaches(dag: Dag) -> None:
    """A retry of a run that reuses some outputs and bought others returns the same jobs."""
    dag.run()
    dag.add("c.jpg")
    dag.runs += 1
    task = dag.swap(dag.upload())

    assert task.run() == task.run()
    assert dag.bought == [2, 1]


def test_failed_job_of_another_run_is_bought_again(dag: Dag) -> None:
    """Outputs of a job that failed are bought by the next run."""
    dag.server.faults.add("job", "fail_job")
    with pytest.raises(AirflowFailException):
        dag.run()

    dag.run()

    assert dag.bought == [2, 2]


def test_job_that_piktid_no_longer_has_is_bought_again(dag: Dag) -> None:
    """Outputs of a job that PiktID has removed are bought by the next run."""
    dag.run()
    dag.server.faults.add("job_status", "status", code=404)

    dag.run()

    assert dag.bought == [2, 2]


def test_reused_job_that_fails_is_bought_by_the_retry(start: Start, tmp_path: Path) -> None:
    """If a job of another run fails while it is waited for, the retry buys its pictures."""
    dag = Dag(start(), tmp_path)
    dag.add("a.jpg")
    dag.server.faults.add("job", "never_end")
    (job_id,) = dag.run(wait_for_completion=False)
    body = {"status": "failed", "results": [], "credits_used": 0}
    dag.server.faults.add("job_results", "status", code=200, body=body)
    dag.runs += 1
    task = dag.swap(dag.upload())
    with after_status(dag.server, dag.server.state.fail_job, job_id), pytest.raises(PiktidJobFailedError):
        task.run()

    assert task.run() == [jobs(dag.server)[1]["job_id"]]
    assert dag.bought == [1, 1]


def lose_reply(dag: Dag, *, sent: bool) -> None:
    """Let the first run die between its request and the record of the reply."""
    dag.run()
    record = json.loads(dag.record().read_text())
    record["submissions"][0] |= {"state": "intent", "job_id": None, "submitted_at": None, "ended": None}
    if not sent:
        record["contents"] = {f"never-{file_id}": sha for file_id, sha in record["contents"].items()}
    dag.record().write_text(json.dumps(record))


def test_lost_reply_of_another_run_is_found(dag: Dag) -> None:
    """A job that another run bought and did not record is found at PiktID."""
    lose_reply(dag, sent=True)

    assert dag.run() == [jobs(dag.server)[0]["job_id"]]
    assert dag.bought == [2]


def test_request_that_an_earlier_try_may_have_sent_is_found(dag: Dag) -> None:
    """A request of another run is looked for from the moment on at which it may have been sent."""
    lose_reply(dag, sent=True)
    record = json.loads(dag.record().read_text())
    intent = record["submissions"][0]
    intent |= {"since": intent["intent_at"], "intent_at": intent["intent_at"] + 10_000}
    dag.record().write_text(json.dumps(record))

    assert dag.run() == [jobs(dag.server)[0]["job_id"]]
    assert dag.bought == [2]


@pytest.mark.parametrize("policy", ["fail", "resubmit"])
def test_unknown_fate_of_another_run_follows_the_policy(dag: Dag, policy: str) -> None:
    """A request of another run that PiktID does not list fails the task, or is bought with ``resubmit``."""
    lose_reply(dag, sent=False)

    if policy == "fail":
        with pytest.raises(PiktidSubmissionError, match="another run recorded a request"):
            dag.run(on_lost_reply=policy)
    else:
        dag.run(on_lost_reply=policy)
    assert dag.bought == ([2] if policy == "fail" else [2, 2])
