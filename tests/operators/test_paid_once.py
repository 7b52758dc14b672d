# SPDX-License-Identifier: Apache-2.0
"""
The fault matrix: whatever goes wrong, each chunk of images is bought exactly once.

Faults are planned in the emulator, which also counts the jobs. Each row runs on the deferrable and on the
sync path. Where a row buys more or less than one job, it says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_piktid.client import PiktidClient
from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import (
    PiktidAuthError,
    PiktidJobAbortedError,
    PiktidJobError,
    PiktidJobFailedError,
    PiktidJobTimeout,
    PiktidPartialResultError,
    PiktidRecordError,
    PiktidSubmissionError,
)
from tests.support.batch import jobs, swap_run
from tests.support.fixtures import Start
from tests.support.tasks import StateStore, TaskRun

PATHS = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "sync"])


@dataclass
class Fault:
    """A planned failure and how the task should fare."""

    operation: str
    kind: str
    params: dict[str, Any] = field(default_factory=dict)
    tries: int = 1
    bought: int = 1
    why: str = ""


SURVIVED = {
    "reply lost": Fault("model_swap", "drop_after"),
    "reply lost after a 502": Fault("model_swap", "status", {"code": 502, "done": True}),
    "reply of HTML": Fault("model_swap", "html", {"done": True}),
    "reply of garbage": Fault("model_swap", "garbage_json", {"done": True}),
    "reply of wrong types": Fault("model_swap", "wrong_types", {"done": True}),
    "reply cut": Fault("model_swap", "truncate", {"done": True}),
    "rate refused": Fault("model_swap", "status", {"code": 429, "headers": {"Retry-After": "1"}}),
    "active jobs refused": Fault(
        "model_swap",
        "status",
        {"code": 429, "body": {"error": "Too many active jobs"}, "headers": {"Retry-After": "1"}},
    ),
    "status answers 500": Fault("job_status", "status", {"code": 500, "times": 3}),
    "status answers 429": Fault("job_status", "status", {"code": 429, "times": 2}),
    "status answers HTML": Fault("job_status", "html", {"times": 2}),
    "status answers garbage": Fault("job_status", "garbage_json", {"times": 2}),
    "status answers wrong types": Fault("job_status", "wrong_types", {"times": 2}),
    "status answers more than documented": Fault("job_status", "extra_fields", {"times": None}),
    "status cut": Fault("job_status", "drop", {"times": 2}),
    "results answer 503": Fault("job_results", "status", {"code": 503, "times": 2}),
    "results cut": Fault("job_results", "truncate", {"times": 1}),
    "no stream": Fault("events", "no_stream", {"times": None}),
    "stream cut every second": Fault("events", "cut_after", {"seconds": 1.0, "times": None}),
    "stream silent": Fault("events", "silent", {"times": None}),
    "stream of junk": Fault("events", "junk", {"times": None}),
    "stream with half a frame": Fault("events", "half", {"times": None}),
    "stream doubled": Fault("events", "double", {"times": None}),
    "stream reordered": Fault("events", "reorder", {"times": None}),
    "stream with CR LF": Fault("events", "crlf", {"times": None}),
    "stream with data: null": Fault("events", "null_data", {"times": None}),
    "stream with a thousand foreign jobs": Fault("events", "foreign", {"n": 1000, "times": None}),
    "unknown status word for a while": Fault("job", "unknown_status", {"word": "archiving", "seconds": 0.4}),
    "post-processing failed": Fault("job", "post_processing_failed"),
}


def plan(server: EmulatorServer, fault: Fault) -> None:
    server.faults.add(fault.operation, fault.kind, **fault.params)


@PATHS
@pytest.mark.parametrize("fault", SURVIVED.values(), ids=SURVIVED)
def test_one_try_survives_and_buys_once(server: EmulatorServer, fault: Fault, deferrable: bool) -> None:
    """The first try succeeds in spite of the fault, and one job was bought."""
    task = swap_run(server, 2, deferrable=deferrable, post_process=fault.kind == "post_processing_failed")
    plan(server, fault)

    result = task.run()

    assert result == [job["job_id"] for job in jobs(server)]
    assert len(jobs(server)) == 1


@PATHS
def test_fresh_job_may_answer_404_for_a_while(start: Start, deferrable: bool) -> None:
    """A 404 before the first 200 of a young job is waited out."""
    server = start(variants={"fresh_404": "2"})

    assert swap_run(server, 1, deferrable=deferrable).run() == [jobs(server)[0]["job_id"]]


@PATHS
def test_lost_notifications_cost_no_job(start: Start, deferrable: bool) -> None:
    """A job that tells nothing is found to have ended by asking for its status."""
    server = start(job_seconds=1.0)
    server.faults.add("job", "lose_notifications")
    server.faults.add("events", "no_stream", times=None)

    swap_run(server, 1, deferrable=deferrable).run()

    assert len(jobs(server)) == 1


@PATHS
@pytest.mark.parametrize("policy", ["fail", "resubmit"])
def test_request_that_never_arrived_follows_the_policy(
    server: EmulatorServer, policy: str, deferrable: bool
) -> None:
    """
    A request whose fate is unknown and which PiktID does not list is not sent again, unless told so.

    ``fail`` buys nothing, because the request was cut off before it was served; ``resubmit`` buys once.
    """
    server.faults.add("model_swap", "drop_before")
    task = swap_run(server, 1, deferrable=deferrable, on_lost_reply=policy)

    if policy == "fail":
        with pytest.raises(PiktidSubmissionError, match="on_lost_reply"):
            task.run()
        assert jobs(server) == []
    else:
        task.run()
        assert len(jobs(server)) == 1


@PATHS
def test_retry_after_an_ambiguous_failure_finds_a_job_that_appeared_late(
    server: EmulatorServer, deferrable: bool
) -> None:
    """The next try looks again before anything else, and goes on with the job that was bought after all."""
    server.faults.add("model_swap", "drop_after")
    server.faults.add("gallery_jobs", "status", code=200, body={"jobs": [], "pagination": {}}, times=2)
    task = swap_run(server, 1, deferrable=deferrable)
    with pytest.raises(PiktidSubmissionError):
        task.run()

    result = task.run()

    assert result == [job["job_id"] for job in jobs(server)]
    assert len(jobs(server)) == 1


@PATHS
def test_unreadable_list_of_jobs_is_not_an_empty_one(server: EmulatorServer, deferrable: bool) -> None:
    """If PiktID cannot be asked for a lost job, the task stops instead of buying again."""
    server.faults.add("model_swap", "drop_after")
    server.faults.add("gallery_jobs", "status", code=403, times=None)
    task = swap_run(server, 1, deferrable=deferrable, on_lost_reply="resubmit")

    with pytest.raises(AirflowFailException) as caught:
        task.run()

    assert isinstance(caught.value.__cause__, PiktidAuthError)
    assert len(jobs(server)) == 1


@PATHS
def test_retry_attaches_to_a_job_that_still_runs(start: Start, deferrable: bool) -> None:
    """A deadline that passed says that the job still runs; the retry waits for it with a new deadline."""
    server = start(job_seconds=60)
    task = swap_run(server, 1, deferrable=deferrable, timeout=0.5)
    with pytest.raises(PiktidJobTimeout, match=jobs(server)[0]["job_id"] if jobs(server) else "still run"):
        task.run()
    server.state.complete_job(jobs(server)[0]["job_id"])

    assert task.run() == [jobs(server)[0]["job_id"]]
    assert len(jobs(server)) == 1


@PATHS
def test_clear_with_unchanged_input_attaches(server: EmulatorServer, deferrable: bool) -> None:
    """Running a successful task again gives the same jobs and pays nothing."""
    task = swap_run(server, 12, deferrable=deferrable)
    first = task.run()

    assert task.run() == first
    assert len(jobs(server)) == 2


@pytest.mark.parametrize(
    "change",
    [{"identity_code": "PiktidPremium"}, {"num_variations": 2}, {"rerun_key": "second"}],
    ids=["identity", "options", "rerun_key"],
)
def test_clear_with_changed_input_buys_anew(server: EmulatorServer, change: dict[str, Any]) -> None:
    """Other content, or a new generation, is a new purchase: two jobs, on purpose."""
    task = swap_run(server, 1)
    (first,) = task.run()
    old = task.make()
    again = swap_run(server, old.images, project_id=old.project_id, **change)
    again.store, again.ti = task.store, task.ti

    (second,) = again.run()

    assert second != first
    assert len(jobs(server)) == 2


@PATHS
@pytest.mark.parametrize(
    ("kind", "error"),
    [("abort_job", PiktidJobAbortedError), ("fail_job", PiktidJobFailedError)],
    ids=["aborted", "failed"],
)
def test_paid_job_that_ended_badly_is_not_bought_again(
    server: EmulatorServer, kind: str, error: type[PiktidJobError], deferrable: bool
) -> None:
    """A job that ended badly but cost credits fails the task at once; a retry attaches and fails the same way."""
    server.faults.add("job", kind)
    task = swap_run(server, 2, deferrable=deferrable)

    for _ in range(2):
        with pytest.raises(AirflowFailException) as caught:
            task.run()
        assert isinstance(caught.value.__cause__, error)

    assert len(jobs(server)) == 1


@PATHS
def test_failed_job_without_cost_is_bought_again_by_a_retry(server: EmulatorServer, deferrable: bool) -> None:
    """A job that failed, gave nothing and cost nothing is submitted anew: two jobs, one of them paid."""
    server.faults.add("job", "fail_job")
    server.faults.add(
        "job_results", "status", code=200, body={"status": "failed", "results": [], "credits_used": 0}
    )
    task = swap_run(server, 1, deferrable=deferrable)
    with pytest.raises(PiktidJobFailedError):
        task.run()

    assert task.run() == [jobs(server)[1]["job_id"]]
    assert len(jobs(server)) == 2


@PATHS
@pytest.mark.parametrize("strict", [True, False], ids=["fail_on_partial", "tolerant"])
def test_partial_failure_follows_the_policy(server: EmulatorServer, strict: bool, deferrable: bool) -> None:
    """Single failed images fail the task only if asked; the summary names them either way."""
    server.faults.add("job", "fail_image", indices=[1], message="no face")
    task = swap_run(server, 3, deferrable=deferrable, fail_on_partial=strict)

    if strict:
        with pytest.raises(AirflowFailException, match="no face") as caught:
            task.run()
        assert isinstance(caught.value.__cause__, PiktidPartialResultError)
    else:
        task.run()

    summary = task.ti.xcom["summary"]
    assert (summary["successful"], summary["failed"]) == (2, 1)
    assert "no face" in summary["failures"][0]


@PATHS
def test_wrong_token_fails_at_once_in_one_line(start: Start, deferrable: bool) -> None:
    """A refused token burns no retries; the message is one line with the connection and without the token."""
    server = start(token="another")

    with pytest.raises(AirflowFailException) as caught:
        swap_run(server, ["file"], deferrable=deferrable).run()

    text = str(caught.value)
    assert isinstance(caught.value.__cause__, PiktidAuthError)
    assert "piktid_default" in text
    assert "\n" not in text
    assert "piktid-emulator" not in text


@PATHS
@pytest.mark.parametrize("operation", ["read", "write"])
def test_record_that_cannot_be_used_stops_the_task(
    server: EmulatorServer, operation: str, deferrable: bool
) -> None:
    """ "Could not read the record" is never taken for "no record", and nothing is bought without an intent."""
    task = swap_run(server, 1, deferrable=deferrable)
    assert task.store is not None
    task.store.fail_reads, task.store.fail_writes = operation == "read", operation == "write"

    with pytest.raises(PiktidRecordError):
        task.run()

    assert jobs(server) == []


@PATHS
@pytest.mark.parametrize("place", ["task state", "state_path"])
def test_process_killed_after_the_intent_finds_its_job(
    server: EmulatorServer, tmp_path: Path, place: str, deferrable: bool
) -> None:
    """If the job id could not be written down any more, the next try finds the job at PiktID."""

    class Dies(StateStore):
        def set(self, key: str, value: Any) -> None:
            if value["submissions"][0]["job_id"] and armed:
                raise KeyboardInterrupt
            super().set(key, value)

    armed = place == "task state"
    path = str(tmp_path / "state") if place == "state_path" else None
    task = swap_run(server, 1, deferrable=deferrable, state_path=path)
    task.store = Dies() if armed else None
    if armed:
        with pytest.raises(KeyboardInterrupt):
            task.run()
        armed = False
    else:
        server.faults.add("model_swap", "drop_after")

    assert task.run() == [job["job_id"] for job in jobs(server)]
    assert len(jobs(server)) == 1


def test_retry_without_any_record_finds_the_job_at_piktid(start: Start) -> None:
    """On an Airflow without task state store and without ``state_path`` a retry still does not pay twice."""
    server = start(job_seconds=60)
    task = swap_run(server, 12, deferrable=True, timeout=0.5)
    task.store = None
    with pytest.raises(PiktidJobTimeout):
        task.run()
    for job in jobs(server):
        server.state.complete_job(job["job_id"])

    assert task.run() == [job["job_id"] for job in jobs(server)]
    assert len(jobs(server)) == 2


def test_retry_without_any_record_leaves_other_runs_alone(server: EmulatorServer) -> None:
    """Jobs of the same images that were bought before this DAG run began are somebody else's: two purchases."""
    earlier = swap_run(server, 1)
    earlier.run()
    old = earlier.make()
    task = swap_run(server, old.images, project_id=old.project_id)
    task.store, task.ti.try_number = None, 1
    task.began = datetime.now(UTC) + timedelta(seconds=400)

    task.run()

    assert len(jobs(server)) == 2


@PATHS
def test_job_ids_are_there_before_the_verdict(server: EmulatorServer, deferrable: bool) -> None:
    """A task that fails after paying leaves its job ids, so that what exists can be downloaded."""
    server.faults.add("job", "fail_image", indices=[0])
    task = swap_run(server, 2, deferrable=deferrable, fail_on_partial=True)

    with pytest.raises(AirflowFailException):
        task.run()

    assert task.ti.xcom["job_ids"] == [job["job_id"] for job in jobs(server)]


@PATHS
def test_batch_larger_than_the_account_allows_runs_through(start: Start, deferrable: bool) -> None:
    """Six jobs pass an account of two at once and three per window, each bought once, none refused for good."""
    server = start(
        jobs_per_minute=3,
        rate_window=2.0,
        active_jobs=2,
        job_seconds=0.3,
        extra={"jobs_per_minute": 3, "rate_window": 2.0, "active_jobs": 2, "images_per_job": 1},
    )
    task = swap_run(server, 6, deferrable=deferrable)

    result = task.run()

    assert result == [job["job_id"] for job in jobs(server)]
    assert len(jobs(server)) == 6
    assert server.state.stats()["most_active_jobs"] <= 2


def test_killed_worker_says_what_still_runs(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """``on_kill`` names the jobs that go on and bill, and invents no cancellation."""
    server = start(job_seconds=60)
    operators: list[Any] = []
    task = swap_run(server, 1, deferrable=False, timeout=0.3)
    make = task.make

    def remember() -> Any:
        operators.append(make())
        return operators[-1]

    killed = TaskRun(remember)
    with pytest.raises(PiktidJobTimeout):
        killed.run()

    before = server.state.stats()["operations"]
    operators[0].on_kill()

    assert server.state.stats()["operations"] == before


def test_two_triggers_at_once_do_no_harm(start: Start) -> None:
    """The same trigger running twice gives the same event twice and changes nothing at PiktID."""
    import asyncio

    from airflow_provider_piktid.triggers.job import PiktidJobTrigger
    from tests.support.tasks import first_event, rebuild

    server = start(job_seconds=0.5)
    (job_id,) = swap_run(server, 1, wait_for_completion=False).run()
    trigger = PiktidJobTrigger([job_id])

    async def both() -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(first_event(rebuild(trigger)) for _ in range(2))))

    first, second = asyncio.run(both())

    assert first["status"] == second["status"] == "done"
    assert len(jobs(server)) == 1
    with PiktidClient("piktid-emulator", base_url=server.url) as client:
        assert [note for note in client.list_notifications(["completed"]) if note.job_id == job_id]
