# SPDX-License-Identifier: Apache-2.0
"""The regenerate operator: which images it regenerates, and that each is requested once."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_piktid.client import PiktidClient
from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import (
    PiktidBudgetError,
    PiktidConfigError,
    PiktidPartialResultError,
    PiktidSubmissionError,
)
from airflow_provider_piktid.operators.regenerate import PiktidRegenerateOperator
from tests.support.batch import swap_run
from tests.support.fixtures import Start
from tests.support.tasks import TaskRun

pytestmark = pytest.mark.usefixtures("fast_polls")

PATHS = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "sync"])


def job_with_failures(server: EmulatorServer, failed: list[int]) -> list[str]:
    """Buy a job of three images, of which the given ones fail."""
    if failed:
        server.faults.add("job", "fail_image", indices=failed, message="no face")
    job_ids: list[str] = swap_run(server, 3).run()
    return job_ids


def regenerate_run(job_ids: list[str], **arguments: Any) -> TaskRun:
    fixed: dict[str, Any] = {"task_id": "repair", "job_ids": job_ids, "poll_interval": 0.3, "timeout": 30.0}
    return TaskRun(lambda: PiktidRegenerateOperator(**(fixed | arguments)))


def asked(server: EmulatorServer) -> int:
    """The number of regenerate requests that the emulator received."""
    count: int = server.state.stats()["operations"].get("regenerate", {}).get("requests", 0)
    return count


@PATHS
def test_regenerate_requests_only_failed_images(server: EmulatorServer, deferrable: bool) -> None:
    """By default each failed output is regenerated once, and the task waits for the new version."""
    job_ids = job_with_failures(server, [0, 2])
    task = regenerate_run(job_ids, deferrable=deferrable)

    assert task.run() == job_ids

    assert asked(server) == 2
    assert task.ti.xcom["summary"] == {"requested": 2, "successful": 2, "failed": 0, "failures": []}
    with PiktidClient("piktid-emulator", base_url=server.url) as client:
        results = client.get_job_results(job_ids[0]).results
    assert {(result.image_index, result.version) for result in results} == {(0, 1), (1, 0), (2, 1)}


@PATHS
def test_regenerate_without_failures_sends_no_request(server: EmulatorServer, deferrable: bool) -> None:
    """A job without failed images sends no request, and the job ids are returned."""
    job_ids = job_with_failures(server, [])

    assert regenerate_run(job_ids, deferrable=deferrable).run() == job_ids
    assert asked(server) == 0


@PATHS
def test_regenerate_retry_sends_no_request(server: EmulatorServer, deferrable: bool) -> None:
    """A retry finds the requests of the first try and sends none."""
    task = regenerate_run(job_with_failures(server, [1]), deferrable=deferrable)
    task.run()

    task.run()

    assert asked(server) == 1


def without_record(task: TaskRun) -> TaskRun:
    """Let the next try be a later one of which no record is left."""
    task.store, task.ti.try_number = None, 1
    return task


@PATHS
@pytest.mark.parametrize("images", [None, [{"image_index": 1}]], ids=["failed", "named"])
def test_retry_without_a_record_waits_for_what_was_requested(
    start: Start, images: list[dict[str, int]] | None, deferrable: bool
) -> None:
    """Without a record, versions that an earlier try requested are waited for and not requested again."""
    server = start(job_seconds=0.2)
    job_ids = job_with_failures(server, [1])
    first = regenerate_run(job_ids, images=images)
    first.run()

    task = without_record(regenerate_run(job_ids, images=images, deferrable=deferrable))
    assert task.run() == job_ids

    assert asked(server) == 1
    assert task.ti.xcom["summary"]["successful"] == 1


def test_retry_without_a_record_waits_for_a_version_in_the_making(start: Start) -> None:
    """Without a record, a new version that is still being made is waited for, instead of returning the old one."""
    server = start(job_seconds=0.9)
    job_ids = job_with_failures(server, [1])
    with PiktidClient("piktid-emulator", base_url=server.url) as client:
        client.regenerate_image(job_ids[0], 1)

        without_record(regenerate_run(job_ids)).run()

        newest = max(client.get_job_results(job_ids[0]).results, key=lambda result: result.version)
    assert (newest.version, newest.status) == (1, "completed")
    assert asked(server) == 1


def test_retry_without_a_record_requests_what_was_never_requested(server: EmulatorServer) -> None:
    """Without a record, outputs whose first version is the newest one are requested."""
    job_ids = job_with_failures(server, [1])

    without_record(regenerate_run(job_ids)).run()

    assert asked(server) == 1


@pytest.mark.parametrize("policy", ["fail", "resubmit"])
def test_retry_without_a_record_and_times_follows_the_policy(server: EmulatorServer, policy: str) -> None:
    """Without a record, a version of which PiktID does not tell the time fails the task, or is requested again."""
    job_ids = job_with_failures(server, [])
    chosen = [{"image_index": 1}]
    regenerate_run(job_ids, images=chosen).run()
    with PiktidClient("piktid-emulator", base_url=server.url) as client:
        results = [vars(result) for result in client.get_job_results(job_ids[0]).results]
    rows = [{name: row[name] for name in ("image_index", "version", "status")} for row in results]
    server.faults.add("job_results", "status", code=200, body={"status": "completed", "results": rows})
    task = without_record(regenerate_run(job_ids, images=chosen, on_lost_reply=policy))

    if policy == "fail":
        with pytest.raises(PiktidSubmissionError, match="left no record"):
            task.run()
    else:
        task.run()
    assert asked(server) == (1 if policy == "fail" else 2)


def test_regenerate_accepts_successful_images(server: EmulatorServer) -> None:
    """``images`` may name an output that succeeded."""
    job_ids = job_with_failures(server, [])

    regenerate_run(job_ids, images=[{"image_index": 1}]).run()

    assert asked(server) == 1


def test_regenerate_lost_reply_is_resolved_by_the_new_version(server: EmulatorServer) -> None:
    """After a lost reply the new version shows that the request arrived, and it is not sent again."""
    job_ids = job_with_failures(server, [1])
    server.faults.add("regenerate", "drop_after")

    regenerate_run(job_ids).run()

    assert asked(server) == 1


@pytest.mark.parametrize("policy", ["fail", "resubmit"])
def test_regenerate_request_that_never_arrived_follows_the_policy(
    server: EmulatorServer, policy: str
) -> None:
    """A lost reply without a new version fails the task with ``fail`` and is sent again with ``resubmit``."""
    job_ids = job_with_failures(server, [1])
    server.faults.add("regenerate", "drop_before")
    task = regenerate_run(job_ids, on_lost_reply=policy, lost_reply_grace=1.0)

    if policy == "fail":
        with pytest.raises(PiktidSubmissionError, match="on_lost_reply"):
            task.run()
        assert asked(server) == 1
    else:
        task.run()
        assert asked(server) == 2


def test_regenerate_over_max_images_sends_no_request(server: EmulatorServer) -> None:
    """More outputs than ``max_images`` fail the task before the first request."""
    job_ids = job_with_failures(server, [0, 1])

    with pytest.raises(AirflowFailException) as caught:
        regenerate_run(job_ids, max_images=1).run()

    assert isinstance(caught.value.__cause__, PiktidBudgetError)
    assert asked(server) == 0


def test_regenerate_unknown_image_is_refused(server: EmulatorServer) -> None:
    """An image index that the job does not have fails the task, and the error names it."""
    job_ids = job_with_failures(server, [])

    with pytest.raises(AirflowFailException, match="image 9") as caught:
        regenerate_run(job_ids, images=[{"image_index": 9}]).run()

    assert isinstance(caught.value.__cause__, PiktidConfigError)


def test_regenerate_that_fails_again_fails_permanently(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that fails again fails the task without a retry."""
    job_ids = job_with_failures(server, [1])
    server.faults.add(
        "job_results",
        "status",
        code=200,
        after=1,
        times=None,
        body={
            "status": "completed",
            "results": [
                {
                    "image_index": 1,
                    "group_index": 0,
                    "version": 1,
                    "status": "failed",
                    "error_message": "again",
                }
            ],
        },
    )

    with pytest.raises(AirflowFailException, match="again") as caught:
        regenerate_run(job_ids).run()

    assert isinstance(caught.value.__cause__, PiktidPartialResultError)
