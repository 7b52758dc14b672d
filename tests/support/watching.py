# SPDX-License-Identifier: Apache-2.0
"""Wait for jobs of an emulator as triggers do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.hooks.settings import PiktidSettings
from airflow_provider_piktid.jobs.watch import JobWatcher, WatchOptions, WatchResult
from airflow_provider_piktid.models import Job

#: Longer than any test: a wait of this length means that a notification was missed.
NEVER = 60.0
#: Seconds after which a test gives up; long, as other programs may keep the machine busy.
SOON = 20.0


class Connect:
    """Looks up connections with the given tokens, in order; the last one stays."""

    def __init__(
        self,
        server: EmulatorServer,
        *tokens: str | Exception,
        conn_id: str = "test",
        token: str | None = None,
    ) -> None:
        self._url = server.url
        self._tokens = list(tokens) or [token or "piktid-emulator"]
        self._conn_id = conn_id
        self.calls = 0

    async def __call__(self) -> PiktidSettings:
        self.calls += 1
        token = self._tokens.pop(0) if len(self._tokens) > 1 else self._tokens[0]
        if isinstance(token, Exception):
            raise token
        return PiktidSettings(self._conn_id, token, None, None, base_url=self._url)


async def watch(
    server: EmulatorServer,
    *job_ids: str,
    connect: Connect | None = None,
    on_change: Callable[[Job], None] | None = None,
    **options: Any,
) -> WatchResult:
    """Wait for jobs, at most ``SOON`` seconds. By default only notifications end the wait in time."""
    settings: dict[str, Any] = {
        "poll_interval": NEVER,
        "status_interval": NEVER,
        "coalesce_seconds": 0.05,
        "lost_seconds": 0.2,
    }
    watcher = JobWatcher(
        connect or Connect(server),
        job_ids,
        WatchOptions(**(settings | options)),
        on_change=on_change,
    )
    return await asyncio.wait_for(watcher.wait(), SOON)


def status_requests(server: EmulatorServer) -> int:
    return server.state.counters.requests["job_status"]


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the server, which runs in another thread, has done something."""
    async with asyncio.timeout(SOON):
        while not condition():  # noqa: ASYNC110 - it sets no event of this loop
            await asyncio.sleep(0.01)
