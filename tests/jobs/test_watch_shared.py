# SPDX-License-Identifier: Apache-2.0
"""Many waits for jobs of one account in one process."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from airflow_provider_piktid.client import AsyncPiktidClient
from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import PiktidAuthError
from airflow_provider_piktid.jobs import hub
from airflow_provider_piktid.jobs.watch import WatchResult
from airflow_provider_piktid.models import Job
from tests.support.batch import buy
from tests.support.watching import Connect, status_requests, until, watch

pytestmark = pytest.mark.anyio


@pytest.fixture
def endless(start: Any) -> EmulatorServer:
    """An emulator whose jobs end only if the test ends them."""
    server: EmulatorServer = start(job_seconds=600)
    return server


def begin(server: EmulatorServer, *job_ids: str, **options: Any) -> asyncio.Task[WatchResult]:
    return asyncio.create_task(watch(server, *job_ids, **options))


async def asked(server: EmulatorServer, count: int) -> None:
    """Wait until so many status requests were answered."""
    await until(lambda: server.state.counters.statuses["job_status", 200] >= count)


async def stop(*waits: asyncio.Task[WatchResult]) -> None:
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


def streams(server: EmulatorServer) -> int:
    return int(server.state.stats()["streams"])


async def test_late_wait_asks_at_once(start: Any) -> None:
    """A wait that joins an open stream gets the status at once, so it misses no event of before."""
    server = start(job_seconds=600, notification_seconds=0.0)
    first, ended = buy(server), buy(server)
    waiting = begin(server, first)
    await asked(server, 1)
    server.state.complete_job(ended)

    assert (await watch(server, ended)).ended == {ended: "completed"}
    await stop(waiting)
    assert server.state.counters.requests["events"] == 1


async def test_event_during_an_answer_leads_to_another_question(
    endless: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If an event arrives while an older status is on its way, the status is requested again."""
    job_id = buy(endless)
    other = begin(endless, job_id)
    await asked(endless, 1)
    real = AsyncPiktidClient.get_job

    async def old_answer(self: AsyncPiktidClient, job_id: str) -> Job:
        monkeypatch.setattr(AsyncPiktidClient, "get_job", real)
        answer = await real(self, job_id)
        endless.state.complete_job(job_id)
        # The other wait heard of the end: so did the stream that both share.
        assert (await other).ended == {job_id: "completed"}
        return answer

    monkeypatch.setattr(AsyncPiktidClient, "get_job", old_answer)

    assert (await watch(endless, job_id)).ended == {job_id: "completed"}


async def test_waits_do_not_share_answers(endless: EmulatorServer) -> None:
    """Each wait for a job gets the status itself: an answer may be older than what another wait has heard."""
    job_id = buy(endless)
    waits = [begin(endless, job_id) for _ in range(3)]
    await asked(endless, 3)
    endless.state.complete_job(job_id)

    assert [(await wait).ended for wait in waits] == [{job_id: "completed"}] * 3
    assert status_requests(endless) >= 6


async def test_cancelled_wait_does_not_disturb_the_others(endless: EmulatorServer) -> None:
    """The wait that opened the stream is cancelled; another one hears of its job."""
    one, two = buy(endless), buy(endless)
    first = begin(endless, one)
    await asked(endless, 1)
    second = begin(endless, two)
    await asked(endless, 2)
    await stop(first)

    endless.state.complete_job(two)

    assert (await second).ended == {two: "completed"}
    assert endless.state.counters.requests["events"] == 1


# -- lost stream ------------------------------------------------------------------------------------------------


async def test_lost_stream_makes_all_ask(endless: EmulatorServer) -> None:
    """After the stream was lost every wait gets the status, also of a job whose last event never came."""
    endless.faults.add("job", "lose_notifications", times=None)
    jobs = [buy(endless) for _ in range(5)]
    waits = [begin(endless, job_id) for job_id in jobs]
    await asked(endless, 5)
    for job_id in jobs:
        endless.state.complete_job(job_id)

    endless.state.v2.notifications.close()

    assert [(await wait).ended for wait in waits] == [{job_id: "completed"} for job_id in jobs]


async def test_hinted_jobs_are_asked_for_first(
    endless: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a reconnect the jobs with a missed event come first; the others ask over time, so many a second."""
    # The latest moment of each span: the stream is opened again after a second, 20 waits ask after forty.
    monkeypatch.setattr(hub, "SPREAD_RATE", 0.5)
    spans: list[float] = []

    def latest(low: float, high: float) -> float:
        spans.append(high)
        return high

    monkeypatch.setattr(random, "uniform", latest)
    quiet, ending = buy(endless), buy(endless)
    waits = [begin(endless, quiet) for _ in range(19)]
    last = begin(endless, ending)
    await asked(endless, 20)

    endless.state.v2.notifications.close()
    await until(lambda: streams(endless) == 0)
    endless.state.complete_job(ending)

    assert (await last).ended == {ending: "completed"}
    assert status_requests(endless) == 21
    assert max(spans) == 40.0
    await stop(*waits)


async def test_notifications_that_name_no_job_do_not_multiply_requests(
    endless: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many notifications name no job, each wait takes one moment to ask for all of them that come together."""
    job_id = buy(endless)
    wait = begin(endless, job_id, coalesce_seconds=0.3)
    await asked(endless, 1)
    moments: list[float] = []

    def first(low: float, high: float) -> float:
        moments.append(low)
        return low

    monkeypatch.setattr(random, "uniform", first)
    for _ in range(50):
        endless.state.publish("something", {})
    endless.state.publish("completed", {"job_id": job_id})
    await asked(endless, 2)

    endless.state.complete_job(job_id)

    await wait
    assert len(moments) <= 2
    assert status_requests(endless) <= 5


async def test_failed_status_request_after_an_event_is_repeated_soon(endless: EmulatorServer) -> None:
    """If the status request that an event led to fails, the next one follows after ``poll_interval``."""
    job_id = buy(endless)
    wait = begin(endless, job_id, poll_interval=0.1)
    await asked(endless, 1)
    endless.faults.add("job_status", "status", code=503, times=2)
    endless.state.complete_job(job_id)

    assert (await wait).ended == {job_id: "completed"}
    assert endless.faults.all_met()


# -- token ------------------------------------------------------------------------------------------------------


async def test_rotated_token_moves_all_waits_to_one_stream(endless: EmulatorServer) -> None:
    """When the token is replaced, each wait is refused once and looks it up again; all share one new stream."""
    tokens = endless.state.v2.tokens
    old = tokens.new_api_token(600)["token"]
    jobs = [buy(endless) for _ in range(5)]
    connects = [Connect(endless, old, "piktid-emulator") for _ in jobs]
    waits = [begin(endless, job, connect=connect) for job, connect in zip(jobs, connects, strict=True)]
    await asked(endless, 5)

    tokens.clear()
    endless.state.v2.notifications.close()
    await asked(endless, 10)
    await until(lambda: streams(endless) == 1)
    for job_id in jobs:
        endless.state.complete_job(job_id)

    assert [(await wait).ended for wait in waits] == [{job_id: "completed"} for job_id in jobs]
    assert [connect.calls for connect in connects] == [2] * 5
    assert endless.state.counters.statuses["job_status", 401] == 5


async def test_revoked_token_ends_every_wait(endless: EmulatorServer) -> None:
    """When the token is revoked and not replaced, every wait raises, after looking the connection up once more."""
    tokens = endless.state.v2.tokens
    old = tokens.new_api_token(600)["token"]
    connects = [Connect(endless, old) for _ in range(5)]
    waits = [begin(endless, buy(endless), connect=connect) for connect in connects]
    await asked(endless, 5)

    tokens.clear()
    endless.state.v2.notifications.close()
    outcomes = await asyncio.gather(*waits, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [PiktidAuthError] * 5
    assert [connect.calls for connect in connects] == [2] * 5
    await until(lambda: streams(endless) == 0)
