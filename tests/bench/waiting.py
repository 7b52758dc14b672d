# SPDX-License-Identifier: Apache-2.0
"""A thousand waiting tasks in one triggerer: the cost of their clients, and the time until all listen."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from tests.bench.process import UNLIMITED, Meter, emulator, in_child
from tests.bench.rows import Row, at_least, told

#: A TLS context for each client costs 22 ms and 0.85 MB; the shared one must cost less than a tenth of that.
TIMES_CHEAPER = 10


def run(*, quick: bool = False) -> list[Row]:
    """Compare clients with a shared TLS context to clients with their own, and start real triggers."""
    waiting = 200 if quick else 1000
    each = in_child(__name__, "clients_with_a_context_each", count=100)
    ours = in_child(__name__, "clients", count=waiting)
    with emulator("--job-seconds", "600", *UNLIMITED) as url:
        triggers = in_child(__name__, "triggers", url=url, base=url, count=waiting)
    per_each, per_ours = _per(each, "seconds"), _per(ours, "seconds")
    memory_each, memory_ours = _per(each, "megabytes"), _per(ours, "megabytes")
    detail = f"{1e3 * per_each:.2f} ms -> {1e3 * per_ours:.3f} ms for each of {waiting}"
    memory = f"{1e3 * memory_each:.0f} kB -> {1e3 * memory_ours:.1f} kB for each"
    return [
        at_least(
            "clients with one TLS context, times faster", per_each / per_ours, TIMES_CHEAPER, "x", detail
        ),
        at_least(
            "clients with one TLS context, times smaller",
            memory_each / memory_ours,
            TIMES_CHEAPER,
            "x",
            memory,
        ),
        told(
            f"{waiting} waiting triggers, until all listen",
            triggers["seconds"],
            "s",
            f"{1e3 * triggers['seconds'] / waiting:.1f} ms each, emulator included",
        ),
        told(
            f"{waiting} waiting triggers, memory",
            triggers["megabytes"],
            "MB",
            f"{1e3 * triggers['megabytes'] / waiting:.0f} kB each",
        ),
    ]


def _per(figures: dict[str, Any], what: str) -> float:
    return max(1e-6, float(figures[what]) / float(figures["count"]))


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
    """Run triggers in one event loop until each has a stream at the emulator."""
    from airflow_provider_piktid.client import AsyncPiktidClient
    from airflow_provider_piktid.models.model_swap import ModelSwap
    from airflow_provider_piktid.triggers.job import PiktidJobTrigger
    from tests.support.batch import JPEG
    from tests.support.stack import emulator_call
    from tests.support.tasks import first_event

    async def all_listen() -> dict[str, Any]:
        async with AsyncPiktidClient("piktid-emulator", base_url=base) as client:
            project = await client.ensure_project("many")
            image = (await client.upload_image("a.jpg", JPEG)).file_id
            swap = ModelSwap(identity_code="PiktidSummer", project_id=project.project_id)
            job_id = (await client.create_job(swap, [image])).job_id
        with Meter() as meter:
            waits = [asyncio.create_task(first_event(PiktidJobTrigger([job_id]))) for _ in range(count)]
            deadline = time.monotonic() + 120
            while (await asyncio.to_thread(emulator_call, base, "stats"))["streams"] < count:
                ended = [task for task in waits if task.done()]
                if ended or time.monotonic() > deadline:
                    raise RuntimeError(f"{len(ended)} triggers ended, or not all of them got a stream")
                await asyncio.sleep(0.05)
        for task in waits:
            task.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        return meter.report()

    return asyncio.run(all_listen())
