# SPDX-License-Identifier: Apache-2.0
"""One job of a batch that cannot be submitted does not stop the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import PiktidSubmissionError
from tests.operators.test_paid_once import PATHS
from tests.operators.test_refresh import statuses
from tests.support.batch import jobs, swap_run
from tests.support.refresh import Nights
from tests.support.service import connection_json


@pytest.fixture(autouse=True)
def one_image_a_job(server: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a batch of three images be three jobs."""
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", connection_json(server.url, images_per_job=1))


@PATHS
def test_refused_job_does_not_stop_the_others(server: EmulatorServer, deferrable: bool) -> None:
    """The others run to their end, then the task fails without a retry. After a clear only that job is bought."""
    server.faults.add("model_swap", "status", code=422, times=1)
    task = swap_run(server, 3, deferrable=deferrable)

    with pytest.raises(AirflowFailException, match="1 of 3 jobs were not submitted") as caught:
        task.run()

    bought = [job["job_id"] for job in jobs(server)]
    assert (len(bought), all(job_id in str(caught.value) for job_id in bought)) == (2, True)
    assert task.ti.xcom["summary"]["successful"] == 2
    assert [job_id in bought for job_id, _ in task.ti.xcom["jobs"]] == [False, True, True]
    assert len(task.run()) == len(jobs(server)) == 3


@PATHS
def test_second_refusal_before_any_job_stops_the_batch(server: EmulatorServer, deferrable: bool) -> None:
    """If nothing is accepted, the arguments are wrong for all jobs: not one request for each of them."""
    server.faults.add("model_swap", "status", code=422, times=None)

    with pytest.raises(AirflowFailException):
        swap_run(server, 3, deferrable=deferrable).run()

    assert (jobs(server), server.state.counters.requests["model_swap"]) == ([], 2)


@PATHS
def test_lost_reply_does_not_stop_the_others(server: EmulatorServer, deferrable: bool) -> None:
    """A job whose fate stays unknown fails the task at the end; the next try looks for it, and finds it."""
    server.faults.add("model_swap", "drop_after")
    server.faults.add("gallery_jobs", "status", code=200, body={"jobs": [], "pagination": {}}, times=None)
    task = swap_run(server, 3, deferrable=deferrable)

    with pytest.raises(PiktidSubmissionError, match="The others are not affected"):
        task.run()
    server.faults.clear()

    assert len(task.run()) == len(jobs(server)) == 3


def test_empty_account_stops_the_batch(server: EmulatorServer) -> None:
    """What concerns the whole account stops all jobs at once."""
    server.faults.add("model_swap", "status", code=402, times=None)

    with pytest.raises(AirflowFailException):
        swap_run(server, 3).run()

    assert server.state.counters.requests["model_swap"] == 1


def test_jobs_that_are_not_waited_for_report_a_refusal_at_once(server: EmulatorServer) -> None:
    """Without a wait the ids of the others are pushed before the task fails."""
    server.faults.add("model_swap", "status", code=422, times=1)
    task = swap_run(server, 2, wait_for_completion=False)

    with pytest.raises(AirflowFailException, match="1 of 2 jobs"):
        task.run()

    assert task.ti.xcom["job_ids"] == [job["job_id"] for job in jobs(server)]


def test_refused_job_of_a_night_is_submitted_by_the_next(server: EmulatorServer, nights: Nights) -> None:
    """The other outputs of the batch are delivered, and the next night buys only what is left."""
    server.faults.add("model_swap", "status", code=422, times=1)

    first = nights.run(images_per_batch=3)
    assert (first.told["sources"]["done"], first.told["sources"]["missing"]) == (1, 1)
    second = nights.run(images_per_batch=3)

    assert (second.planned["images"], len(jobs(server)), set(statuses(nights).values())) == (1, 2, {"done"})


def test_source_that_becomes_text_does_not_stop_its_batch(server: EmulatorServer, nights: Nights) -> None:
    """A source that is no longer an image when it is uploaded is left out, and rejected by the next plan."""
    night = nights.begin(images_per_batch=3)
    Path(nights.source, "a.jpg").write_text("not an image")

    nights.finish(night)

    assert (night.told["sources"]["done"], len(jobs(server))) == (1, 1)
    assert nights.run().planned["rejected"] == 1
