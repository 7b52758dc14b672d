# SPDX-License-Identifier: Apache-2.0
"""Many triggers in one event loop. Each function runs in a process of its own, see ``tests.bench.waiting``."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from tests.bench.process import Meter
from tests.support.stack import emulator_call

#: When the emulator cuts the stream, in seconds after it was opened: all wait by then.
CUT_SECONDS = 20
#: Requests a second of those who have no reason to hurry, see ``jobs.hub``.
SPREAD_RATE = 20


def clients_with_a_context_each(count: int) -> dict[str, Any]:
    """Create clients as httpx does by default."""
    import httpx

    httpx.AsyncClient()
    with Meter() as meter:
        kept = [httpx.AsyncClient() for _ in range(count)]
    return meter.report(count=len(kept))


def clients(count: int) -> dict[str, Any]:
    """Create clients of this package."""
    from airflow_provider_piktid.client import AsyncPiktidClient

    AsyncPiktidClient("token")
    with Meter() as meter:
        kept = [AsyncPiktidClient("token") for _ in range(count)]
    return meter.report(count=len(kept))


def triggers(base: str, count: int) -> dict[str, Any]:
    """Start triggers at once, each for a job of its own, until all have a stream and a status."""

    async def all_wait() -> dict[str, Any]:
        jobs = await submit(base, count)
        # Imports and caches are not part of a waiting task.
        await stop(await start(base, jobs[:1]))
        with Connections(base) as connections, Meter() as meter:
            waits = await start(base, jobs)
        stats = emulator_call(base, "stats")
        await stop(waits)
        return meter.report(
            count=count, streams=stats["streams"], connections=connections.most, requests=answered(stats)
        )

    return asyncio.run(all_wait())


def single_events(base: str, count: int, events: int) -> dict[str, Any]:
    """End jobs one after the other; return the time of each trigger's event by job id."""

    async def end_some() -> dict[str, Any]:
        seen: dict[str, float] = {}
        jobs = await submit(base, count)
        waits = await start(base, jobs, seen)
        await asyncio.to_thread(complete, base, jobs[:events], 0.03)
        await until(lambda: len(seen) == events, 30)
        await stop(waits)
        return {"events": seen}

    return asyncio.run(end_some())


def lose_the_stream(base: str, count: int) -> dict[str, Any]:
    """Cut the stream, end jobs during the outage, some of them without any event, and wait until all were found."""
    ended, silent = count * 3 // 10, count * 3 // 100
    for fault in (
        {"operation": "events", "kind": "cut_after", "seconds": CUT_SECONDS},
        {"operation": "events", "kind": "no_stream", "after": 1, "times": 2},
        {"operation": "job", "kind": "lose_notifications", "times": silent},
    ):
        emulator_call(base, "faults", fault)

    async def lose() -> dict[str, Any]:
        seen: dict[str, float] = {}
        jobs = await submit(base, count, at_once=1)
        waits = await start(base, jobs, seen)
        with Sampler(base) as sampler:
            await until(lambda: sampler.lost_at > 0, CUT_SECONDS + 10)
            await asyncio.to_thread(complete, base, jobs[:ended])
            await until(lambda: len(seen) == ended, count / SPREAD_RATE + 60)
        await stop(waits)
        hinted = max(seen[job_id] for job_id in jobs[silent:ended]) - sampler.back_at
        return {
            "ended": ended,
            "silent": silent,
            "found": len(seen),
            "first": sampler.most_requests(1.0, until=sampler.lost_at + 1.0),
            "peak": sampler.most_requests(1.0),
            "with_event_s": max(0.0, hinted),
            "all_s": max(0.0, max(seen.values()) - sampler.back_at),
        }

    return asyncio.run(lose())


# -- parts ------------------------------------------------------------------------------------------------------


async def submit(base: str, count: int, *, at_once: int = 16) -> list[str]:
    """Submit jobs of one image; return their ids, with ``at_once=1`` in the order of submission."""
    from airflow_provider_piktid.client import AsyncPiktidClient
    from airflow_provider_piktid.common.concurrency import run_bounded
    from airflow_provider_piktid.models.model_swap import ModelSwap
    from tests.support.batch import JPEG

    async with AsyncPiktidClient("piktid-emulator", base_url=base) as client:
        project = await client.ensure_project("many")
        image = (await client.upload_image("a.jpg", JPEG)).file_id
        swap = ModelSwap(identity_code="PiktidSummer", project_id=project.project_id)

        async def create(_: int) -> str:
            return (await client.create_job(swap, [image])).job_id

        return await run_bounded(create, range(count), at_once)


async def start(
    base: str, jobs: Sequence[str], seen: dict[str, float] | None = None
) -> list[asyncio.Task[None]]:
    """
    Start a trigger for each job; return when all have a status and the stream is open.

    :param seen: Gets the time of each trigger's event, epoch seconds, by job id.
    """
    from airflow_provider_piktid.triggers.job import PiktidJobTrigger

    async def wait(job_id: str) -> None:
        event = (await anext(PiktidJobTrigger([job_id]).run())).payload
        if event["status"] != "done":
            raise RuntimeError(f"the trigger of {job_id} said {event['status']}: {event['message']}")
        if seen is not None:
            seen[job_id] = time.time()

    before = answered(emulator_call(base, "stats"))
    waits = [asyncio.create_task(wait(job_id)) for job_id in jobs]
    deadline = time.monotonic() + 120
    while True:
        stats = await asyncio.to_thread(emulator_call, base, "stats")
        if stats["streams"] == 1 and answered(stats) - before >= len(jobs):
            return waits
        if time.monotonic() > deadline or any(task.done() for task in waits):
            raise RuntimeError(f"not all triggers wait: {stats}")
        await asyncio.sleep(0.05)


async def stop(waits: Sequence[asyncio.Task[None]]) -> None:
    for task in waits:
        task.cancel()
    for outcome in await asyncio.gather(*waits, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


async def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for what happens in another thread or process; give up silently, as the figures then show it."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110 - it sets no event of this loop
        await asyncio.sleep(0.01)


def complete(base: str, jobs: Sequence[str], pause: float = 0.0) -> None:
    """End jobs one after the other."""
    for job_id in jobs:
        emulator_call(base, f"jobs/{job_id}/complete", {})
        time.sleep(pause)


def answered(stats: dict[str, Any]) -> int:
    """The answered status requests."""
    return int(stats["operations"].get("job_status", {}).get("statuses", {}).get("200", 0))


class Background:
    """Calls :meth:`sample` in a thread while a ``with`` block runs."""

    SECONDS = 0.05

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self.SECONDS):
            self.sample()

    def sample(self) -> None:
        raise NotImplementedError


class Connections(Background):
    """Counts the connections to the emulator at once; that of a measurement may be among them."""

    def __init__(self, base: str) -> None:
        self.most = 0
        self._port = f":{urlsplit(base).port:04X}"

    def sample(self) -> None:
        count = 0
        # Line by line: on a busy machine there are thousands, and their memory would be measured.
        with Path("/proc/net/tcp").open() as lines:
            for line in lines:
                # The third column is the other end; 01 means established.
                if self._port in line:
                    _, _, other, state, *_ = line.split()
                    count += other.endswith(self._port) and state == "01"
        self.most = max(self.most, count)


class Sampler(Background):
    """Counts status requests over time, and notices when the stream is lost and back; times are epoch seconds."""

    def __init__(self, base: str) -> None:
        self.lost_at = self.back_at = 0.0
        self._base = base
        self._samples: list[tuple[float, int]] = []

    def sample(self) -> None:
        stats = emulator_call(self._base, "stats")
        now = time.time()
        if not self.lost_at and not stats["streams"]:
            self.lost_at = now
        if self.lost_at:
            self._samples.append((now, answered(stats)))
            if not self.back_at and stats["streams"]:
                self.back_at = now

    def most_requests(self, seconds: float, until: float = float("inf")) -> int:
        """Return the most requests within so many seconds of the outage, and of what followed."""
        samples = [(moment, count) for moment, count in self._samples if moment <= until]
        return max(
            later - earlier
            for index, (begin, earlier) in enumerate(samples)
            for moment, later in samples[index:]
            if moment <= begin + seconds
        )
