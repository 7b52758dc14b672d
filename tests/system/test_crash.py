# SPDX-License-Identifier: Apache-2.0
"""
Workers and triggers killed with SIGKILL at every point, as real processes; each chunk of images is bought once.

The processes stand for Airflow's, so that this runs on every version. ``test_crash_stack`` does the same to a
whole Airflow for some of the points.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from tests.support.batch import jobs, uploaded
from tests.support.crash import POINTS
from tests.support.fixtures import Start
from tests.support.processes import Death, ProcessTask, Records, StepFailed, StepKilled, ended_at_last
from tests.support.service import connection_json

SWAP = "airflow_provider_piktid.operators.model_swap.PiktidModelSwapOperator"
DOWNLOAD = "airflow_provider_piktid.operators.download.PiktidDownloadOperator"
IMAGES = 4
#: Two images a job: two paid requests, so that one is recorded when the worker dies in the other.
CONNECTION: dict[str, Any] = {"images_per_job": 2, "jobs_per_minute": 100}

MakeSwap = Callable[..., ProcessTask]
BOTH_STORES = pytest.mark.parametrize("kept", ["state_path", "task state store"])


@pytest.fixture
def make_swap(server: EmulatorServer, tmp_path: Path) -> MakeSwap:
    """Make a swap of four images in two jobs, that may die once."""

    def make(
        kept: Records, *, point: str = "", submission: int = -1, server: EmulatorServer = server, **more: Any
    ) -> ProcessTask:
        project_id, images = uploaded(server, IMAGES)
        fixed = {
            "identity_code": "PiktidSummer",
            "project_id": project_id,
            "images": images,
            "poll_interval": 3.0,
            "timeout": 30.0,
            "lost_reply_grace": 0.3,
            "deferrable": True,
        }
        connection = connection_json(server.url, **CONNECTION)
        death = Death(point, str(tmp_path / "died"), submission) if point else None
        return ProcessTask(SWAP, fixed | more, connection, tmp_path, kept, death)

    return make


def assert_bought_once(server: EmulatorServer, swap: ProcessTask, result: Any) -> None:
    """One job per chunk, in order, with nothing doubled and all outputs there to be downloaded."""
    images = swap.arguments["images"]
    bought = {tuple(job["images"]): job["job_id"] for job in jobs(server)}
    assert len(jobs(server)) == IMAGES // 2
    assert result == [bought[tuple(images[:2])], bought[tuple(images[2:])]]
    output = swap.folder / "output"
    arguments = {"job_ids": result, "output_path": str(output)}
    told = ProcessTask(DOWNLOAD, arguments, swap.connection, swap.folder / ".").run()
    assert (told["files"], told["failed"]) == (IMAGES, 0)
    assert len(pictures(output)) == IMAGES


def pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.jpg") if "_piktid" not in path.parts)


def requests_of(server: EmulatorServer, operation: str) -> int:
    return int(server.state.stats()["operations"].get(operation, {}).get("requests", 0))


@pytest.mark.parametrize("submission", [0, 1], ids=["first job", "second job"])
@pytest.mark.parametrize("kept", get_args(Records))
@pytest.mark.parametrize("point", [point for point in POINTS if point != "after the intent"])
def test_worker_killed_around_the_record_buys_once(
    server: EmulatorServer, make_swap: MakeSwap, point: str, kept: Records, submission: int
) -> None:
    """The retry goes on where the dead worker stopped: by the record, or else by what PiktID lists."""
    swap = make_swap(kept, point=point, submission=submission)
    with pytest.raises(StepKilled):
        swap.run()

    result = swap.run()

    assert_bought_once(server, swap, result)


@BOTH_STORES
@pytest.mark.parametrize("submission", [0, 1], ids=["first job", "second job"])
def test_worker_killed_between_intent_and_request_does_not_guess(
    server: EmulatorServer, make_swap: MakeSwap, kept: Records, submission: int
) -> None:
    """
    Whether the request was sent cannot be known: by default the retry fails rather than pay twice.

    So fewer jobs than chunks are bought, and the message says how to go on.
    """
    swap = make_swap(kept, point="after the intent", submission=submission)
    with pytest.raises(StepKilled):
        swap.run()

    with pytest.raises(StepFailed, match=r"PiktidSubmissionError.*on_lost_reply='resubmit'"):
        swap.run()

    assert len(jobs(server)) == submission


@BOTH_STORES
@pytest.mark.parametrize("submission", [0, 1], ids=["first job", "second job"])
def test_worker_killed_between_intent_and_request_resubmits_if_told(
    server: EmulatorServer, make_swap: MakeSwap, kept: Records, submission: int
) -> None:
    """With ``on_lost_reply="resubmit"`` the retry submits what PiktID does not list after the grace period."""
    swap = make_swap(kept, point="after the intent", submission=submission, on_lost_reply="resubmit")
    with pytest.raises(StepKilled):
        swap.run()

    result = swap.run()

    assert_bought_once(server, swap, result)


@pytest.mark.parametrize("kept", get_args(Records))
def test_worker_killed_between_request_and_reply_buys_once(
    server: EmulatorServer, make_swap: MakeSwap, kept: Records
) -> None:
    """The job exists, its id was never seen: the retry finds it at PiktID."""
    server.faults.add("model_swap", "hang", after=1, done=True)
    swap = make_swap(kept)
    swap.kill_when(lambda: len(jobs(server)) == 2)

    result = swap.run()

    assert_bought_once(server, swap, result)


@BOTH_STORES
def test_job_that_is_listed_late_is_found_within_the_grace_period(
    server: EmulatorServer, make_swap: MakeSwap, kept: Records
) -> None:
    """The first look of the retry may be too early: it looks again when the grace period is over."""
    server.faults.add("model_swap", "hang", after=1, done=True)
    server.faults.add("gallery_jobs", "status", code=200, body={"jobs": [], "pagination": {}})
    swap = make_swap(kept, lost_reply_grace=3.0)
    swap.kill_when(lambda: len(jobs(server)) == 2)

    result = swap.run()

    assert server.faults.all_met()
    assert_bought_once(server, swap, result)


@pytest.mark.parametrize("kept", get_args(Records))
def test_worker_killed_during_its_wait_attaches(start: Start, make_swap: MakeSwap, kept: Records) -> None:
    """A worker that waits itself is killed; the retry waits for the same jobs."""
    server = start(job_seconds=1.5)
    swap = make_swap(kept, server=server, deferrable=False)
    swap.kill_when(lambda: len(jobs(server)) == 2 and requests_of(server, "job_status") >= 2)

    result = swap.run()

    assert_bought_once(server, swap, result)


@BOTH_STORES
def test_trigger_killed_during_the_wait_is_taken_over(
    start: Start, make_swap: MakeSwap, kept: Records
) -> None:
    """Another triggerer rebuilds the trigger from its arguments; nothing is bought and nothing is missed."""
    server = start(job_seconds=1.5)
    swap = make_swap(kept, server=server)
    swap.tries = 1
    deferred = swap.finish(*swap.start("execute", {}))
    swap.kill_when(lambda: requests_of(server, "events") == 1, "trigger", trigger=deferred["trigger"])

    event = swap.finish(*swap.start("trigger", {"trigger": deferred["trigger"]}))["event"]
    told = swap.finish(*swap.start(deferred["method"], {**deferred["kwargs"], "event": event}))

    assert_bought_once(server, swap, told["result"])


@BOTH_STORES
def test_two_triggers_at_once_do_no_harm(start: Start, make_swap: MakeSwap, kept: Records) -> None:
    """A triggerer that was only slow runs beside its successor: both tell the same, and neither changes anything."""
    server = start(job_seconds=1.0)
    swap = make_swap(kept, server=server)
    swap.tries = 1
    deferred = swap.finish(*swap.start("execute", {}))
    pair = [swap.start("trigger", {"trigger": deferred["trigger"]}) for _ in range(2)]

    with ended_at_last(*(process for process, _ in pair)):
        events = [swap.finish(*step)["event"] for step in pair]
        told = swap.finish(*swap.start(deferred["method"], {**deferred["kwargs"], "event": events[1]}))

    assert events[0]["ended"] == events[1]["ended"]
    assert requests_of(server, "notification_delete") == len(events[1]["notification_ids"])
    assert_bought_once(server, swap, told["result"])


def test_worker_killed_during_the_download_fetches_only_the_rest(
    server: EmulatorServer, make_swap: MakeSwap, tmp_path: Path
) -> None:
    """What arrived whole before the death stays and is not fetched again; no half file has a final name."""
    swap = make_swap("state_path")
    result = swap.run()
    output = tmp_path / "output"
    arguments = {"job_ids": result, "output_path": str(output), "max_concurrency": 1}
    download = ProcessTask(DOWNLOAD, arguments, swap.connection, tmp_path)
    server.faults.add("result_image", "hang", after=2)
    download.kill_when(lambda: requests_of(server, "result_image") == 3)
    before = pictures(output)

    assert_bought_once(server, swap, result)

    assert len(before) == 2
    assert requests_of(server, "result_image") == IMAGES + 1
