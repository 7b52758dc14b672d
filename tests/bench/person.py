# SPDX-License-Identifier: Apache-2.0
"""Generated persons: the poll rate of a process, the delay of a result, and the cost of the stagger."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from airflow_provider_piktid.client._login import TOKENS
from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.triggers.generate_person import PiktidGeneratePersonTrigger
from tests.bench.rows import Row
from tests.support.person import account_json, person_run
from tests.support.service import emulator

TASKS = 50
POLL_SECONDS = 3.0


def run(*, quick: bool = False) -> list[Row]:
    """Measure with PiktID's real poll interval, which takes two minutes."""
    return [*shared_polling(rounds=3 if quick else 8), staggered(15.0, 70.0)]


def shared_polling(rounds: int) -> list[Row]:
    """Fifty deferred tasks on one account, whose results arrive over several polls."""
    with emulator(latency=0.05) as server:
        _connect(server)
        started = time.monotonic()
        latencies = asyncio.run(_fifty(server, spread=rounds * POLL_SECONDS))
        seconds = time.monotonic() - started
        polls = server.state.v1.counters.as_dict()
    allowed = seconds / POLL_SECONDS + 1
    p99 = sorted(latencies)[int(len(latencies) * 0.99) - 1 if len(latencies) >= 100 else -1]
    return [
        Row(
            f"polls of {TASKS} tasks in {seconds:.0f} s",
            f"{polls['polls']}",
            f"<= {allowed:.0f}, naive {allowed * TASKS:.0f}",
            polls["polls"] <= allowed,
        ),
        Row(
            "shortest time between two polls",
            f"{polls['shortest_poll_interval']:.2f} s",
            f">= {POLL_SECONDS:g} s",
            polls["shortest_poll_interval"] >= POLL_SECONDS,
        ),
        Row("results not lost", f"{len(latencies)}", f"{TASKS}", len(latencies) == TASKS),
        Row("notification to event, 99th percentile", f"{p99:.2f} s", "< 3.5 s", p99 < 3.5),
    ]


async def _fifty(server: EmulatorServer, *, spread: float) -> list[float]:
    """Publish results at even intervals; return the time that each took to become an event."""
    published: dict[int, float] = {}
    known: dict[int, float] = {}

    async def wait(number: int) -> None:
        trigger = PiktidGeneratePersonTrigger(
            [
                {
                    "name": str(number),
                    "id_image": f"img-{number}",
                    "id_person": 0,
                    "keyword": ["location", "africa"],
                    "since": time.time(),
                    "id_task": None,
                }
            ]
        )
        event: Any = await anext(trigger.run())
        assert event.payload["ended"] == {str(number): "completed"}
        known[number] = time.monotonic()

    waiting = [asyncio.create_task(wait(number)) for number in range(TASKS)]
    for number in range(TASKS):
        await asyncio.sleep(spread / TASKS)
        published[number] = time.monotonic()
        server.state.v1.notifications.publish(
            "edit_generate",
            {
                "address": f"img-{number}",
                "id_person": 0,
                "keyword": "Africa",
                "links": [{"l": f"{server.url}/f/x"}],
            },
        )
    await asyncio.gather(*waiting)
    return [known[number] - published[number] for number in known]


def staggered(stagger: float, generation: float) -> Row:
    """Four keywords for one person, compared with the stagger plus the slowest generation."""
    with (
        emulator(latency=0.05, faces=1, generate_seconds=generation, mask_seconds=0.0) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        _connect(server)
        task = person_run(
            Path(folder),
            keywords=["Oceania", "Africa", "East Asia", "Middle East"],
            stagger=stagger,
            timeout=600.0,
        )
        started = time.monotonic()
        rows = task.run()
        seconds = time.monotonic() - started
        slowest = max(row["seconds"] for row in server.state.generations())
    ratio = seconds / (stagger + slowest)
    return Row(
        f"4 keywords: stagger {stagger:g} s + slowest generation {slowest:g} s",
        f"{seconds:.1f} s, x {ratio:.3f}",
        "x 1.05",
        ratio <= 1.05 and len(rows) == 4,
    )


def _connect(server: EmulatorServer) -> None:
    TOKENS.clear()
    os.environ["AIRFLOW_CONN_PIKTID_DEFAULT"] = account_json(server.url)
