# SPDX-License-Identifier: Apache-2.0
"""Register asset events by Airflow's REST API, from a process of its own."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_piktid.jobs.ended import filter_of
from airflow_provider_piktid.jobs.submission import CLOCK_SLACK_SECONDS
from airflow_provider_piktid.webhook.delivery import ReportedEnd, extra_of, is_known
from airflow_provider_piktid.webhook.receiver import JobAsset

if TYPE_CHECKING:
    from airflow_provider_piktid.webhook.airflow_api import AirflowApi

#: Seconds that the list of assets is kept.
ASSETS_SECONDS: Final = 10.0


@dataclass
class _Waiting:
    """An end that is to be registered, and who waits for the result."""

    end: ReportedEnd
    made: asyncio.Future[bool]


@dataclass
class _Queue:
    """The ends of one asset that are registered together."""

    uri: str
    waiting: list[_Waiting] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    registered_at: float = float("-inf")


class RestSink:
    """
    Registers events by Airflow's REST API.

    The first end is registered at once, and those of the next ``gather`` seconds together: of several events at once
    Airflow's scheduler may overlook all but the first, until another one comes.

    :param api: Airflow.
    :param gather: Least seconds between two events of an asset.
    """

    def __init__(self, api: AirflowApi, gather: float) -> None:
        self._api = api
        self._gather = gather
        self._read_at = float("-inf")
        self._rows: list[dict[str, Any]] = []
        self._queues: dict[int, _Queue] = {}

    async def assets(self, piktid_conn_id: str) -> list[JobAsset]:
        if time.monotonic() - self._read_at > ASSETS_SECONDS:
            self._rows = await self._api.assets()
            self._read_at = time.monotonic()
        found = []
        for row in self._rows:
            jobs = filter_of(row.get("extra"), piktid_conn_id)
            if jobs is not None:
                self._queues.setdefault(int(row["id"]), _Queue(str(row["uri"])))
                found.append(JobAsset(int(row["id"]), str(row.get("name") or row["uri"]), jobs))
        return found

    async def register(self, asset: JobAsset, end: ReportedEnd) -> bool:
        events = await self._api.events(asset.id, end.told_at - CLOCK_SLACK_SECONDS)
        if is_known(end, events):
            return False
        queue = self._queues[asset.id]
        made: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        queue.waiting.append(_Waiting(end, made))
        if queue.task is None:
            queue.task = asyncio.create_task(self._empty(asset.id, queue))
        return await made

    async def _empty(self, asset_id: int, queue: _Queue) -> None:
        """Register what waits, until nothing does."""
        while queue.waiting:
            await asyncio.sleep(max(0.0, queue.registered_at + self._gather - time.monotonic()))
            taken, queue.waiting = queue.waiting, []
            try:
                await self._register(asset_id, queue, taken)
            except Exception as error:  # noqa: BLE001 - of any kind: each delivery is answered with it
                for waiting in taken:
                    if not waiting.made.done():
                        waiting.made.set_exception(error)
        queue.task = None

    async def _register(self, asset_id: int, queue: _Queue, taken: list[_Waiting]) -> None:
        events = await self._api.events(
            asset_id, min(waiting.end.told_at for waiting in taken) - CLOCK_SLACK_SECONDS
        )
        new: list[_Waiting] = []
        for waiting in taken:
            if not is_known(waiting.end, events):
                new.append(waiting)
                events.append((time.time(), extra_of([waiting.end])))
        if new:
            await self._api.create_event(asset_id, queue.uri, extra_of(waiting.end for waiting in new))
            queue.registered_at = time.monotonic()
        for waiting in taken:
            if not waiting.made.done():
                waiting.made.set_result(waiting in new)
