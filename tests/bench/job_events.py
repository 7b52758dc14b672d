# SPDX-License-Identifier: Apache-2.0
"""
From the end of a job to an asset event and to the runs that it starts, in a running Airflow.

``--quick`` skips this benchmark.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from airflow_provider_piktid.jobs.end_memory import SAVE_SECONDS
from tests.bench.process import UNLIMITED, emulator
from tests.bench.rows import Row, at_least, at_most, told
from tests.support.deliveries import body, signed
from tests.support.job_events import TOKEN, EventStack, deliver, deliver_until_taken
from tests.support.stack import AirflowStack, emulator_call

DAGS = Path(__file__).parent / "dags" / "job_events_bench.py"
DAG_COUNT = 4
#: Default of ``piktid_jobs_asset``: ends of this time after an event are gathered.
GATHER = 5.0
SINGLE = 15
BURSTS, EACH = 5, 8
OUTAGE = 10
DELIVERIES = 30
AT_ONCE = 16


def run(*, quick: bool = False) -> list[Row]:
    """Run all parts in one Airflow."""
    if quick:
        return []
    with _stack() as stack:
        stack.wait_for_watcher(seconds=90)
        return [*_latency(stack), *_bursts(stack), *_killed(stack), *_webhook(stack)]


@contextmanager
def _stack() -> Iterator[EventStack]:
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        options = ("--job-seconds", "0.5", "--token", TOKEN, *UNLIMITED)
        url = stack.enter_context(emulator(*options))
        environment = {"EVENTS_FOLDER": str(home), "AIRFLOW__PIKTID__WEBHOOK_CONN_ID": "piktid_default"}
        airflow = stack.enter_context(
            AirflowStack(home / "airflow", [DAGS], parallelism=4, environment=environment)
        )
        airflow.wait(lambda: len(airflow.get("dags")["dags"]) == DAG_COUNT, "the DAGs")
        found = EventStack(airflow, url, home)
        found.connect()
        yield found


def _ends(stack: EventStack) -> dict[str, float]:
    return {job["job_id"]: job["updated_at"] for job in emulator_call(stack.url, "ledger")["jobs"]}


def _seen(stack: EventStack, dag_id: str) -> set[str]:
    """Return the jobs that the runs of a DAG were started for."""
    return {job for path in (stack.folder / dag_id).glob("*.json") for job in json.loads(path.read_text())}


def _latency(stack: EventStack) -> list[Row]:
    """End jobs one by one, further apart than the trigger gathers."""
    for _ in range(SINGLE):
        _wait_for_events(stack, stack.script("streamed"))
        time.sleep(GATHER)
    ends = _ends(stack)
    delays = sorted(
        datetime.fromisoformat(event["timestamp"]).timestamp() - ends[job["job_id"]]
        for event in stack.events("streamed")
        for job in event["extra"]["payload"]["jobs"]
    )
    detail = f"{len(delays)} jobs, one status request of 50 ms included"
    return [
        at_most("stream: job's end to asset event, median", statistics.median(delays), 1.0, "s", detail),
        told("the same, longest", delays[-1], "s"),
    ]


def _wait_for_events(stack: EventStack, jobs: list[str]) -> None:
    wanted = set(jobs)
    stack.airflow.wait(lambda: wanted <= stack.reported("streamed").keys(), f"events of {jobs}", seconds=90)


def _bursts(stack: EventStack) -> list[Row]:
    """End jobs in bursts; each DAG has to see all of them."""
    jobs: list[str] = []
    for _ in range(BURSTS):
        jobs += stack.script("streamed", EACH)
        time.sleep(3)
    wanted = set(jobs)
    rows = []
    for runs in (16, 1):
        dag_id = f"streamed_{runs}"
        _wait_until_seen(stack, dag_id, wanted)
        seen = len(wanted & _seen(stack, dag_id))
        detail = f"in {BURSTS} bursts, max_active_runs={runs}"
        rows.append(
            at_least(f"stream: of {len(jobs)} ends, seen by the DAG", seen, len(jobs), "jobs", detail)
        )
    return rows


def _wait_until_seen(stack: EventStack, dag_id: str, wanted: set[str]) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and not wanted <= _seen(stack, dag_id):
        time.sleep(0.5)


def _killed(stack: EventStack) -> list[Row]:
    """Kill the triggerer right after an event, and again when it has been stored; end jobs meanwhile."""
    rows = []
    for pause, name in ((0.0, "at once"), (SAVE_SECONDS + 3, f"{SAVE_SECONDS + 3:g} s later")):
        before = stack.script("streamed")
        _wait_for_events(stack, before)
        time.sleep(pause)
        stack.airflow.kill("triggerer")
        jobs = before + stack.script("streamed", OUTAGE)
        time.sleep(2)
        stack.airflow.start("triggerer")
        _wait_for_events(stack, jobs)
        time.sleep(3)
        reported = stack.reported("streamed")
        lost = sum(reported[job] == 0 for job in jobs)
        detail = f"triggerer killed {name} after an event, {OUTAGE} ends until it is back"
        rows.append(at_most(f"stream: of {len(jobs)} ends, lost", lost, 0, "jobs", detail))
        rows.append(told("the same, reported twice", sum(reported[job] > 1 for job in jobs), "jobs"))
    return rows


def _webhook(stack: EventStack) -> list[Row]:
    """Deliver new ends one by one; then one end many times at once, to two API servers."""
    secret = stack.set_webhook()
    stack.connect(webhook_secret=secret)
    stack.remove_webhook()
    urls = [stack.airflow.url, stack.second_api_server()]
    jobs = stack.script("hooked", DELIVERIES + 1)
    stack.airflow.wait(lambda: all(map(stack.has_ended, jobs)), "the ends of the jobs")
    last = jobs.pop()

    def known() -> bool:
        return all(_ping(url, secret) == 200 for url in urls)

    stack.airflow.wait(known, "both API servers to know the new secret")
    times = []
    for number, job_id in enumerate(jobs):
        content = body(job_id)
        status, seconds = deliver(urls[number % 2], content, signed(content, secret))
        if status != 200:
            raise RuntimeError(f"delivery {number} was answered with {status}")
        times.append(1000 * seconds)
    _wait_until_seen(stack, "hooked_1", set(jobs))
    seen = len(set(jobs) & _seen(stack, "hooked_1"))
    events = _at_once(stack, urls, last, secret)
    detail = "one by one, status request of 50 ms included"
    return [
        told("webhook: delivery to stored event, median", statistics.median(times), "ms", detail),
        at_least(
            f"webhook: of {len(jobs)} ends, seen by the DAG", seen, len(jobs), "jobs", "max_active_runs=1"
        ),
        at_most(f"webhook: {AT_ONCE} equal deliveries over two API servers, events", events, 1, ""),
    ]


def _ping(url: str, secret: str) -> int:
    content = body(None, name="ping")
    return deliver(url, content, signed(content, secret))[0]


def _at_once(stack: EventStack, urls: list[str], job_id: str, secret: str) -> int:
    content = body(job_id)
    headers = signed(content, secret)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [pool.submit(deliver_until_taken, urls[n % 2], content, headers) for n in range(AT_ONCE)]
        statuses = {future.result() for future in futures}
    if statuses != {200}:
        raise RuntimeError(f"deliveries were answered with {statuses}")
    return stack.reported("hooked")[job_id]
