# SPDX-License-Identifier: Apache-2.0
"""The notification stream that all waiters of an account share."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import PiktidAuthError, PiktidConnectionError, PiktidServerError
from airflow_provider_piktid.hooks.settings import PiktidSettings
from airflow_provider_piktid.jobs import hub as hub_module
from airflow_provider_piktid.jobs.hub import Subscription, subscribe
from airflow_provider_piktid.models.v2 import Notification
from tests.support.batch import buy
from tests.support.watching import SOON, Connect, until

pytestmark = pytest.mark.anyio

#: A value of the task that subscribes, as Airflow marks the log lines of a trigger.
TRIGGER: ContextVar[str] = ContextVar("trigger", default="none")


class Waiter:
    """A waiter that keeps what it hears."""

    def __init__(self, server: EmulatorServer, *job_ids: str, **more: Any) -> None:
        self.hints: list[Notification] = []
        self.live: list[bool] = []
        self.changed = asyncio.Event()
        self.subscription: Subscription = subscribe(
            Connect(server, **more), job_ids=job_ids or None, on_hint=self._hint, on_live=self._set_live
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the waiter has heard enough."""
        async with asyncio.timeout(SOON):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def until_live(self) -> None:
        await self.until(lambda: self.live[-1:] == [True])

    def _hint(self, notification: Notification) -> None:
        self.hints.append(notification)
        self.changed.set()

    def _set_live(self, live: bool) -> None:
        self.live.append(live)
        self.changed.set()


def streams(server: EmulatorServer) -> int:
    return int(server.state.stats()["streams"])


def opened(server: EmulatorServer) -> int:
    return server.state.counters.requests["events"]


# -- who hears what ---------------------------------------------------------------------------------------------


async def test_waiters_of_an_account_share_one_stream(server: EmulatorServer) -> None:
    """Waiters of one account share the stream, and each hears only of its own jobs."""
    first, second = Waiter(server, "job-1"), Waiter(server, "job-2")
    async with first.subscription, second.subscription:
        await first.until_live()
        await second.until_live()

        ids = [server.state.publish("completed", {"job_id": job_id}) for job_id in ("job-1", "job-2")]
        await second.until(lambda: bool(second.hints))

        assert [[note.id for note in waiter.hints] for waiter in (first, second)] == [ids[:1], ids[1:]]
        assert opened(server) == 1
    await until(lambda: streams(server) == 0)


async def test_waiter_without_job_ids_hears_of_everything(server: EmulatorServer) -> None:
    """A waiter without job ids gets each notification of the account, with its name, job id and data."""
    waiter = Waiter(server)
    async with waiter.subscription:
        await waiter.until_live()
        server.state.publish("batch_edit", {"id_task": "job-1", "status": "completed"})
        server.state.publish("something", {"status": "new"})
        await waiter.until(lambda: len(waiter.hints) == 2)

    assert [(note.name, note.job_id, note.status) for note in waiter.hints] == [
        ("batch_edit", "job-1", "completed"),
        ("something", None, "new"),
    ]


async def test_late_waiter_gets_the_recent_notifications_first(server: EmulatorServer) -> None:
    """Who joins later gets what the stream had before, then True, without another connection."""
    ids = [server.state.publish("completed", {"job_id": "job-1"})]
    first, late = Waiter(server), Waiter(server)
    async with first.subscription:
        await first.until_live()
        ids.append(server.state.publish("completed", {"job_id": "job-2"}))
        await first.until(lambda: len(first.hints) == 2)
        async with late.subscription:
            assert [note.id for note in late.hints] == ids
            assert late.live == [True]
    assert opened(server) == 1


async def test_notification_without_a_job_id_is_a_hint_for_all(server: EmulatorServer) -> None:
    """A notification that names no job is passed to every waiter."""
    waiters = [Waiter(server, f"job-{number}") for number in range(3)]
    async with contextlib.AsyncExitStack() as stack:
        for waiter in waiters:
            await stack.enter_async_context(waiter.subscription)
            await waiter.until_live()

        server.state.publish("completed", {})

        for waiter in waiters:
            await waiter.until(lambda heard=waiter.hints: len(heard) == 1)  # type: ignore[misc]


async def test_repeated_notification_is_passed_once(server: EmulatorServer) -> None:
    """What the stream repeats, also after a reconnect, is passed once."""
    server.faults.add("events", "double", times=None)
    waiter = Waiter(server)
    async with waiter.subscription:
        await waiter.until_live()
        first = server.state.publish("completed", {"job_id": "job-1"})
        await waiter.until(lambda: len(waiter.hints) == 1)
        server.state.v2.notifications.close()
        await waiter.until(lambda: waiter.live == [True, False, True])
        second = server.state.publish("completed", {"job_id": "job-2"})
        await waiter.until(lambda: len(waiter.hints) == 2)

    assert [note.id for note in waiter.hints] == [first, second]


# -- joining and leaving ----------------------------------------------------------------------------------------


async def test_end_of_the_first_waiter_disturbs_nobody(server: EmulatorServer) -> None:
    """The stream goes on when the task that opened it is cancelled."""
    first, second = Waiter(server, "job-1"), Waiter(server, "job-2")

    async def wait() -> None:
        async with first.subscription:
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await first.until_live()
    async with second.subscription:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.state.publish("completed", {"job_id": "job-2"})
        await second.until(lambda: bool(second.hints))

    assert (second.live, opened(server)) == ([True], 1)


async def test_who_comes_while_a_stream_closes_gets_another_one(server: EmulatorServer) -> None:
    """A waiter that joins while the last one leaves has a stream of its own, which stays open."""
    first, second = Waiter(server), Waiter(server)
    await first.subscription.enter()
    await first.until_live()
    leaving = asyncio.create_task(first.subscription.leave())
    await asyncio.sleep(0)

    async with second.subscription:
        assert not leaving.done()
        await asyncio.wait_for(leaving, SOON)
        await second.until_live()
        await until(lambda: streams(server) == 1)
        server.state.publish("completed", {"job_id": "job-1"})
        await second.until(lambda: bool(second.hints))

    assert (second.live, opened(server)) == ([True], 2)


async def test_stream_is_closed_although_the_last_waiter_is_cancelled_again(server: EmulatorServer) -> None:
    """A second cancellation while the stream closes leaves no connection."""
    before = asyncio.all_tasks()
    waiter = Waiter(server)
    await waiter.subscription.enter()
    await waiter.until_live()

    leaving = asyncio.create_task(waiter.subscription.leave())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)

    await until(lambda: streams(server) == 0)
    await until(lambda: asyncio.all_tasks() == before)


async def test_stream_carries_no_context_of_the_first_waiter(
    server: EmulatorServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The task of the stream does not run in the context of the trigger that came first, nor do its log lines."""
    contexts: list[str] = []
    caplog.set_level(logging.DEBUG, hub_module.log.name)
    caplog.handler.addFilter(lambda record: contexts.append(TRIGGER.get()) or True)  # type: ignore[func-returns-value]
    server.faults.add("events", "no_stream")
    waiter = Waiter(server)

    TRIGGER.set("first")
    async with waiter.subscription:
        await waiter.until_live()

    assert set(contexts) == {"none"}


@pytest.mark.parametrize("left", [True, False], ids=["left", "abandoned"])
def test_no_event_loop_is_kept_alive(server: EmulatorServer, left: bool) -> None:
    """A closed event loop is released, also if its waiters did not leave."""
    server.faults.add("events", "no_stream", times=None)
    loop = asyncio.new_event_loop()

    async def join() -> Waiter:
        waiter = Waiter(server)
        await waiter.subscription.enter()
        await waiter.until(lambda: waiter.live == [False])
        if left:
            await waiter.subscription.leave()
        return waiter

    waiter = loop.run_until_complete(join())
    loop.close()
    kept = weakref.ref(loop)
    del loop, waiter
    gc.collect()

    assert kept() is None


def test_each_thread_has_a_stream_of_its_own(server: EmulatorServer) -> None:
    """Event loops of several threads do not disturb each other."""
    together = threading.Barrier(4, timeout=SOON)
    heard: list[str | None] = []

    async def wait(name: str) -> None:
        waiter = Waiter(server, name)
        async with waiter.subscription:
            await waiter.until_live()
            await asyncio.to_thread(together.wait)
            server.state.publish("completed", {"job_id": name})
            await waiter.until(lambda: bool(waiter.hints))
            heard.extend(note.job_id for note in waiter.hints)

    threads = [threading.Thread(target=asyncio.run, args=(wait(f"job-{n}"),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(map(str, heard)) == [f"job-{n}" for n in range(4)]
    assert opened(server) == 4


FORK = """
import asyncio, os, sys
from airflow_provider_piktid.hooks.settings import PiktidSettings
from airflow_provider_piktid.jobs.hub import subscribe, _hubs

async def connect():
    return PiktidSettings("test", "piktid-emulator", None, None, base_url=sys.argv[1])

async def listen():
    live = asyncio.Event()
    async with subscribe(connect, on_hint=print, on_live=lambda _: live.set()):
        await asyncio.wait_for(live.wait(), 60)

async def main():
    live = asyncio.Event()
    async with subscribe(connect, on_hint=print, on_live=lambda _: live.set()):
        await asyncio.wait_for(live.wait(), 60)
        child = os.fork()
        if not child:
            known = len(_hubs._loops)
            asyncio.run(listen())
            os._exit(known)
        status = await asyncio.to_thread(os.waitpid, child, 0)
        print(os.waitstatus_to_exitcode(status[1]), len(_hubs._loops))

asyncio.run(main())
"""


def test_forked_child_sees_no_stream(server: EmulatorServer) -> None:
    """A forked child knows no stream of its parent, and opens its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, server.url], capture_output=True, text=True, timeout=60
    )

    assert (done.stdout.split(), done.returncode) == (["0", "1"], 0), done.stderr
    assert opened(server) == 2


# -- failures ---------------------------------------------------------------------------------------------------


async def test_waiter_that_fails_does_not_end_the_stream(server: EmulatorServer) -> None:
    """An error of a waiter's callback reaches no other waiter."""

    def fail(value: Any) -> None:
        raise RuntimeError("a bug of this waiter")

    broken = subscribe(Connect(server), on_hint=fail, on_live=fail)
    waiter = Waiter(server)
    async with broken, waiter.subscription:
        await waiter.until_live()
        server.state.publish("completed", {"job_id": "job-1"})
        await waiter.until(lambda: bool(waiter.hints))

    assert opened(server) == 1


async def test_many_foreign_notifications_leave_other_tasks_their_turn(server: EmulatorServer) -> None:
    """Thousands of foreign notifications delay neither the event loop nor the notification behind them."""
    server.faults.add("events", "foreign", n=3000)
    server.state.publish("completed", {"job_id": "job-1"})
    waiter, stuck = Waiter(server, "job-1"), Waiter(server)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counted: list[int] = []
    everything = subscribe(
        Connect(server), on_hint=lambda _: counted.append(turns), on_live=lambda live: None
    )
    other = asyncio.create_task(others())
    async with stuck.subscription, everything, waiter.subscription:
        await waiter.until_live()
    other.cancel()

    assert len(waiter.hints) == 1
    assert len(counted) == 3001
    assert max(counted.count(turn) for turn in set(counted)) <= hub_module.FRAMES_AT_ONCE


async def test_failed_attempt_is_reported(server: EmulatorServer) -> None:
    """Waiters hear that the stream could not be opened, and later that it is open."""
    server.faults.add("events", "no_stream")
    waiter = Waiter(server)
    async with waiter.subscription as subscription:
        await waiter.until(lambda: waiter.live == [False])
        assert (subscription.live, type(subscription.failure)) == (False, PiktidServerError)
        await waiter.until(lambda: waiter.live == [False, True])
        assert (subscription.live, subscription.failure) == (True, None)


async def test_refused_token_is_reported_to_all(server: EmulatorServer) -> None:
    """If the stream is refused, every waiter hears of it, also one that comes later."""
    first, late = Waiter(server, token="revoked"), Waiter(server, token="revoked")
    async with first.subscription as subscription:
        await first.until(lambda: first.live == [False])
        assert isinstance(subscription.failure, PiktidAuthError)
        async with late.subscription as subscription:
            assert late.live == [False]
            assert isinstance(subscription.failure, PiktidAuthError)


async def test_hung_requests_do_not_block_the_others(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If as many requests hang as run at once, the others wait for their timeout, not that of the connection."""
    monkeypatch.setattr(hub_module, "REQUEST_SECONDS", 0.5)
    job_id = buy(server)
    server.faults.add("job_status", "hang", times=hub_module.REQUESTS_AT_ONCE)
    waiter = Waiter(server, job_id)
    async with waiter.subscription as subscription, asyncio.timeout(SOON):
        answers = await asyncio.gather(
            *(subscription.get_job(job_id) for _ in range(hub_module.REQUESTS_AT_ONCE + 4)),
            return_exceptions=True,
        )

    hung = [answer for answer in answers if isinstance(answer, PiktidConnectionError)]
    assert len(hung) == hub_module.REQUESTS_AT_ONCE
    assert len([answer for answer in answers if not isinstance(answer, BaseException)]) == 4


async def test_waiters_share_eight_requests_at_once(server: EmulatorServer) -> None:
    """The requests of all waiters together are limited."""
    job_id = buy(server)
    server.faults.add("job_status", "delay", seconds=0.2, times=None)
    waiters = [Waiter(server, job_id) for _ in range(30)]
    async with contextlib.AsyncExitStack() as stack:
        entered = [await stack.enter_async_context(waiter.subscription) for waiter in waiters]
        await waiters[0].until_live()
        server.state.counters.most_open_requests = 0
        await asyncio.gather(*(subscription.get_job(job_id) for subscription in entered))

    # One is the stream.
    assert 2 <= server.state.counters.most_open_requests <= hub_module.REQUESTS_AT_ONCE + 1


async def test_connections_of_one_account_share_its_stream(server: EmulatorServer) -> None:
    """Two connections with one token share the stream, and errors name the connection of the waiter."""
    waiters = [Waiter(server, "job-x", conn_id=name) for name in ("piktid_one", "piktid_two")]
    messages = []
    async with waiters[0].subscription as one, waiters[1].subscription as two:
        for subscription in (one, two):
            with pytest.raises(Exception, match="piktid_") as caught:
                await subscription.get_job("job-x")
            messages.append(str(caught.value))
        await waiters[1].until_live()

    assert opened(server) == 1
    assert [message.partition(":")[0] for message in messages] == ["piktid_one", "piktid_two"]


async def test_accounts_have_streams_of_their_own(server: EmulatorServer) -> None:
    """Waiters with other tokens do not share the stream, and an account is not identified by its token."""
    token = server.state.v2.tokens.new_api_token(60)["token"]
    one, two = Waiter(server), Waiter(server, token=token)
    async with one.subscription, two.subscription:
        await one.until_live()
        await two.until_live()

        assert opened(server) == 2
        assert token not in str([*hub_module._hubs._loops[asyncio.get_running_loop()]])


def test_account_of_a_connection_does_not_contain_the_token() -> None:
    """Connections with the same address and token are one account."""
    settings = PiktidSettings("one", "secret", None, None)

    assert settings.v2_account == replace(settings, conn_id="two").v2_account
    assert settings.v2_account != replace(settings, token="other").v2_account
    assert settings.v2_account != replace(settings, base_url="https://other").v2_account
    assert "secret" not in str(settings.v2_account)
