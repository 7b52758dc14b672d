# SPDX-License-Identifier: Apache-2.0
"""
Workers and triggers are killed with SIGKILL at every point; each chunk of images is bought once.

Separate processes replace Airflow's, so that the tests run on every version. ``test_crash_stack`` kills
processes of a running Airflow at some of these points.
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
#: Two images per job: two submissions, so that one is recorded when the worker dies during the other.
CONNECTION: dict[str, Any] = {"images_per_job": 2, "jobs_per_minute": 100}

MakeSwap = Callable[..., ProcessTask]
BOTH_STORES = pytest.mark.parametrize("kept", ["state_path", "task state store"])


@pytest.fixture
def make_swap(server: EmulatorServer, tmp_path: Path) -> MakeSwap:
    """Return a swap of four images in two jobs that can kill itself once."""

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
    """Each chunk has one job, the ids are in order, and every output can be downloaded."""
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
    """After a kill before or after a write of the record, the retry submits only what is missing."""
    # Without a record nobody knows which jobs were never sent: to submit them is a choice.
    policy = "resubmit" if kept == "nowhere" else "fail"
    swap = make_swap(kept, point=point, submission=submission, on_lost_reply=policy)
    with pytest.raises(StepKilled):
        swap.run()

    result = swap.run()

    assert_bought_once(server, swap, result)


@pytest.mark.parametrize("submission", [0, 1], ids=["first job", "second job"])
def test_retry_without_a_record_does_not_submit_what_is_missing(
    server: EmulatorServer, make_swap: MakeSwap, submission: int
) -> None:
    """Where no record can be kept, a retry fails by default if PiktID does not list all jobs."""
    swap = make_swap("nowhere", point="before the intent", submission=submission)
    with pytest.raises(StepKilled):
        swap.run()

    with pytest.raises(StepFailed, match=r"PiktidSubmissionError.*left no record"):
        swap.run()

    assert len(jobs(server)) == submission


@BOTH_STORES
@pytest.mark.parametrize("submission", [0, 1], ids=["first job", "second job"])
def test_worker_killed_between_intent_and_request_fails_by_default(
    server: EmulatorServer, make_swap: MakeSwap, kept: Records, submission: int
) -> None:
    """After a kill between intent and request, the retry fails by default; only the other job is bought."""
    swap = make_swap(kept, point="after the intent", submission=submission)
    with pytest.raises(StepKilled):
        swap.run()

    for _ in range(2):
        with pytest.raises(StepFailed, match=r"PiktidSubmissionError.*on_lost_reply='resubmit'"):
            swap.run()

    (other,) = jobs(server)
    images = swap.arguments["images"]
    assert other["images"] == (images[2:] if submission == 0 else images[:2])


@BOTH_STORES
@pytest.mark.parametrize("submission", [0, 1], ids=["first job", "second job"])
def test_worker_killed_between_intent_and_request_can_resubmit(
    server: EmulatorServer, make_swap: MakeSwap, kept: Records, submission: int
) -> None:
    """With ``on_lost_reply="resubmit"`` the retry submits a job that PiktID does not list."""
    swap = make_swap(kept, point="after the intent", submission=submission, on_lost_reply="resubmit")
    with pytest.raises(StepKilled):
        swap.run()

    result = swap.run()

    assert_bought_once(server, swap, result)


@pytest.mark.parametrize("kept", get_args(Records))
def test_worker_killed_between_request_and_reply_buys_once(
    server: EmulatorServer, make_swap: MakeSwap, kept: Records
) -> None:
    """After a kill between request and reply, the retry finds the job in PiktID's list."""
    server.faults.add("model_swap", "hang", after=1, done=True)
    swap = make_swap(kept)
    swap.kill_when(lambda: len(jobs(server)) == 2)

    result = swap.run()

    assert_bought_once(server, swap, result)


@BOTH_STORES
def test_job_that_is_listed_late_is_found_within_the_grace_period(
    server: EmulatorServer, make_swap: MakeSwap, kept: Records
) -> None:
    """A job that is missing in the first listing is found after the grace period."""
    server.faults.add("model_swap", "hang", after=1, done=True)
    server.faults.add("gallery_jobs", "status", code=200, body={"jobs": [], "pagination": {}})
    # The period begins with the request: a retry must start within it, also on a busy machine.
    swap = make_swap(kept, lost_reply_grace=8.0)
    swap.kill_when(lambda: len(jobs(server)) == 2)

    result = swap.run()

    assert server.faults.all_met()
    assert_bought_once(server, swap, result)


@pytest.mark.parametrize("kept", get_args(Records))
def test_worker_killed_during_its_wait_reattaches(start: Start, make_swap: MakeSwap, kept: Records) -> None:
    """After a kill during a sync wait, the retry re-attaches to the jobs."""
    server = start(job_seconds=1.5)
    swap = make_swap(kept, server=server, deferrable=False)
    swap.kill_when(lambda: len(jobs(server)) == 2 and requests_of(server, "job_status") >= 2)

    result = swap.run()

    assert_bought_once(server, swap, result)


@BOTH_STORES
def test_trigger_killed_during_the_wait_is_replaced(start: Start, make_swap: MakeSwap, kept: Records) -> None:
    """After a trigger is killed, a copy with the same arguments completes the wait."""
    server = start(job_seconds=1.5)
    swap = make_swap(kept, server=server)
    swap.tries = 1
    deferred = swap.finish(*swap.start("execute", {}))
    swap.kill_when(lambda: requests_of(server, "events") == 1, "trigger", trigger=deferred["trigger"])

    event = swap.finish(*swap.start("trigger", {"trigger": deferred["trigger"]}))["event"]
    told = swap.finish(*swap.start(deferred["method"], {**deferred["kwargs"], "event": event}))

    assert_bought_once(server, swap, told["result"])


@BOTH_STORES
def test_two_copies_of_a_trigger_do_not_interfere(start: Start, make_swap: MakeSwap, kept: Records) -> None:
    """Two copies of a trigger report the same end, and neither deletes a notification."""
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


def test_worker_killed_during_the_download_keeps_complete_files(
    server: EmulatorServer, make_swap: MakeSwap, tmp_path: Path
) -> None:
    """After a kill during the download, the retry keeps the complete files and adds the missing ones."""
    swap = make_swap("state_path")
    result = swap.run()
    output = tmp_path / "output"
    arguments = {"job_ids": result, "output_path": str(output), "max_concurrency": 1}
    download = ProcessTask(DOWNLOAD, arguments, swap.connection, tmp_path)
    server.faults.add("result_image", "hang", after=2)
    # Not at the third request alone: the second picture may still be checked then.
    download.kill_when(lambda: requests_of(server, "result_image") == 3 and len(pictures(output)) == 2)
    before = [path.name for path in pictures(output)]

    assert_bought_once(server, swap, result)

    assert len(before) == 2
    assert {*before} < {path.name for path in pictures(output)}
