# SPDX-License-Identifier: Apache-2.0
"""Waiting for jobs: the stream is the fast path, the status the authority, and nothing makes it deaf."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import PiktidAuthError, PiktidConfigError
from airflow_provider_piktid.jobs.watch import JobWatcher, WatchOptions
from tests.support.batch import buy
from tests.support.service import emulator
from tests.support.watching import SOON, Connect, status_requests, watch

pytestmark = pytest.mark.anyio


@pytest.fixture
def start() -> Iterator[Callable[..., EmulatorServer]]:
    """Start emulators with given settings."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(emulator(**({"job_seconds": 0.2} | settings)))


@pytest.fixture
def server(start: Callable[..., EmulatorServer]) -> EmulatorServer:
    return start()


# -- the stream -------------------------------------------------------------------------------------------------


async def test_end_is_seen_by_the_stream_at_once(server: EmulatorServer) -> None:
    """With intervals of a minute only the notification can tell; few status requests are made."""
    job_id = buy(server)

    watched = await watch(server, job_id)

    assert watched.ended == {job_id: "completed"}
    assert not watched.timed_out
    assert status_requests(server) <= 6


async def test_job_that_has_ended_is_seen_without_any_notification(start: Any) -> None:
    """The status is asked once subscribed, for notifications live ten minutes only."""
    server = start(notification_seconds=0.0)
    job_id = buy(server)
    server.state.complete_job(job_id)

    assert (await watch(server, job_id)).ended == {job_id: "completed"}


async def test_several_jobs_are_waited_for_over_one_stream(server: EmulatorServer) -> None:
    """One subscription serves all jobs of a task."""
    jobs = [buy(server) for _ in range(4)]

    watched = await watch(server, *jobs)

    assert watched.ended == dict.fromkeys(jobs, "completed")
    assert server.state.counters.requests["events"] == 1


@pytest.mark.parametrize("variant", ["docs", "seed"])
async def test_events_under_either_name_are_hints(start: Any, variant: str) -> None:
    """The two documents name the events differently."""
    server = start(variants={"events": variant})
    job_id = buy(server)

    assert (await watch(server, job_id)).ended == {job_id: "completed"}


@pytest.mark.parametrize("kind", ["junk", "double", "reorder", "crlf", "null_data", "foreign", "half"])
async def test_strange_frames_do_no_harm(server: EmulatorServer, kind: str) -> None:
    """Frames that are broken, doubled or none of ours neither end the wait nor hide our own."""
    server.faults.add("events", kind)
    jobs = [buy(server), buy(server)]

    watched = await watch(server, *jobs)

    assert watched.ended == dict.fromkeys(jobs, "completed")
    assert server.faults.all_met()


async def test_only_own_notifications_are_remembered_for_deletion(server: EmulatorServer) -> None:
    """What belongs to other jobs of the account is never in the list."""
    server.faults.add("events", "foreign", n=1000)
    server.state.publish("batch_edit", {"id_task": "somebody-else", "status": "completed"})
    jobs = [buy(server), buy(server)]

    watched = await watch(server, *jobs)

    kept = {note.id: note.data.get("job_id") for note in server.state.v2.notices.current()}
    assert watched.notification_ids
    assert {kept[number] for number in watched.notification_ids} <= set(jobs)
    assert len(watched.notification_ids) == len(set(watched.notification_ids))


async def test_stream_without_live_frames_costs_one_status_interval(server: EmulatorServer) -> None:
    """A last event that is lost is made up for by asking now and then."""
    server.faults.add("events", "no_live", times=None)
    job_id = buy(server)

    assert (await watch(server, job_id, status_interval=0.3)).ended == {job_id: "completed"}


async def test_job_that_sends_no_notifications_costs_one_status_interval(server: EmulatorServer) -> None:
    """The same if the service forgot to tell."""
    server.faults.add("job", "lose_notifications")
    job_id = buy(server)

    assert (await watch(server, job_id, status_interval=0.3)).ended == {job_id: "completed"}


# -- without the stream -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "params"),
    [("no_stream", {}), ("silent", {}), ("cut_after", {"frames": 0}), ("html", {}), ("drop", {})],
)
async def test_without_a_stream_it_polls(server: EmulatorServer, kind: str, params: dict[str, Any]) -> None:
    """Whatever is wrong with the stream, the status is asked at the polling interval."""
    server.faults.add("events", kind, times=None, **params)
    job_id = buy(server)

    watched = await watch(server, job_id, poll_interval=0.1, subscribe_seconds=0.2)

    assert watched.ended == {job_id: "completed"}


async def test_refused_stream_is_no_refused_token(server: EmulatorServer) -> None:
    """An account without access to the stream still may ask for the status."""
    server.faults.add("events", "status", code=403, times=None)
    job_id = buy(server)

    assert (await watch(server, job_id, poll_interval=0.1)).ended == {job_id: "completed"}


async def test_stream_that_breaks_is_replaced_by_polling_at_once(start: Any) -> None:
    """The long interval of a live stream does not outlive the stream."""
    server = start(job_seconds=0.6)
    server.faults.add("events", "cut_after", seconds=0.2)
    server.faults.add("events", "no_stream", times=None, after=1)
    job_id = buy(server)

    assert (await watch(server, job_id, poll_interval=0.2)).ended == {job_id: "completed"}


async def test_stream_that_is_back_is_used_again(start: Any) -> None:
    """What happened in between is found out by asking once the stream is open again."""
    server = start(job_seconds=0.6)
    server.faults.add("events", "cut_after", seconds=0.2)
    job_id = buy(server)

    assert (await watch(server, job_id)).ended == {job_id: "completed"}
    assert server.state.counters.requests["events"] == 2


async def test_watching_without_a_stream_on_request(server: EmulatorServer) -> None:
    """Who asks once does not subscribe."""
    job_id = buy(server)

    watched = await watch(server, job_id, stream=False, poll_interval=0.1)

    assert watched.ended == {job_id: "completed"}
    assert server.state.counters.requests["events"] == 0


# -- how far ----------------------------------------------------------------------------------------------------


async def test_any_returns_with_the_first_end(server: EmulatorServer) -> None:
    """Who waits for room needs one job to end."""
    server.faults.add("job", "never_end")
    endless, ending = buy(server), buy(server)

    watched = await watch(server, endless, ending, until="any")

    assert watched.ended == {ending: "completed"}
    assert not watched.timed_out


async def test_deadline_ends_the_wait_and_keeps_what_is_known(server: EmulatorServer) -> None:
    """Jobs that have ended are told beside those that have not."""
    server.faults.add("job", "never_end")
    endless, ending = buy(server), buy(server)

    watched = await watch(server, endless, ending, end_time=time.time() + 0.8)

    assert watched.timed_out
    assert watched.ended == {ending: "completed"}
    assert watched.jobs[endless].status == "processing"


async def test_deadline_that_has_passed_still_asks_once(server: EmulatorServer) -> None:
    """A job that ended while nobody watched is a success, however late."""
    job_id = buy(server)
    server.state.complete_job(job_id)

    watched = await watch(server, job_id, end_time=time.time() - 10)

    assert (watched.ended, watched.timed_out) == ({job_id: "completed"}, False)


async def test_deadline_is_kept_while_nothing_answers(server: EmulatorServer) -> None:
    """An outage does not prolong the wait."""
    server.faults.add("job_status", "status", code=503, times=None)
    job_id = buy(server)

    watched = await watch(server, job_id, poll_interval=0.1, end_time=time.time() + 0.5)

    assert watched.timed_out


# -- the connection ---------------------------------------------------------------------------------------------


async def test_token_that_was_replaced_is_taken_up(server: EmulatorServer) -> None:
    """A refused token is looked up again before anybody is told."""
    connect = Connect(server, "old-token", "piktid-emulator")
    job_id = buy(server)

    watched = await watch(server, job_id, connect=connect)

    assert watched.ended == {job_id: "completed"}
    assert connect.calls == 2


async def test_token_that_expires_during_the_wait_is_taken_up(server: EmulatorServer) -> None:
    """Each refusal counts anew once the token has worked."""
    server.faults.add("job_status", "status", code=401, after=1)
    server.faults.add("job_status", "status", code=401, after=2)
    connect = Connect(server)
    job_id = buy(server)

    watched = await watch(server, job_id, connect=connect, poll_interval=0.05, stream=False)

    assert watched.ended == {job_id: "completed"}
    assert connect.calls == 3


async def test_token_that_stays_refused_is_an_error(server: EmulatorServer) -> None:
    """Twice in a row is no coincidence."""
    connect = Connect(server, "wrong")

    with pytest.raises(PiktidAuthError):
        await watch(server, buy(server), connect=connect)
    assert connect.calls == 2


async def test_lookup_may_fail_a_few_times(server: EmulatorServer) -> None:
    """The API server of Airflow may be away for a moment."""
    connect = Connect(server, RuntimeError("away"), RuntimeError("away"), "piktid-emulator")
    job_id = buy(server)

    assert (await watch(server, job_id, connect=connect, poll_interval=0.05)).ended == {job_id: "completed"}


async def test_lookup_that_keeps_failing_is_an_error(server: EmulatorServer) -> None:
    """Five times in a row end the wait."""
    connect = Connect(server, RuntimeError("away"))

    with pytest.raises(RuntimeError, match="away"):
        await watch(server, "j", connect=connect, poll_interval=0.01)
    assert connect.calls == 5


async def test_connection_that_cannot_be_used_is_an_error_at_once(server: EmulatorServer) -> None:
    """A wrong field is not mended by waiting."""
    connect = Connect(server, PiktidConfigError("no token"))

    with pytest.raises(PiktidConfigError):
        await watch(server, "j", connect=connect)
    assert connect.calls == 1


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that the server does on a thread of its own."""
    while not condition():  # noqa: ASYNC110 - it sets no event of this loop
        await asyncio.sleep(0.01)


async def test_nothing_is_left_open(server: EmulatorServer) -> None:
    """After the wait there is neither a task nor a stream nor a connection."""
    connect = Connect(server)

    await watch(server, buy(server), connect=connect)

    assert len(asyncio.all_tasks()) <= 2  # this test, and the runner of the backend
    await asyncio.wait_for(until(lambda: server.state.stats()["streams"] == 0), SOON)


async def test_nothing_is_left_open_after_a_cancel(server: EmulatorServer) -> None:
    """A trigger that is stopped in the middle closes its stream."""
    server.faults.add("job", "never_end")
    job_id = buy(server)
    before = asyncio.all_tasks()
    task = asyncio.create_task(watch(server, job_id))
    await asyncio.wait_for(until(lambda: server.state.stats()["streams"] == 1), SOON)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert asyncio.all_tasks() == before
    await asyncio.wait_for(until(lambda: server.state.stats()["streams"] == 0), SOON)


async def test_wait_that_is_cancelled_as_it_is_woken_ends(start: Any) -> None:
    """A trigger that is taken away in the very moment of an event does not live on."""
    server = start(job_seconds=60.0)
    job_id = buy(server)
    asked = asyncio.Event()
    watcher = JobWatcher(
        Connect(server), [job_id], WatchOptions(stream=False), on_change=lambda job: asked.set()
    )
    wait = asyncio.create_task(watcher.wait())
    await asyncio.wait_for(asked.wait(), SOON)
    # From the answer on there is nothing left to await but the next event.
    await asyncio.sleep(0)

    watcher._wake.set()
    wait.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(wait, SOON)
