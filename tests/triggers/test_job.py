# SPDX-License-Identifier: Apache-2.0
"""The job and slot triggers: serialization, events and ``on_kill``."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import Any

import pytest

from airflow_provider_piktid.common.compat import async_connection
from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.triggers.generate_person import PiktidGeneratePersonTrigger
from airflow_provider_piktid.triggers.job import (
    JobWatchTrigger,
    PiktidJobTrigger,
    PiktidSlotTrigger,
    WaitTrigger,
)
from airflow_provider_piktid.triggers.regenerate import PiktidRegenerateTrigger
from tests.support.batch import buy
from tests.support.fixtures import Start
from tests.support.service import connection_json
from tests.support.tasks import fire, first_event, rebuild
from tests.support.watching import until

CONN = "AIRFLOW_CONN_PIKTID_DEFAULT"
SECRET = "tok-very-secret"


def job_trigger(*job_ids: str, **arguments: Any) -> PiktidJobTrigger:
    return PiktidJobTrigger(job_ids=list(job_ids), **({"poll_interval": 0.1} | arguments))


def slot_trigger(*job_ids: str, **arguments: Any) -> PiktidSlotTrigger:
    # Queues belong to a connection and an event loop; every test has a loop of its own.
    return PiktidSlotTrigger(job_ids=list(job_ids), **({"poll_interval": 0.1} | arguments))


def all_events(trigger: WaitTrigger) -> list[dict[str, Any]]:
    """Return all events of a trigger."""

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
    lost_seconds=2.5,
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
    "trigger",
    [FULL_JOB, FULL_SLOT, job_trigger("a"), slot_trigger()],
    ids=["job", "slot", "job defaults", "slot defaults"],
)
def test_trigger_is_restored_from_json(trigger: JobWatchTrigger) -> None:
    """A trigger that is restored from its JSON equals the original."""
    again = rebuild(trigger)

    assert type(again) is type(trigger)
    assert again.serialize() == trigger.serialize()
    kept = {name: value for name, value in vars(trigger).items() if name in trigger.serialize()[1]}
    assert {name: vars(again)[name] for name in kept} == kept


@pytest.mark.parametrize("kind", [PiktidJobTrigger, PiktidSlotTrigger])
def test_trigger_serializes_every_argument(kind: type[JobWatchTrigger]) -> None:
    """``serialize`` returns every argument of the constructor."""
    import inspect

    names = set(inspect.signature(kind.__init__).parameters) - {"self"}

    assert set(kind(job_ids=[]).serialize()[1]) == names


# -- job trigger ------------------------------------------------------------------------------------------------


def test_done_event_in_full(server: EmulatorServer) -> None:
    """The ``done`` event contains the jobs with their status, notification ids and ``resume_state``."""
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
    """At ``end_time`` the trigger yields a ``timeout`` event with the jobs that have ended."""
    server.faults.add("job", "never_end")
    endless, ending = buy(server), buy(server)
    server.state.complete_job(ending)

    event = fire(job_trigger(endless, ending, end_time=time.time() + 0.3))

    assert (event["status"], event["ended"]) == ("timeout", {ending: "completed"})


def test_unknown_job_is_reported_as_lost(server: EmulatorServer) -> None:
    """An unknown job is reported as ``lost``."""
    assert fire(job_trigger("job-x", lost_seconds=0.2))["ended"] == {"job-x": "lost"}


def test_refused_token_yields_a_permanent_error_event(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused token yields a permanent error event whose one-line message does not contain it."""
    monkeypatch.setenv(CONN, connection_json(server.url, password=SECRET))

    event = fire(job_trigger("job-x"))

    assert (event["status"], event["permanent"]) == ("error", True)
    assert event["message"].startswith("piktid_default: ")
    assert "\n" not in event["message"]
    assert SECRET not in json.dumps(event)


def test_connection_without_a_token_yields_a_permanent_error_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a token yields a permanent error event."""
    monkeypatch.setenv(CONN, json.dumps({"conn_type": "piktid"}))

    event = fire(job_trigger("job-x", resume_state={"k": "v"}))

    assert (event["status"], event["permanent"], event["resume_state"]) == ("error", True, {"k": "v"})


def failing_lookups(monkeypatch: pytest.MonkeyPatch, error: Exception, times: int) -> Counter[str]:
    """Let the first lookups of the connection fail; return the number of lookups."""
    calls: Counter[str] = Counter()
    real = async_connection

    async def lookup(conn_id: str) -> Any:
        calls[conn_id] += 1
        if calls[conn_id] <= times:
            raise error
        return await real(conn_id)

    monkeypatch.setattr("airflow_provider_piktid.hooks.piktid.async_connection", lookup)
    return calls


def test_connection_lookup_is_retried(server: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection lookup that fails three times is retried."""
    job_id = buy(server)
    calls = failing_lookups(monkeypatch, ConnectionError("away"), 3)

    assert fire(job_trigger(job_id))["ended"] == {job_id: "completed"}
    assert calls["piktid_default"] == 4


def test_unexpected_error_yields_an_event_without_its_message(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected error yields an error event with its type and without its message."""
    failing_lookups(monkeypatch, RuntimeError(f"https://x?Signature={SECRET}"), 99)

    event = fire(job_trigger("job-x", poll_interval=0.01))

    assert (event["status"], event["permanent"]) == ("error", False)
    assert "RuntimeError" in event["message"]
    assert SECRET not in json.dumps(event)


def test_unknown_connection_yields_an_error_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown connection yields an error event that names it."""
    event = fire(job_trigger("job-x", poll_interval=0.01, piktid_conn_id="piktid_nowhere"))

    assert event["status"] == "error"
    assert event["message"].startswith("Connection piktid_nowhere does not exist")


@pytest.mark.parametrize(
    ("fault", "arguments", "status"),
    [
        pytest.param(None, {}, "done", id="done"),
        pytest.param("never_end", {"end_time": 0.0}, "timeout", id="timeout"),
        pytest.param(None, {"piktid_conn_id": "piktid_nowhere"}, "error", id="error"),
    ],
)
def test_job_trigger_yields_exactly_one_event(
    server: EmulatorServer, fault: str | None, arguments: dict[str, Any], status: str
) -> None:
    """The job trigger yields exactly one event."""
    if fault:
        server.faults.add("job", fault)
    trigger = job_trigger(buy(server), **({"poll_interval": 0.01} | arguments))

    assert [event["status"] for event in all_events(trigger)] == [status]


def test_trigger_only_reads(server: EmulatorServer) -> None:
    """The trigger requests the status and the stream, and deletes no notification."""
    job_id = buy(server)
    before = Counter(server.state.counters.requests)

    event = fire(job_trigger(job_id))

    assert set(server.state.counters.requests - before) == {"job_status", "events"}
    assert set(event["notification_ids"]) <= {note.id for note in server.state.v2.notifications.current()}


def test_trigger_runs_as_in_dag_test(server: EmulatorServer) -> None:
    """A trigger whose event is read in an event loop of its own, and which nobody closes, leaves no stream."""
    job_id = buy(server)

    async def only_event() -> Any:
        return (await anext(job_trigger(job_id).run())).payload

    for _ in range(2):
        assert asyncio.run(only_event())["ended"] == {job_id: "completed"}
    asyncio.run(until(lambda: server.state.stats()["streams"] == 0))


def test_two_copies_of_a_trigger_yield_the_same_result(server: EmulatorServer) -> None:
    """Two copies of a trigger that run at once report the same end."""
    job_id = buy(server)

    async def both() -> list[Any]:
        return await asyncio.gather(*(first_event(job_trigger(job_id)) for _ in range(2)))

    first, second = asyncio.run(both())

    assert first["ended"] == second["ended"] == {job_id: "completed"}


def test_event_contains_no_links(server: EmulatorServer) -> None:
    """The event contains no link."""
    assert "http" not in json.dumps(fire(job_trigger(buy(server))))


# -- on_kill ----------------------------------------------------------------------------------------------------


class Recorder:
    """Replaces the logger."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, message: str, *args: Any) -> None:
        self.lines.append(message % args)

    def info(self, message: str, *args: Any) -> None:
        pass


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The warnings that triggers logged."""
    recorder = Recorder()
    monkeypatch.setattr(JobWatchTrigger, "log", recorder)
    return recorder.lines


def test_on_kill_during_the_wait_logs_running_jobs(start: Start, told: list[str]) -> None:
    """``on_kill`` during the wait logs once which jobs are still running and will be billed."""
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


def test_on_kill_after_the_event_logs_nothing(server: EmulatorServer, told: list[str]) -> None:
    """``on_kill`` after the event logs nothing."""
    trigger = job_trigger(buy(server))
    asyncio.run(first_event(trigger))

    asyncio.run(trigger.on_kill())

    assert told == []


def test_on_kill_without_jobs_logs_nothing(told: list[str]) -> None:
    """``on_kill`` without jobs logs nothing."""
    asyncio.run(slot_trigger().on_kill())

    assert told == []


# -- slot trigger -----------------------------------------------------------------------------------------------


def test_slot_is_free_without_own_jobs(server: EmulatorServer) -> None:
    """Without own jobs the slot is free at once, and no request is sent."""
    event = fire(slot_trigger(resume_state={"queue_until": 5.0}))

    assert (event["status"], event["ended"], event["resume_state"]["queue_until"]) == ("slot", {}, 5.0)
    assert event["resume_state"]["ticket"]
    assert not server.state.counters.requests


def test_slot_respects_not_before(server: EmulatorServer) -> None:
    """The trigger does not yield before ``not_before``."""
    not_before = time.time() + 0.3

    fire(slot_trigger(not_before=not_before))

    assert time.time() >= not_before


def test_end_of_an_own_job_frees_the_slot(server: EmulatorServer) -> None:
    """With ``until_job_ends`` the end of an own job yields the event before ``not_before``."""
    job_id = buy(server)

    event = fire(slot_trigger(job_id, not_before=time.time() + 60, until_job_ends=True, active_jobs=1))

    assert (event["status"], event["ended"]) == ("slot", {job_id: "completed"})


def test_end_of_an_own_job_does_not_shorten_the_rate_limit(server: EmulatorServer) -> None:
    """Without ``until_job_ends`` the end of an own job does not yield the event before ``not_before``."""
    not_before = time.time() + 0.8

    event = fire(slot_trigger(buy(server), not_before=not_before))

    assert event["status"] == "slot"
    assert time.time() >= not_before


def test_slot_times_out(start: Start) -> None:
    """If no slot is free until ``end_time``, the trigger yields a ``timeout`` event."""
    server = start(job_seconds=60)
    job_id = buy(server)

    event = fire(slot_trigger(job_id, active_jobs=1, end_time=time.time() + 0.3))

    assert (event["status"], event["ended"]) == ("timeout", {})


def test_slot_is_yielded_if_own_jobs_cannot_be_watched(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the own jobs cannot be watched, the trigger yields ``slot`` at ``not_before``."""
    monkeypatch.setenv(CONN, connection_json(server.url, password=SECRET))

    assert fire(slot_trigger("job-x", not_before=time.time() + 0.2))["status"] == "slot"


def test_slots_are_limited_by_the_rate(server: EmulatorServer) -> None:
    """Of five waiting tasks only two get a slot if the rate is two."""

    async def race() -> tuple[int, int]:
        triggers = [slot_trigger(jobs_per_minute=2, active_jobs=10, rate_window=60.0) for _ in range(5)]
        tasks = [asyncio.ensure_future(first_event(trigger)) for trigger in triggers]
        done: set[asyncio.Future[Any]] = set()
        waiting: set[asyncio.Future[Any]] = set(tasks)
        while len(done) < 2:
            now, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            done |= now
        # A third one would follow at once.
        more, waiting = await asyncio.wait(waiting, timeout=0.3)
        done |= more
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return len(done), len(waiting)

    assert asyncio.run(race()) == (2, 3)


def test_slot_trigger_yields_exactly_one_event(server: EmulatorServer) -> None:
    """The slot trigger yields exactly one event."""
    assert len(all_events(slot_trigger())) == 1
    assert len(all_events(slot_trigger(not_before=time.time() + 60, end_time=0.0))) == 1


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        pytest.param(PiktidJobTrigger, {"job_ids": 7}, id="job ids"),
        pytest.param(PiktidJobTrigger, {"job_ids": ["a"], "submitted_at": "bad"}, id="times"),
        pytest.param(PiktidJobTrigger, {"job_ids": ["a"], "resume_state": [1]}, id="resume state"),
        pytest.param(PiktidJobTrigger, {"job_ids": ["a"], "end_time": "soon"}, id="deadline"),
        pytest.param(PiktidSlotTrigger, {"job_ids": [], "not_before": None}, id="slot"),
        pytest.param(PiktidRegenerateTrigger, {"items": [{"job_id": "a"}]}, id="items"),
        pytest.param(PiktidGeneratePersonTrigger, {"awaited": [{"name": "a"}]}, id="generations"),
    ],
)
def test_wrong_arguments_end_in_an_event(
    server: EmulatorServer, kind: type[WaitTrigger], arguments: dict[str, Any]
) -> None:
    """A constructor that raises ends the triggerer at every start: what is wrong is reported by the event."""
    trigger = kind(**arguments)

    assert [event["status"] for event in all_events(trigger)] == ["error"]
    asyncio.run(trigger.on_kill())
