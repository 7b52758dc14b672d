# SPDX-License-Identifier: Apache-2.0
"""The notification stream that all waiters of an account share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.hooks.settings import PiktidSettings
from airflow_provider_piktid.jobs.hub import Subscription, subscribe
from airflow_provider_piktid.models.v2 import Notification
from tests.support.watching import SOON, until

pytestmark = pytest.mark.anyio


class Waiter:
    """A waiter that keeps what it hears."""

    def __init__(
        self, server: EmulatorServer, *job_ids: str, token: str = "piktid-emulator", **more: Any
    ) -> None:
        self._settings = PiktidSettings(more.pop("conn_id", "test"), token, None, None, base_url=server.url)
        self._job_ids = job_ids or None
        self._more = more
        self.hints: list[Notification] = []
        self.live: list[bool] = []
        self.changed = asyncio.Event()

    def subscribe(self) -> Subscription:
        return subscribe(
            self._connect, job_ids=self._job_ids, on_hint=self._hint, on_live=self._live, **self._more
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the waiter has heard enough."""
        async with asyncio.timeout(SOON):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def until_live(self) -> None:
        await self.until(lambda: self.live[-1:] == [True])

    async def _connect(self) -> PiktidSettings:
        return self._settings

    def _hint(self, notification: Notification) -> None:
        self.hints.append(notification)
        self.changed.set()

    def _live(self, live: bool) -> None:
        self.live.append(live)
        self.changed.set()


async def test_waiters_of_an_account_share_one_stream(server: EmulatorServer) -> None:
    """Waiters of one account share the stream, and each hears only of its own jobs."""
    first, second = Waiter(server, "job-1"), Waiter(server, "job-2")
    async with first.subscribe(), second.subscribe():
        await first.until_live()
        await second.until_live()

        ids = [server.state.publish("completed", {"job_id": job_id}) for job_id in ("job-1", "job-2")]
        await second.until(lambda: bool(second.hints))

        assert [[note.id for note in waiter.hints] for waiter in (first, second)] == [ids[:1], ids[1:]]
        assert server.state.counters.requests["events"] == 1
    await until(lambda: server.state.stats()["streams"] == 0)


async def test_waiter_without_job_ids_hears_of_everything(server: EmulatorServer) -> None:
    """A waiter without job ids gets each notification of the account, with its name, job id and data."""
    waiter = Waiter(server)
    async with waiter.subscribe():
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
    async with first.subscribe():
        await first.until_live()
        ids.append(server.state.publish("completed", {"job_id": "job-2"}))
        await first.until(lambda: len(first.hints) == 2)
        async with late.subscribe():
            assert [note.id for note in late.hints] == ids
            assert late.live == [True]
    assert server.state.counters.requests["events"] == 1
