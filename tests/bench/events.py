# SPDX-License-Identifier: Apache-2.0
"""The time from the end of a job to the event that resumes its task."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from typing import Any

from tests.bench.process import UNLIMITED, emulator, in_child
from tests.bench.rows import Row, at_most, told
from tests.support.stack import emulator_call

MILLISECONDS = 100
JOB_SECONDS = 1.5
AT_ONCE = 5


def run(*, quick: bool = False) -> list[Row]:
    """Measure the time from the end of a job, by the emulator's clock, to the event of its trigger."""
    rounds = 3 if quick else 12
    with emulator("--job-seconds", str(JOB_SECONDS), *UNLIMITED) as url:
        seen = in_child(__name__, "wait_for_jobs", url=url, base=url, rounds=rounds)["events"]
        ends = {job["job_id"]: job["updated_at"] for job in emulator_call(url, "ledger")["jobs"]}
    delays = sorted(1000 * (moment - ends[job_id]) for job_id, moment in seen.items())
    worst = delays[int(0.95 * len(delays))]
    detail = f"{len(delays)} jobs, SSE, one status request of 50 ms included"
    return [
        at_most(
            "job's end to trigger's event, median", statistics.median(delays), MILLISECONDS, "ms", detail
        ),
        told("the same, 95th percentile", worst, "ms"),
    ]


def wait_for_jobs(base: str, rounds: int) -> dict[str, Any]:
    """Submit jobs and wait for each with its own trigger; return the time of the event by job id."""
    from airflow_provider_piktid.client import AsyncPiktidClient
    from airflow_provider_piktid.models.model_swap import ModelSwap
    from airflow_provider_piktid.triggers.job import PiktidJobTrigger
    from tests.support.batch import JPEG
    from tests.support.tasks import first_event, rebuild

    assert os.environ["AIRFLOW_CONN_PIKTID_DEFAULT"]
    events: dict[str, float] = {}

    async def wait(client: AsyncPiktidClient, swap: ModelSwap, image: str) -> None:
        job_id = (await client.create_job(swap, [image])).job_id
        payload = await first_event(rebuild(PiktidJobTrigger([job_id])))
        events[job_id] = time.time()
        if payload["status"] != "done":
            raise RuntimeError(f"the trigger said {payload['status']}: {payload.get('message')}")

    async def all_rounds() -> None:
        async with AsyncPiktidClient("piktid-emulator", base_url=base) as client:
            project = await client.ensure_project("events")
            image = (await client.upload_image("a.jpg", JPEG)).file_id
            swap = ModelSwap(identity_code="PiktidSummer", project_id=project.project_id)
            for _ in range(rounds):
                await asyncio.gather(*(wait(client, swap, image) for _ in range(AT_ONCE)))

    asyncio.run(all_rounds())
    return {"events": events}
