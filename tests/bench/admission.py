# SPDX-License-Identifier: Apache-2.0
"""
Thirty jobs on an account with five active jobs and five submissions per window.

Real operators and triggers run in one process with a few worker slots: as one task of thirty jobs, and as
thirty tasks of one job. The same load is measured with the back-off of the documented clients.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

from tests.bench.process import emulator, in_child
from tests.bench.rows import Row, at_most, told
from tests.support.admission import Account, makespan
from tests.support.stack import emulator_call

TIMES_THE_BOUND = 1.15
WORKER_SLOTS = 2
#: A tenth of PiktID's window; the documented back-off is shortened by the same factor.
ACCOUNT = Account(jobs_per_minute=5, rate_window=6.0, active_jobs=5, job_seconds=4.0)
COMPRESSION = 60.0 / ACCOUNT.rate_window
IMAGES_PER_JOB = 10


def run(*, quick: bool = False) -> list[Row]:
    """Run the three variants in parallel, each with its own emulator; they use little CPU."""
    jobs = 15 if quick else 30
    with ThreadPoolExecutor(3) as pool:
        one, mapped, plain = pool.map(
            lambda way: _measured(way, jobs), ("one_task", "mapped_tasks", "with_plain_backoff")
        )
    return [
        *_kept(f"one task, {jobs} jobs", one, jobs),
        *_kept(f"{jobs} tasks, one job each", mapped, jobs),
        told(
            "plain exponential back-off, failed tasks",
            plain["failed"],
            f"of {jobs}",
            f"slots held {plain['busy']:.0f} s, {plain['refused']} refusals; jobs that ran: {plain['jobs']}",
        ),
    ]


def _measured(way: str, jobs: int) -> dict[str, Any]:
    with emulator(*ACCOUNT.emulator_options, "--credits", "10000") as url:
        found = in_child(__name__, way, url=url, extra=ACCOUNT.extra, base=url, jobs=jobs)
        ledger = emulator_call(url, "ledger")["jobs"]
        refused = emulator_call(url, "stats")["refused_submissions"]
    return found | {"makespan": makespan(ledger), "jobs": len(ledger), "refused": sum(dict(refused).values())}


def _kept(name: str, found: dict[str, Any], jobs: int) -> list[Row]:
    if found["jobs"] != jobs:
        raise RuntimeError(f"{name}: {found['jobs']} jobs were made instead of {jobs}")
    bound = ACCOUNT.bound(jobs)
    return [
        at_most(
            f"{name}: makespan over bound",
            found["makespan"] / bound,
            TIMES_THE_BOUND,
            "x",
            f"{found['makespan']:.1f} s, bound {bound:g} s, {found['refused']} refusals",
        ),
        at_most(f"{name}: failed tasks", found["failed"], 0, f"of {found['tasks']}"),
        at_most(
            f"{name}: longest step on a worker",
            found["longest"],
            # A step that waited in the worker for a job or for the window would take at least as long as a job.
            ACCOUNT.job_seconds,
            "s",
            f"{found['steps']} steps, {found['busy']:.1f} s of slots in {found['makespan']:.0f} s",
        ),
    ]


# In separate processes -------------------------------------------------------------------------------------


class Workers:
    """Worker slots, and one event loop for the triggers of all tasks, as in one triggerer."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(WORKER_SLOTS)
        self.steps: list[float] = []

    async def run(self, task: Any) -> None:
        """Run a task instance to its end; only its steps use a worker slot."""
        from tests.support.tasks import first_event, rebuild

        task.ti.try_number += 1
        method = "execute"
        arguments: dict[str, Any] = {}
        while True:
            async with self._slots:
                deferral = await asyncio.to_thread(self._step, task, method, arguments)
            if deferral is None:
                return
            event = await first_event(rebuild(deferral.trigger))
            method = deferral.method_name
            arguments = {**(deferral.kwargs or {}), "event": json.loads(json.dumps(event))}

    def _step(self, task: Any, method: str, arguments: dict[str, Any]) -> Any:
        from airflow.providers.common.compat.sdk import TaskDeferred

        started = time.perf_counter()
        try:
            getattr(task.make(), method)(task.context, **arguments)
        except TaskDeferred as deferral:
            return deferral
        finally:
            self.steps.append(time.perf_counter() - started)
        return None


def one_task(base: str, jobs: int) -> dict[str, Any]:
    """Submit all images with one task."""
    project, images = prepare(base, jobs)
    return _swap(project, [images])


def mapped_tasks(base: str, jobs: int) -> dict[str, Any]:
    """Submit each job with its own task."""
    project, images = prepare(base, jobs)
    parts = [images[start : start + IMAGES_PER_JOB] for start in range(0, len(images), IMAGES_PER_JOB)]
    return _swap(project, parts)


def prepare(base: str, jobs: int, token: str = "piktid-emulator") -> tuple[str, list[str]]:
    """Upload ten small images for each job; return the project id and the file ids."""
    from airflow_provider_piktid.client import AsyncPiktidClient
    from airflow_provider_piktid.common.concurrency import run_bounded
    from tests.support.batch import JPEG

    async def upload() -> tuple[str, list[str]]:
        async with AsyncPiktidClient(token, base_url=base) as client:
            project = await client.ensure_project("crowd")

            async def one(number: int) -> str:
                return (await client.upload_image(f"{number}.jpg", JPEG)).file_id

            return project.project_id, await run_bounded(one, range(jobs * IMAGES_PER_JOB), 32)

    return asyncio.run(upload())


def _swap(project: str, batches: list[list[str]]) -> dict[str, Any]:
    from airflow_provider_piktid.operators.model_swap import PiktidModelSwapOperator
    from tests.support.tasks import TaskInstance, TaskRun

    import_module("tests.support.warm")

    def task(number: int, images: list[str]) -> TaskRun:
        def make() -> PiktidModelSwapOperator:
            return PiktidModelSwapOperator(
                task_id="swap",
                identity_code="PiktidSummer",
                project_id=project,
                images=images,
                deferrable=True,
                timeout=120,
            )

        return TaskRun(make, ti=TaskInstance(map_index=number))

    async def all_tasks() -> tuple[int, Workers]:
        workers = Workers()
        runs = [workers.run(task(number, images)) for number, images in enumerate(batches)]
        ends = await asyncio.gather(*runs, return_exceptions=True)
        return sum(isinstance(end, BaseException) for end in ends), workers

    failed, workers = asyncio.run(all_tasks())
    return {
        "failed": failed,
        "tasks": len(batches),
        "steps": len(workers.steps),
        "longest": max(workers.steps),
        "busy": sum(workers.steps),
    }


def with_plain_backoff(base: str, jobs: int) -> dict[str, Any]:
    """Each job holds a worker slot: submit, retry after 1, 2, 4, 8 and 16 s, then wait or fail."""
    import requests

    project, images = prepare(base, jobs)
    headers = {"Authorization": "Bearer piktid-emulator"}

    def one(number: int) -> tuple[bool, float]:
        started = time.perf_counter()
        wanted = images[number * IMAGES_PER_JOB : (number + 1) * IMAGES_PER_JOB]
        body = {"identity_code": "PiktidSummer", "project_id": project, "images": wanted}
        for wait in (1, 2, 4, 8, 16, None):
            answer = requests.post(base + "/model-swap", headers=headers, json=body | {"post_process": False})
            if answer.status_code != 429 or wait is None:
                break
            time.sleep(wait / COMPRESSION * random.uniform(0.8, 1.2))
        if answer.status_code == 429:
            return False, time.perf_counter() - started
        job_id = answer.json()["job_id"]
        while requests.get(f"{base}/jobs/{job_id}/status", headers=headers).json()["status"] != "completed":
            time.sleep(0.5)
        return True, time.perf_counter() - started

    with ThreadPoolExecutor(jobs) as pool:
        ends = list(pool.map(one, range(jobs)))
    return {"failed": sum(not good for good, _ in ends), "busy": sum(seconds for _, seconds in ends)}
