# SPDX-License-Identifier: Apache-2.0
"""Triggers give one event on every path; they read, and never pay, delete or cancel."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import Any

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.hooks import piktid as hook_module
from airflow_provider_piktid.triggers.job import JobWatchTrigger, PiktidJobTrigger, PiktidSlotTrigger
from tests.support.batch import buy
from tests.support.fixtures import Start
from tests.support.service import connection_json
from tests.support.tasks import fire, first_event, rebuild

CONN = "AIRFLOW_CONN_PIKTID_DEFAULT"
SECRET = "tok-very-secret"


def job_trigger(*job_ids: str, **arguments: Any) -> PiktidJobTrigger:
    return PiktidJobTrigger(job_ids=list(job_ids), **({"poll_interval": 0.1} | arguments))


def slot_trigger(*job_ids: str, **arguments: Any) -> PiktidSlotTrigger:
    # Queues belong to a connection and an event loop; every test has a loop of its own.
    return PiktidSlotTrigger(job_ids=list(job_ids), **({"poll_interval": 0.1} | arguments))


def all_events(trigger: JobWatchTrigger) -> list[dict[str, Any]]:
    """Everything a trigger ever says."""

    async def collect() -> list[dict[str, Any]]:
        return [event.payload async for event in trigger.run()]

    return asyncio.run(asyncio.wait_for(collect(), 10))


FULL_JOB = job_trigger(
    "a",
    "b",
    piktid_conn_id="other",
    poll_interval=7.5,
    end_time=1e9,
    submitted_at={"a": 1.5},
    resume_state={"record": {"x": [1, None]}},
)
FULL_SLOT = slot_trigger(
    "a",
    piktid_conn_id="other",
    poll_interval=7.5,
    not_before=5.0,
    until_job_ends=True,
    end_time=1e9,
    jobs_per_minute=2,
    active_jobs=3,
    rate_window=4.0,
    submitted_at={"a": 1.5},
    resume_state={"k": "v"},
)


@pytest.mark.parametrize(
    "trigger", [FULL_JOB, FULL_SLOT, job_trigger("a"), slot_trigger()], ids=["job", "slot", "few", "none"]
)
def test_trigger_survives_serialisation(trigger: JobWatchTrigger) -> None:
    """A restarted triggerer builds the same trigger from JSON."""
    again = rebuild(trigger)

    assert type(again) is type(trigger)
    assert again.serialize() == trigger.serialize()
    kept = {name: value for name, value in vars(trigger).items() if name in trigger.serialize()[1]}
    assert {name: vars(again)[name] for name in kept} == kept


@pytest.mark.parametrize("kind", [PiktidJobTrigger, PiktidSlotTrigger])
def test_trigger_serialises_every_argument(kind: type[JobWatchTrigger]) -> None:
    """An argument that is left out would be lost at a restart of the triggerer."""
    import inspect

    names = set(inspect.signature(kind.__init__).parameters) - {"self"}

    assert set(kind(job_ids=[]).serialize()[1]) == names


# -- the job trigger --------------------------------------------------------------------------------------------


def test_done_event_in_full(server: EmulatorServer) -> None:
    """Job ids with their last words, what was seen, and what the worker gave along; nothing else."""
    one, two = buy(server), buy(server)

    event = fire(job_trigger(one, two, resume_state={"record": {"x": 1}}))

    assert event.pop("notification_ids")
    assert event == {
        "status": "done",
        "ended": {one: "completed", two: "completed"},
        "message": "",
        "permanent": False,
        "resume_state": {"record": {"x": 1}},
        "version": 1,
    }


def test_timeout_event_in_full(server: EmulatorServer) -> None:
    """The deadline is an epoch; jobs that have ended are told."""
    server.faults.add("job", "never_end")
    endless, ending = buy(server), buy(server)

    event = fire(job_trigger(endless, ending, end_time=time.time() + 0.8))

    assert (event["status"], event["ended"]) == ("timeout", {ending: "completed"})


def test_lost_job_is_an_end(server: EmulatorServer) -> None:
    """What a lost job means is decided by the worker."""
    assert fire(job_trigger("job-x"))["ended"] == {"job-x": "lost"}


def test_refused_token_is_a_permanent_error_in_one_line(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker can tell that no retry helps; the token is in no message."""
    monkeypatch.setenv(CONN, connection_json(server.url, password=SECRET))

    event = fire(job_trigger("job-x"))

    assert (event["status"], event["permanent"]) == ("error", True)
    assert event["message"].startswith("piktid_default: ")
    assert "\n" not in event["message"]
    assert SECRET not in json.dumps(event)


def test_connection_without_token_is_a_permanent_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waiting does not mend ends the wait."""
    monkeypatch.setenv(CONN, json.dumps({"conn_type": "piktid"}))

    event = fire(job_trigger("job-x", resume_state={"k": "v"}))

    assert (event["status"], event["permanent"], event["resume_state"]) == ("error", True, {"k": "v"})


def failing_lookups(monkeypatch: pytest.MonkeyPatch, error: Exception, times: int) -> Counter[str]:
    """Let the lookup of the connection fail first."""
    calls: Counter[str] = Counter()
    real = hook_module._async_connection

    async def lookup(conn_id: str) -> Any:
        calls[conn_id] += 1
        if calls[conn_id] <= times:
            raise error
        return await real(conn_id)

    monkeypatch.setattr(hook_module, "_async_connection", lookup)
    return calls


def test_lookup_that_fails_a_few_times_is_tolerated(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API server of Airflow may restart while tasks wait."""
    job_id = buy(server)
    calls = failing_lookups(monkeypatch, ConnectionError("away"), 3)

    assert fire(job_trigger(job_id))["ended"] == {job_id: "completed"}
    assert calls["piktid_default"] == 4


def test_foreign_error_becomes_an_event_without_its_text(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of somebody else may hold an address with a signature: its type must do."""
    failing_lookups(monkeypatch, RuntimeError(f"https://x?Signature={SECRET}"), 99)

    event = fire(job_trigger("job-x", poll_interval=0.01))

    assert (event["status"], event["permanent"]) == ("error", False)
    assert "RuntimeError" in event["message"]
    assert SECRET not in json.dumps(event)


def test_unknown_connection_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, after a few looks, by its id."""
    event = fire(job_trigger("job-x", poll_interval=0.01, piktid_conn_id="piktid_nowhere"))

    assert event["status"] == "error"
    assert event["message"].startswith("piktid_nowhere: ")


@pytest.mark.parametrize(
    ("fault", "arguments", "status"),
    [
        pytest.param(None, {}, "done", id="done"),
        pytest.param("never_end", {"end_time": 0.0}, "timeout", id="timeout"),
        pytest.param(None, {"piktid_conn_id": "piktid_nowhere"}, "error", id="error"),
    ],
)
def test_trigger_gives_exactly_one_event(
    server: EmulatorServer, fault: str | None, arguments: dict[str, Any], status: str
) -> None:
    """No path ends without an event, and none gives two."""
    if fault:
        server.faults.add("job", fault)
    trigger = job_trigger(buy(server), **({"poll_interval": 0.01} | arguments))

    assert [event["status"] for event in all_events(trigger)] == [status]


def test_trigger_only_reads(server: EmulatorServer) -> None:
    """It asks for the status and listens; notifications are left for the worker to delete."""
    job_id = buy(server)
    before = Counter(server.state.counters.requests)

    event = fire(job_trigger(job_id))

    assert set(server.state.counters.requests - before) == {"job_status", "events"}
    assert set(event["notification_ids"]) <= {note.id for note in server.state.v2.notices.current()}


def test_two_triggers_at_once_do_no_harm(server: EmulatorServer) -> None:
    """Airflow may run a trigger twice for a while: both say the same."""
    job_id = buy(server)

    async def both() -> list[Any]:
        return await asyncio.gather(*(first_event(job_trigger(job_id)) for _ in range(2)))

    first, second = asyncio.run(both())

    assert first["ended"] == second["ended"] == {job_id: "completed"}


def test_event_holds_no_links(server: EmulatorServer) -> None:
    """Events are stored in the database of Airflow."""
    assert "http" not in json.dumps(fire(job_trigger(buy(server))))


# -- kill -------------------------------------------------------------------------------------------------------


class Recorder:
    """Stands for the logger."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, message: str, *args: Any) -> None:
        self.lines.append(message % args)

    def info(self, message: str, *args: Any) -> None:
        pass


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Warnings of triggers."""
    recorder = Recorder()
    monkeypatch.setattr(JobWatchTrigger, "log", recorder)
    return recorder.lines


def test_kill_during_the_wait_says_what_still_runs(start: Start, told: list[str]) -> None:
    """PiktID cannot cancel: the reader learns of the jobs, the bill and the next try, once."""
    server = start(job_seconds=60)
    trigger = job_trigger(buy(server), buy(server))

    async def kill() -> None:
        waiting = asyncio.ensure_future(first_event(trigger))
        while server.state.counters.requests["job_status"] < 2:  # noqa: ASYNC110 - counted by another thread
            await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await trigger.on_kill()

    asyncio.run(asyncio.wait_for(kill(), 10))

    (line,) = told
    assert all(job_id in line for job_id in trigger.job_ids)
    assert "are still running and will be billed" in line


def test_kill_after_the_event_is_silent(server: EmulatorServer, told: list[str]) -> None:
    """Airflow also calls it when a trigger has done its work: nothing runs then."""
    trigger = job_trigger(buy(server))
    asyncio.run(first_event(trigger))

    asyncio.run(trigger.on_kill())

    assert told == []


def test_kill_without_jobs_is_silent(told: list[str]) -> None:
    """A task that waits for its first slot has bought nothing."""
    asyncio.run(slot_trigger().on_kill())

    assert told == []


# -- the slot trigger -------------------------------------------------------------------------------------------


def test_slot_of_a_free_account_comes_at_once(server: EmulatorServer) -> None:
    """Without jobs of our own nothing is asked of the service."""
    event = fire(slot_trigger(resume_state={"queue_until": 5.0}))

    assert (event["status"], event["ended"], event["resume_state"]["queue_until"]) == ("slot", {}, 5.0)
    assert event["resume_state"]["ticket"]
    assert not server.state.counters.requests


def test_slot_waits_until_its_time(server: EmulatorServer) -> None:
    """The server said when to come back."""
    not_before = time.time() + 0.3

    fire(slot_trigger(not_before=not_before))

    assert time.time() >= not_before


def test_slot_comes_early_when_an_own_job_ends(server: EmulatorServer) -> None:
    """The end of a job is the best reason to try; the worker learns which one it was."""
    job_id = buy(server)

    event = fire(slot_trigger(job_id, not_before=time.time() + 60, until_job_ends=True, active_jobs=1))

    assert (event["status"], event["ended"]) == ("slot", {job_id: "completed"})


def test_slot_for_a_window_does_not_come_early(server: EmulatorServer) -> None:
    """A job that ends makes no room in a used-up minute."""
    not_before = time.time() + 0.8

    event = fire(slot_trigger(buy(server), not_before=not_before))

    assert event["status"] == "slot"
    assert time.time() >= not_before


def test_slot_gives_up_at_its_end(start: Start) -> None:
    """A full account ends in a timeout event, not in silence."""
    server = start(job_seconds=60)
    job_id = buy(server)

    event = fire(slot_trigger(job_id, active_jobs=1, end_time=time.time() + 0.3))

    assert (event["status"], event["ended"]) == ("timeout", {})


def test_slot_comes_even_if_own_jobs_cannot_be_watched(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is wrong, the worker finds out when it tries."""
    monkeypatch.setenv(CONN, connection_json(server.url, password=SECRET))

    assert fire(slot_trigger("job-x", not_before=time.time() + 0.2))["status"] == "slot"


def test_waiting_tasks_take_turns(server: EmulatorServer) -> None:
    """Of several tasks of one process only as many go as the account takes in a window."""

    async def race() -> tuple[int, int]:
        triggers = [slot_trigger(jobs_per_minute=2, active_jobs=10, rate_window=60.0) for _ in range(5)]
        tasks = [asyncio.ensure_future(first_event(trigger)) for trigger in triggers]
        done, waiting = await asyncio.wait(tasks, timeout=0.3)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return len(done), len(waiting)

    assert asyncio.run(race()) == (2, 3)


def test_slot_gives_exactly_one_event(server: EmulatorServer) -> None:
    """The same rule as for jobs."""
    assert len(all_events(slot_trigger())) == 1
    assert len(all_events(slot_trigger(not_before=time.time() + 60, end_time=0.0))) == 1
