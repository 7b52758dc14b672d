# SPDX-License-Identifier: Apache-2.0
"""What ``jobs``, ``record``, ``rescue`` and ``webhook`` find out and change."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from airflow_provider_piktid.cli.words import describe
from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.person.record import STATE_KEY as GENERATIONS
from airflow_provider_piktid.person.record import Generation, PersonRecord
from tests.cli.conftest import Run
from tests.dags.test_examples import run_example
from tests.support.batch import buy, jobs, swap_run
from tests.support.refresh import Nights
from tests.support.service import connection_json, pictures
from tests.support.tasks import TaskRun


def test_jobs_are_listed_by_project(server: EmulatorServer, run: Run) -> None:
    """Each project has its jobs, with their outputs; the newest project first."""
    first = buy(server, 2)
    (project,) = run("jobs", "--json").document["projects"]
    assert (project["project"], project["jobs"][0]["job_id"], project["jobs"][0]["images"]) == (
        "shoot",
        first,
        2,
    )


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--project", "shoot"), 2),
        (("--project", "other"), 0),
        (("--status", "aborted"), 0),
        (("--limit", "1"), 1),
    ],
)
def test_jobs_are_chosen(server: EmulatorServer, run: Run, arguments: tuple[str, ...], found: int) -> None:
    """By project, status and number; whether there are more is said."""
    buy(server)
    buy(server)
    document = run("jobs", *arguments, "--json").document
    assert sum(len(project["jobs"]) for project in document["projects"]) == found
    assert document["more"] is (arguments[0] == "--limit")


def test_rescue_downloads_known_jobs_and_names_the_others(
    server: EmulatorServer, run: Run, tmp_path: Path
) -> None:
    """An unknown job does not stop the others; a second run downloads nothing again."""
    job_id = swap_run(server, 2).run()[0]
    done = run("rescue", job_id, "nobody", "--to", str(tmp_path / "out"), "--json")
    assert done.code == 1
    assert (done.document["files"], done.document["unknown_jobs"]) == (2, ["nobody"])
    assert len(list((tmp_path / "out" / job_id).glob("*.jpg"))) == 2
    assert len(list((tmp_path / "out" / "_piktid").glob("manifest-*.json"))) == 1

    again = run("rescue", job_id, "--to", str(tmp_path / "out"), "--json")
    assert (again.code, again.document["downloaded"], again.document["files"]) == (0, 0, 2)


def record_arguments(task: TaskRun) -> tuple[str, ...]:
    return ("record", "task", task.ti.dag_id, task.ti.task_id, task.ti.run_id)


def test_record_of_a_task_is_read_from_its_folder(server: EmulatorServer, run: Run, tmp_path: Path) -> None:
    """Jobs and images are named, and PiktID is asked for status and credits."""
    task = swap_run(server, 3, state_path=str(tmp_path))
    (job_id,) = task.run()
    done = run(*record_arguments(task), "--path", str(tmp_path), "--ask", "--json")
    (record,) = done.document["records"]
    assert (done.code, record["sentence"]) == (0, "Paid for 1 job with 3 images.")
    (job,) = record["jobs"]
    assert (job["job_id"], job["status"], job["credits_used"]) == (job_id, "completed", 3.0)


def test_record_of_a_lost_reply_is_open(server: EmulatorServer, run: Run, tmp_path: Path) -> None:
    """A request that may have been paid for is said to need a person, and the exit code is 1."""
    server.state.faults.add("model_swap", "drop_before")
    task = swap_run(server, 1, state_path=str(tmp_path), lost_reply_grace=0.0)
    with pytest.raises(Exception, match="lost"):
        task.run()
    done = run(*record_arguments(task), "--path", str(tmp_path))
    assert (done.code, len(jobs(server))) == (1, 0)
    assert "OPEN: A request with 1 image" in done.out
    assert "may have been paid for" in done.out


def test_record_that_does_not_exist_is_reported(run: Run, tmp_path: Path) -> None:
    """The places that were looked in are named."""
    done = run("record", "task", "d", "t", "r", "--path", str(tmp_path))
    assert done.code == 1
    assert f"No record found. Looked in: {tmp_path}" in done.out


@pytest.mark.skipif(find_spec("airflow.models.task_state_store") is None, reason="needs Airflow 3.3")
def test_record_is_read_from_the_task_state_store(server: EmulatorServer, run: Run, tmp_path: Path) -> None:
    """Without a state_path the record is in Airflow's database, where a DAG run has put it."""
    source = pictures(tmp_path / "in" / "look", "a.jpg", "b.jpg")
    finished = run_example("example_model_swap", images=str(source), output_path=str(tmp_path / "out"))
    done = run("record", "task", finished.dag_id, "swap", finished.run_id, "--json")
    (record,) = done.document["records"]
    assert (record["where"], record["sentence"]) == (
        "Airflow's task state store",
        "Paid for 1 job with 2 images.",
    )


def test_record_of_a_refresh_names_each_run(server: EmulatorServer, run: Run, tmp_path: Path) -> None:
    """The records below the output_path say what was paid for, without Airflow's database."""
    source = pictures(tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")
    Nights(str(source), str(tmp_path / "out"), images_per_batch=2).run()
    done = run("record", "refresh", str(tmp_path / "out"), "--json")
    (night,) = done.document["runs"]
    sentences = [record["sentence"] for record in night["records"]]
    assert sentences == ["Paid for 1 job with 2 images.", "Paid for 1 job with 1 image."]
    assert all(record["notes"] == [] for record in night["records"])


def test_record_of_persons_counts_paid_requests() -> None:
    """Each generation has its state; what is no longer asked for was paid all the same."""
    record = PersonRecord("f", 1.0)
    record.plan([0], [{"Location": "Oceania"}, {"Location": "Africa"}])
    first, second = record.generations
    first.state, first.paid_requests = "done", 1
    second.state, second.paid_requests, second.intent_at = "intent", 1, 100.0
    record.set_aside = [Generation(1, ("Location", "Africa"), paid_requests=1)]
    said = describe(GENERATIONS, json.loads(json.dumps(record.to_json())), "here")
    assert said["sentence"] == "Paid for 3 generations: 1 done, 1 intent."
    assert said["open"][0].startswith("person 0, Location Africa: the reply was lost")
    assert said["notes"] == ["person 1, Location Africa: paid for, no longer asked for."]


def test_record_of_a_newer_version_is_reported(tmp_path: Path) -> None:
    """A record that this package cannot read is never shown as nothing paid."""
    assert "version 99" in describe("piktid_jobs", {"version": 99}, "here")["open"][0]


def test_webhook_is_set_and_its_secret_goes_into_a_file(
    server: EmulatorServer, run: Run, tmp_path: Path
) -> None:
    """Only the owner can read the file; the secret is not printed."""
    file = tmp_path / "secret"
    done = run("webhook", "set", "http://127.0.0.1:9/hook?key=hidden", "--secret-file", str(file))
    secret = file.read_text().strip()
    assert (done.code, stat.S_IMODE(file.stat().st_mode)) == (0, 0o600)
    assert secret
    assert secret not in done.out + done.err
    assert "hidden" not in done.out + done.err
    assert "http://127.0.0.1:9/hook" in run("webhook", "show").out


def test_webhook_that_cannot_be_reached_is_reported_as_such(
    server: EmulatorServer, run: Run, tmp_path: Path
) -> None:
    """The receiver has no status of HTTP then, so none is shown."""
    run("webhook", "set", "http://127.0.0.1:9/hook", "--secret-file", str(tmp_path / "secret"))

    done = run("webhook", "test")

    assert done.code == 1
    assert "PiktID could not reach http://127.0.0.1:9/hook" in done.out
    assert "last answer: none, could not be reached at" in run("webhook", "show").out
    assert "the last delivery could not reach it" in run("check").out


def test_webhook_of_somebody_else_needs_replace(server: EmulatorServer, run: Run, tmp_path: Path) -> None:
    """Without it nothing changes, and no file is left."""
    run("webhook", "set", "http://127.0.0.1:9/first", "--secret-file", str(tmp_path / "first"))
    refused = run("webhook", "set", "http://127.0.0.1:9/other", "--secret-file", str(tmp_path / "other"))
    assert (refused.code, (tmp_path / "other").exists()) == (2, False)
    assert "Pass --replace" in refused.err


def test_webhook_secret_needs_a_place(server: EmulatorServer, run: Run, tmp_path: Path) -> None:
    """A webhook is not set if its secret would be lost."""
    assert run("webhook", "set", "http://127.0.0.1:9/x").code == 2
    (tmp_path / "there").write_text("mine")
    assert run("webhook", "set", "http://127.0.0.1:9/x", "--secret-file", str(tmp_path / "there")).code == 2
    assert run("webhook", "set", "http://127.0.0.1:9/x", "--store").code == 2
    assert server.state.v2.webhooks.current is None


@pytest.fixture
def stored(server: EmulatorServer, airflow_db: Path) -> Iterator[str]:
    """A connection in the metadata database."""
    from airflow.models import Connection
    from airflow.utils.session import create_session

    told = json.loads(connection_json(server.url, webhook_secret="old"))
    told["extra"] = json.dumps(told["extra"])
    with create_session() as session:
        session.add(Connection(conn_id="piktid_webhook", **told))
    yield "piktid_webhook"
    with create_session() as session:
        session.query(Connection).filter(Connection.conn_id == "piktid_webhook").delete()


def test_webhook_secret_is_stored_in_the_connection(stored: str, run: Run) -> None:
    """The one before it stays valid for deliveries that are on their way."""
    from airflow_provider_piktid.cli.connection import CommandHook

    done = run("webhook", "set", "http://127.0.0.1:9/x", "--store", "--conn-id", stored)
    assert done.code == 0
    new, before = CommandHook(stored).settings.webhook_secrets
    assert before == "old"
    assert new not in done.out
