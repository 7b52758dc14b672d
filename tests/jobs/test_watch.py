# SPDX-License-Identifier: Apache-2.0
"""Waiting for jobs with the event stream and the job status."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import PiktidAuthError, PiktidConfigError
from airflow_provider_piktid.jobs.watch import JobWatcher, WatchOptions
from tests.support.batch import buy
from tests.support.watching import NEVER, SOON, Connect, status_requests, until, watch

pytestmark = pytest.mark.anyio


# -- event stream -----------------------------------------------------------------------------------------------


async def test_end_is_reported_by_the_stream(server: EmulatorServer) -> None:
    """The stream reports the end of a job; few status requests are sent."""
    job_id = buy(server)

    watched = await watch(server, job_id)

    assert watched.ended == {job_id: "completed"}
    assert not watched.timed_out
    assert status_requests(server) <= 6


async def test_ended_job_is_found_without_a_notification(start: Any) -> None:
    """After the subscription the status is requested, so an ended job is found without a notification."""
    server = start(notification_seconds=0.0)
    job_id = buy(server)
    server.state.complete_job(job_id)

    assert (await watch(server, job_id)).ended == {job_id: "completed"}


async def test_several_jobs_share_one_stream(server: EmulatorServer) -> None:
    """One subscription serves all jobs of a task."""
    jobs = [buy(server) for _ in range(4)]

    watched = await watch(server, *jobs)

    assert watched.ended == dict.fromkeys(jobs, "completed")
    assert server.state.counters.requests["events"] == 1


@pytest.mark.parametrize("variant", ["docs", "seed"])
async def test_events_are_accepted_under_both_names(start: Any, variant: str) -> None:
    """Events are accepted under both documented names."""
    server = start(variants={"events": variant})
    job_id = buy(server)

    assert (await watch(server, job_id)).ended == {job_id: "completed"}


@pytest.mark.parametrize("kind", ["junk", "double", "reorder", "crlf", "null_data", "foreign", "half"])
async def test_unexpected_frames_are_ignored(server: EmulatorServer, kind: str) -> None:
    """Broken, repeated, reordered and foreign frames do not stop the wait or hide the job's own frames."""
    server.faults.add("events", kind)
    jobs = [buy(server), buy(server)]

    watched = await watch(server, *jobs)

    assert watched.ended == dict.fromkeys(jobs, "completed")
    assert server.faults.all_met()


async def test_only_own_notifications_are_collected(server: EmulatorServer) -> None:
    """``notification_ids`` contains only notifications of the watched jobs, each once."""
    server.faults.add("events", "foreign", n=1000)
    server.state.publish("batch_edit", {"id_task": "somebody-else", "status": "completed"})
    jobs = [buy(server), buy(server)]

    watched = await watch(server, *jobs)

    kept = {note.id: note.data.get("job_id") for note in server.state.v2.notifications.current()}
    assert watched.notification_ids
    assert {kept[number] for number in watched.notification_ids} <= set(jobs)
    assert len(watched.notification_ids) == len(set(watched.notification_ids))


async def test_notification_that_names_no_job_causes_a_status_request(start: Any) -> None:
    """A notification without a job id may be about any job: the status of all outstanding jobs is requested."""
    server = start(job_seconds=600)
    server.faults.add("job", "lose_notifications", times=None)
    jobs = [buy(server), buy(server)]
    wait = asyncio.create_task(watch(server, *jobs))
    await until(lambda: status_requests(server) == 2)
    for job_id in jobs:
        server.state.complete_job(job_id)

    server.state.publish("completed", {})

    assert (await wait).ended == dict.fromkeys(jobs, "completed")


async def test_status_finds_the_end_if_the_stream_sends_nothing(server: EmulatorServer) -> None:
    """If the stream sends no frames, the status request finds the end of the job."""
    server.faults.add("events", "no_live", times=None)
    job_id = buy(server)

    assert (await watch(server, job_id, status_interval=0.3)).ended == {job_id: "completed"}


async def test_status_finds_the_end_without_notifications(server: EmulatorServer) -> None:
    """If PiktID sends no notification for a job, the status request finds its end."""
    server.faults.add("job", "lose_notifications")
    job_id = buy(server)

    assert (await watch(server, job_id, status_interval=0.3)).ended == {job_id: "completed"}


# -- without the stream -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "params"),
    [("no_stream", {}), ("silent", {}), ("cut_after", {"frames": 0}), ("html", {}), ("drop", {})],
)
async def test_without_a_stream_the_status_is_polled(
    server: EmulatorServer, kind: str, params: dict[str, Any]
) -> None:
    """Without a usable stream the status is requested every ``poll_interval`` seconds."""
    server.faults.add("events", kind, times=None, **params)
    job_id = buy(server)

    watched = await watch(server, job_id, poll_interval=0.1, subscribe_seconds=0.2)

    assert watched.ended == {job_id: "completed"}


async def test_refused_stream_does_not_count_as_a_refused_token(server: EmulatorServer) -> None:
    """HTTP 403 for the stream does not end the wait; the status is polled."""
    server.faults.add("events", "status", code=403, times=None)
    job_id = buy(server)

    assert (await watch(server, job_id, poll_interval=0.1)).ended == {job_id: "completed"}


async def test_polling_starts_when_the_stream_breaks(start: Any) -> None:
    """After the stream breaks and cannot be opened again, the status is polled."""
    server = start(job_seconds=0.6)
    server.faults.add("events", "cut_after", seconds=0.2)
    server.faults.add("events", "no_stream", times=None, after=1)
    job_id = buy(server)

    assert (await watch(server, job_id, poll_interval=0.2)).ended == {job_id: "completed"}


async def test_broken_stream_is_opened_again(start: Any) -> None:
    """A stream that breaks is opened again."""
    server = start(job_seconds=0.6)
    server.faults.add("events", "cut_after", seconds=0.2)
    job_id = buy(server)

    assert (await watch(server, job_id)).ended == {job_id: "completed"}
    assert server.state.counters.requests["events"] == 2


async def test_stream_can_be_switched_off(server: EmulatorServer) -> None:
    """With ``stream=False`` no stream is opened."""
    job_id = buy(server)

    watched = await watch(server, job_id, stream=False, poll_interval=0.1)

    assert watched.ended == {job_id: "completed"}
    assert server.state.counters.requests["events"] == 0


# -- end of the wait --------------------------------------------------------------------------------------------


async def test_until_any_returns_after_the_first_end(server: EmulatorServer) -> None:
    """With ``until="any"`` the wait ends when one job has ended."""
    server.faults.add("job", "never_end")
    endless, ending = buy(server), buy(server)

    watched = await watch(server, endless, ending, until="any")

    assert watched.ended == {ending: "completed"}
    assert not watched.timed_out


async def test_deadline_returns_ended_and_running_jobs(server: EmulatorServer) -> None:
    """At the deadline the wait returns the jobs that have ended."""
    server.faults.add("job", "never_end")
    endless, ending = buy(server), buy(server)
    server.state.complete_job(ending)
    seen: dict[str, str] = {}

    watched = await watch(
        server,
        endless,
        ending,
        end_time=time.time() + 0.3,
        on_change=lambda job: seen.update({job.job_id: job.status}),
    )

    assert watched.timed_out
    assert watched.ended == {ending: "completed"}
    assert set(seen) == {endless, ending}


async def test_status_is_requested_once_after_the_deadline(server: EmulatorServer) -> None:
    """With a deadline in the past the status is requested once, and an ended job is a success."""
    job_id = buy(server)
    server.state.complete_job(job_id)

    watched = await watch(server, job_id, end_time=time.time() - 10)

    assert (watched.ended, watched.timed_out) == ({job_id: "completed"}, False)


async def test_stream_is_not_waited_for_after_the_deadline(server: EmulatorServer) -> None:
    """With a deadline in the past the status is requested before the stream has answered."""
    server.faults.add("events", "silent", times=None)
    job_id = buy(server)
    server.state.complete_job(job_id)

    watched = await watch(server, job_id, end_time=time.time() - 10, subscribe_seconds=NEVER)

    assert watched.ended == {job_id: "completed"}


async def test_deadline_is_respected_during_an_outage(server: EmulatorServer) -> None:
    """During an outage the wait ends at the deadline."""
    server.faults.add("job_status", "status", code=503, times=None)
    job_id = buy(server)

    watched = await watch(server, job_id, poll_interval=0.1, end_time=time.time() + 0.5)

    assert watched.timed_out


# -- connection -------------------------------------------------------------------------------------------------


async def test_refused_token_is_looked_up_again(server: EmulatorServer) -> None:
    """A refused token is looked up again, and the wait continues with the new one."""
    connect = Connect(server, "old-token", "piktid-emulator")
    job_id = buy(server)

    watched = await watch(server, job_id, connect=connect)

    assert watched.ended == {job_id: "completed"}
    assert connect.calls == 2


async def test_token_may_be_refused_again_after_it_worked(server: EmulatorServer) -> None:
    """Once a token has worked, a later refusal looks it up again."""
    server.faults.add("job_status", "status", code=401, after=1)
    server.faults.add("job_status", "status", code=401, after=2)
    connect = Connect(server)
    job_id = buy(server)

    watched = await watch(server, job_id, connect=connect, poll_interval=0.05, stream=False)

    assert watched.ended == {job_id: "completed"}
    assert connect.calls == 3


async def test_token_refused_twice_raises(server: EmulatorServer) -> None:
    """A token that is refused twice in a row raises ``PiktidAuthError``."""
    connect = Connect(server, "wrong")

    with pytest.raises(PiktidAuthError):
        await watch(server, buy(server), connect=connect)
    assert connect.calls == 2


async def test_connection_lookup_is_retried(server: EmulatorServer) -> None:
    """A connection lookup that fails is retried."""
    connect = Connect(server, RuntimeError("away"), RuntimeError("away"), "piktid-emulator")
    job_id = buy(server)

    assert (await watch(server, job_id, connect=connect, poll_interval=0.05)).ended == {job_id: "completed"}


async def test_connection_lookup_that_fails_five_times_raises(server: EmulatorServer) -> None:
    """A connection lookup that fails five times in a row raises the error."""
    connect = Connect(server, RuntimeError("away"))

    with pytest.raises(RuntimeError, match="away"):
        await watch(server, "j", connect=connect, poll_interval=0.01)
    assert connect.calls == 5


async def test_invalid_connection_raises_at_once(server: EmulatorServer) -> None:
    """An invalid connection raises without a retry."""
    connect = Connect(server, PiktidConfigError("no token"))

    with pytest.raises(PiktidConfigError):
        await watch(server, "j", connect=connect)
    assert connect.calls == 1


async def test_wait_leaves_no_task_or_stream(server: EmulatorServer) -> None:
    """After the wait no task and no stream is left."""
    connect = Connect(server)

    await watch(server, buy(server), connect=connect)

    assert len(asyncio.all_tasks()) <= 2  # this test, and the runner of the backend
    await until(lambda: server.state.stats()["streams"] == 0)


async def test_cancelled_wait_leaves_no_task_or_stream(server: EmulatorServer) -> None:
    """After the wait is cancelled no task and no stream is left."""
    server.faults.add("job", "never_end")
    job_id = buy(server)
    before = asyncio.all_tasks()
    task = asyncio.create_task(watch(server, job_id))
    await until(lambda: server.state.stats()["streams"] == 1)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert asyncio.all_tasks() == before
    await until(lambda: server.state.stats()["streams"] == 0)


async def test_wait_that_is_cancelled_as_it_wakes_up_ends(start: Any) -> None:
    """A wait that is cancelled at the moment of an event raises ``CancelledError``."""
    server = start(job_seconds=60.0)
    job_id = buy(server)
    asked = asyncio.Event()
    watcher = JobWatcher(
        Connect(server), [job_id], WatchOptions(stream=False), on_change=lambda job: asked.set()
    )
    wait = asyncio.create_task(watcher.wait())
    await asyncio.wait_for(asked.wait(), SOON)
    # After the response the watcher only awaits the next event.
    await asyncio.sleep(0)

    watcher._wake()
    wait.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(wait, SOON)
