# SPDX-License-Identifier: Apache-2.0
"""
The swap operator with planned faults: each job is bought once.

The emulator plans the faults and counts the jobs. Most tests run deferrable and sync.
"""

from __future__ import annotations

from collections.abc import Callable
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
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator
from tests.support.batch import jobs, swap_run
from tests.support.fixtures import Start
from tests.support.service import connection_json, picture
from tests.support.tasks import StateStore, TaskInstance, TaskRun

PATHS = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "sync"])


@dataclass
class Fault:
    """A planned fault."""

    operation: str
    kind: str
    params: dict[str, Any] = field(default_factory=dict)


SURVIVED = {
    "reply lost": Fault("model_swap", "drop_after"),
    "reply lost after a 502": Fault("model_swap", "status", {"code": 502, "done": True}),
    "HTML reply": Fault("model_swap", "html", {"done": True}),
    "invalid JSON reply": Fault("model_swap", "garbage_json", {"done": True}),
    "reply with wrong types": Fault("model_swap", "wrong_types", {"done": True}),
    "truncated reply": Fault("model_swap", "truncate", {"done": True}),
    "rate limit": Fault("model_swap", "status", {"code": 429, "headers": {"Retry-After": "1"}}),
    "active-job limit": Fault(
        "model_swap",
        "status",
        {"code": 429, "body": {"error": "Too many active jobs"}, "headers": {"Retry-After": "1"}},
    ),
    "status: 500": Fault("job_status", "status", {"code": 500, "times": 3}),
    "status: 429": Fault("job_status", "status", {"code": 429, "times": 2}),
    "status: HTML": Fault("job_status", "html", {"times": 2}),
    "status: invalid JSON": Fault("job_status", "garbage_json", {"times": 2}),
    "status: wrong types": Fault("job_status", "wrong_types", {"times": 2}),
    "status: undocumented fields": Fault("job_status", "extra_fields", {"times": None}),
    "status: connection dropped": Fault("job_status", "drop", {"times": 2}),
    "results: 503": Fault("job_results", "status", {"code": 503, "times": 2}),
    "results: truncated": Fault("job_results", "truncate", {"times": 1}),
    "no stream": Fault("events", "no_stream", {"times": None}),
    "stream closed every second": Fault("events", "cut_after", {"seconds": 1.0, "times": None}),
    "stream silent": Fault("events", "silent", {"times": None}),
    "stream with invalid frames": Fault("events", "junk", {"times": None}),
    "stream with a partial frame": Fault("events", "half", {"times": None}),
    "stream with repeated frames": Fault("events", "double", {"times": None}),
    "stream with reordered frames": Fault("events", "reorder", {"times": None}),
    "stream with CR LF": Fault("events", "crlf", {"times": None}),
    "stream with data: null": Fault("events", "null_data", {"times": None}),
    "stream with 1,000 foreign jobs": Fault("events", "foreign", {"n": 1000, "times": None}),
    "unknown status": Fault("job", "unknown_status", {"word": "archiving", "seconds": 0.4}),
    "post-processing failed": Fault("job", "post_processing_failed"),
}


def plan(server: EmulatorServer, fault: Fault) -> None:
    server.faults.add(fault.operation, fault.kind, **fault.params)


@PATHS
@pytest.mark.parametrize("fault", SURVIVED.values(), ids=SURVIVED)
def test_fault_is_survived_by_the_first_try(server: EmulatorServer, fault: Fault, deferrable: bool) -> None:
    """In spite of the fault the first try succeeds, and one job is bought."""
    task = swap_run(server, 2, deferrable=deferrable, post_process=fault.kind == "post_processing_failed")
    plan(server, fault)

    result = task.run()

    assert result == [job["job_id"] for job in jobs(server)]
    assert len(jobs(server)) == 1


@PATHS
def test_new_job_may_answer_404_at_first(start: Start, deferrable: bool) -> None:
    """HTTP 404 before the first HTTP 200 of a new job does not fail the task."""
    server = start(variants={"fresh_404": "2"})

    assert swap_run(server, 1, deferrable=deferrable).run() == [jobs(server)[0]["job_id"]]


@PATHS
def test_end_without_notifications_is_found_by_the_status(start: Start, deferrable: bool) -> None:
    """Without notifications and stream the end of a job is found by its status."""
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
    """A lost reply without a listed job fails the task, or is resubmitted with ``resubmit``."""
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
def test_retry_after_a_lost_reply_finds_a_job_listed_late(server: EmulatorServer, deferrable: bool) -> None:
    """After a lost reply failed the task, the retry re-attaches to the job once PiktID lists it."""
    server.faults.add("model_swap", "drop_after")
    server.faults.add("gallery_jobs", "status", code=200, body={"jobs": [], "pagination": {}}, times=None)
    task = swap_run(server, 1, deferrable=deferrable)
    with pytest.raises(PiktidSubmissionError):
        task.run()
    server.faults.clear()

    result = task.run()

    assert result == [job["job_id"] for job in jobs(server)]
    assert len(jobs(server)) == 1


@PATHS
def test_job_list_that_cannot_be_read_fails_the_task(server: EmulatorServer, deferrable: bool) -> None:
    """If the job list cannot be read after a lost reply, the task fails and does not resubmit."""
    server.faults.add("model_swap", "drop_after")
    server.faults.add("gallery_jobs", "status", code=403, times=None)
    task = swap_run(server, 1, deferrable=deferrable, on_lost_reply="resubmit")

    with pytest.raises(AirflowFailException) as caught:
        task.run()

    assert isinstance(caught.value.__cause__, PiktidAuthError)
    assert len(jobs(server)) == 1


@PATHS
def test_retry_reattaches_to_a_running_job(start: Start, deferrable: bool) -> None:
    """After a timeout the retry re-attaches to the job and buys nothing."""
    server = start(job_seconds=60)
    task = swap_run(server, 1, deferrable=deferrable, timeout=0.5)
    with pytest.raises(PiktidJobTimeout, match="still running and will be billed") as caught:
        task.run()
    assert jobs(server)[0]["job_id"] in str(caught.value)
    server.state.complete_job(jobs(server)[0]["job_id"])

    assert task.run() == [jobs(server)[0]["job_id"]]
    assert len(jobs(server)) == 1


@PATHS
def test_cleared_task_reattaches(server: EmulatorServer, deferrable: bool) -> None:
    """A cleared task with unchanged input returns the same job ids and buys nothing."""
    task = swap_run(server, 12, deferrable=deferrable)
    first = task.run()

    assert task.run() == first
    assert len(jobs(server)) == 2


@PATHS
def test_clearing_upload_and_swap_buys_nothing(
    server: EmulatorServer, tmp_path: Path, deferrable: bool
) -> None:
    """If upload and swap are cleared together, the upload returns the same file ids and the swap its jobs."""
    picture(tmp_path / "a.jpg")
    upload = TaskRun(lambda: PiktidUploadImagesOperator(task_id="up", images=str(tmp_path), project_name="x"))
    store = StateStore()

    def run() -> Any:
        given = upload.run()
        swap = swap_run(server, given["file_ids"], project_id=given["project_id"], deferrable=deferrable)
        swap.store = store
        return swap.run()

    assert run() == run()
    assert len(jobs(server)) == 1


@pytest.mark.parametrize(
    "change",
    [{"identity_code": "PiktidPremium"}, {"num_variations": 2}, {"rerun_key": "second"}],
    ids=["identity", "options", "rerun_key"],
)
def test_cleared_task_with_changed_input_buys_again(server: EmulatorServer, change: dict[str, Any]) -> None:
    """A cleared task with another identity, other options or another ``rerun_key`` submits a new job."""
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
def test_paid_job_that_failed_is_not_bought_again(
    server: EmulatorServer, kind: str, error: type[PiktidJobError], deferrable: bool
) -> None:
    """A failed or aborted job that cost credits fails the task permanently, also after a retry."""
    server.faults.add("job", kind)
    task = swap_run(server, 2, deferrable=deferrable)

    for _ in range(2):
        with pytest.raises(AirflowFailException) as caught:
            task.run()
        assert isinstance(caught.value.__cause__, error)

    assert len(jobs(server)) == 1


@PATHS
def test_unpaid_job_that_failed_is_submitted_again_by_a_retry(
    server: EmulatorServer, deferrable: bool
) -> None:
    """A failed job without outputs and costs is submitted again by a retry."""
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
    """A failed image fails the task only with ``fail_on_partial``; the summary lists it either way."""
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
def test_wrong_token_fails_permanently(start: Start, deferrable: bool) -> None:
    """A wrong token fails the task without a retry; the one-line error does not contain it."""
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
def test_record_that_cannot_be_read_or_written_fails_the_task(
    server: EmulatorServer, operation: str, deferrable: bool
) -> None:
    """A record that cannot be read or written fails the task before anything is bought."""
    task = swap_run(server, 1, deferrable=deferrable)
    assert task.store is not None
    task.store.fail_reads, task.store.fail_writes = operation == "read", operation == "write"

    with pytest.raises(PiktidRecordError):
        task.run()

    assert jobs(server) == []


@PATHS
@pytest.mark.parametrize("place", ["task state", "state_path"])
def test_job_whose_id_was_not_stored_is_found(
    server: EmulatorServer, tmp_path: Path, place: str, deferrable: bool
) -> None:
    """If the job id was not stored after the submission, the task finds the job in PiktID's list."""

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


@pytest.mark.parametrize("rerun_key", [None, "second"])
def test_retry_without_a_record_finds_the_jobs_at_piktid(start: Start, rerun_key: str | None) -> None:
    """Without a record, a retry finds the jobs in PiktID's list and buys nothing, whatever the ``rerun_key``."""
    server = start(job_seconds=60)
    task = swap_run(server, 12, deferrable=True, timeout=0.5, rerun_key=rerun_key)
    task.store = None
    with pytest.raises(PiktidJobTimeout):
        task.run()
    for job in jobs(server):
        server.state.complete_job(job["job_id"])

    assert task.run() == [job["job_id"] for job in jobs(server)]
    assert len(jobs(server)) == 2


def without_record(task: TaskRun, *, store: bool = False) -> TaskRun:
    """Let the next try be a second one of which no record is left."""
    task.store, task.ti.try_number = StateStore() if store else None, 1
    return task


def test_retry_without_a_record_ignores_earlier_jobs(server: EmulatorServer) -> None:
    """Without a record, jobs that were created before the DAG run began are ignored."""
    earlier = swap_run(server, 1)
    earlier.run()
    old = earlier.make()
    task = swap_run(server, old.images, project_id=old.project_id, on_lost_reply="resubmit")
    task.began = datetime.now(UTC) + timedelta(seconds=400)

    without_record(task).run()

    assert len(jobs(server)) == 2


@PATHS
@pytest.mark.parametrize("policy", ["fail", "resubmit"])
def test_retry_that_could_keep_no_record_follows_the_policy(
    server: EmulatorServer, policy: str, deferrable: bool
) -> None:
    """Where no record can be kept, a retry fails rather than pay for what PiktID does not list."""
    task = without_record(swap_run(server, 1, deferrable=deferrable, on_lost_reply=policy))

    if policy == "fail":
        with pytest.raises(PiktidSubmissionError, match=r"left no record.*on_lost_reply.*state_path"):
            task.run()
        assert jobs(server) == []
    else:
        task.run()
        assert len(jobs(server)) == 1


@PATHS
def test_retry_with_a_store_and_nothing_at_piktid_submits(server: EmulatorServer, deferrable: bool) -> None:
    """Where a record would have been kept, none and no listed job mean that nothing was sent."""
    without_record(swap_run(server, 1, deferrable=deferrable), store=True).run()

    assert len(jobs(server)) == 1


@PATHS
@pytest.mark.parametrize("store", [False, True], ids=["no store", "cleared store"])
def test_job_listed_late_is_found_without_a_record(
    server: EmulatorServer, store: bool, deferrable: bool
) -> None:
    """Without a record, a job that PiktID lists late, or without its pictures at first, is found by looking again."""
    task = swap_run(server, 2, deferrable=deferrable)
    (bought,) = task.run()
    late = {"jobs": [{"job_id": bought, "job_status": "processing", "images": []}], "pagination": {}}
    server.faults.add("gallery_jobs", "status", code=200, body=late)
    server.faults.add("job_results", "status", code=404)

    assert without_record(task, store=store).run() == [bought]
    assert len(jobs(server)) == 1


def test_other_number_of_images_in_a_job_is_not_bought_again(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a record, jobs of the same images in other numbers fail the task."""
    task = swap_run(server, 4)
    task.run()
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", connection_json(server.url, images_per_job=2))

    with pytest.raises(PiktidSubmissionError, match="left no record"):
        without_record(task, store=True).run()

    assert len(jobs(server)) == 1


@PATHS
def test_failed_task_pushes_its_job_ids(server: EmulatorServer, deferrable: bool) -> None:
    """A task that fails after its purchase has pushed its job ids."""
    server.faults.add("job", "fail_image", indices=[0])
    task = swap_run(server, 2, deferrable=deferrable, fail_on_partial=True)

    with pytest.raises(AirflowFailException):
        task.run()

    assert task.ti.xcom["job_ids"] == [job["job_id"] for job in jobs(server)]


@PATHS
def test_batch_larger_than_the_account_limits_succeeds(start: Start, deferrable: bool) -> None:
    """Six jobs succeed on an account with two active jobs and three submissions per window."""
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


def test_on_kill_names_the_running_jobs_and_sends_no_request(
    start: Start, read_log: Callable[[], str]
) -> None:
    """``on_kill`` logs the jobs that are still running and sends no request to PiktID."""
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
    read_log()
    operators[0].on_kill()

    assert server.state.stats()["operations"] == before
    assert f"{jobs(server)[0]['job_id']} are still running and will be billed" in read_log()


def test_two_copies_of_a_trigger_do_not_interfere(start: Start) -> None:
    """Two copies of a trigger both yield ``done`` and delete no notifications."""
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


def test_old_process_beside_its_retry_submits_nothing(start: Start) -> None:
    """A process that has submitted one of two jobs does not submit the other one after its retry has."""
    results: list[Any] = []

    class Interrupted(StateStore):
        """Runs the retry to its end once the old process has recorded its first job."""

        def set(self, key: str, value: Any) -> None:
            super().set(key, value)
            if value["submissions"][0]["job_id"] and not results:
                results.append("began")
                results.append(TaskRun(task.make, task.store, TaskInstance(try_number=1)).run())

    limits = {"jobs_per_minute": 1, "rate_window": 1.5}
    server = start(**limits, extra={**limits, "images_per_job": 1})
    task = swap_run(server, 2, deferrable=False)
    task.store = Interrupted()

    with pytest.raises(PiktidRecordError, match="Another process of this task"):
        task.run()

    assert results[1] == [job["job_id"] for job in jobs(server)]
    assert len(jobs(server)) == 2


@pytest.mark.parametrize("change", [{"rerun_key": "second"}, {"num_variations": 2}], ids=["key", "options"])
def test_arguments_that_change_back_buy_nothing(server: EmulatorServer, change: dict[str, Any]) -> None:
    """A task that is cleared with other arguments, and then with its first ones again, returns its first jobs."""
    task = swap_run(server, 1)
    first = task.run()
    old = task.make()
    other = swap_run(server, old.images, project_id=old.project_id, **change)
    other.store, other.ti = task.store, task.ti
    second = other.run()

    assert (task.run(), other.run()) == (first, second)
    assert len(jobs(server)) == 2
