# SPDX-License-Identifier: Apache-2.0
"""Watch the ends of an emulator's jobs, with a store that outlives the watcher."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.jobs.end_memory import KEY, EndMemory
from airflow_provider_piktid.jobs.end_watch import EndWatcher, WatchTimes
from airflow_provider_piktid.jobs.ended import EndedJob, JobFilter
from tests.support.tasks import StateStore

#: Intervals for tests: what takes minutes in production takes tenths of a second.
SHORT = WatchTimes(lead=0.05, webhook=0.5, running=0.3, unsettled=0.1, gallery=0.3, save=0.1, retry=0.2)
SECONDS = 60


class AssetStore(StateStore):
    """Replaces ``asset_state_store`` of Airflow 3.3.2: also asynchronous calls."""

    async def aget(self, key: str, default: Any = None) -> Any:
        return self.get(key, default)

    async def aset(self, key: str, value: Any) -> None:
        self.set(key, value)

    @property
    def value(self) -> dict[str, Any]:
        """What the watcher has stored; empty if nothing is."""
        value: dict[str, Any] = self.get(KEY, {})
        return value


@asynccontextmanager
async def watching(
    jobs: JobFilter | None = None,
    *,
    store: Any = None,
    times: WatchTimes = SHORT,
    gather: float = 0.0,
    conn_id: str = "piktid_default",
) -> AsyncIterator[EndWatcher]:
    """Watch as the trigger does."""
    memory = EndMemory(store)
    await memory.load()
    watcher = EndWatcher(
        "swaps", PiktidHook(conn_id).aget_settings, jobs or JobFilter(), memory, gather, times
    )
    try:
        yield watcher
    finally:
        await watcher.aclose()


async def burst(watcher: EndWatcher) -> list[EndedJob]:
    """Return the next burst; fail if there is none."""
    async with asyncio.timeout(SECONDS):
        return await watcher.next_burst()


async def quiet(watcher: EndWatcher, seconds: float = 0.6) -> bool:
    """Return whether nothing is reported for some time."""
    try:
        async with asyncio.timeout(seconds):
            await watcher.next_burst()
    except TimeoutError:
        return True
    return False
