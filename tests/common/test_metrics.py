# SPDX-License-Identifier: Apache-2.0
"""Metrics of paid work reach a statsd server, and never harm the work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_piktid.common import metrics
from airflow_provider_piktid.emulator import EmulatorServer
from tests.dags.test_examples import run_example
from tests.support.batch import swap_run
from tests.support.fixtures import Start, server, start
from tests.support.service import picture, pictures
from tests.support.statsd import Statsd
from tests.support.tasks import TaskRun

__all__ = ["server", "start"]

pytest.importorskip("statsd")


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Statsd]:
    """A statsd server that Airflow in this process sends its metrics to."""
    with Statsd() as receiver:
        with monkeypatch.context() as patch:
            for name, value in receiver.settings.items():
                patch.setenv(name, value)
            _choose_backend()
            yield receiver
        _choose_backend()


def _choose_backend() -> None:
    """Let Airflow read again where metrics go."""
    metrics._stats.cache_clear()
    stats: Any = metrics._stats()
    kind: Any = type(stats)
    if "factory" in vars(kind) and not hasattr(kind, "initialize"):
        # Before 3.2, chosen when the module was imported.
        del kind.factory
        stats.instance = None
        kind.__init__(stats)


def test_dag_reports_jobs_images_and_credits(
    server: EmulatorServer, statsd: Statsd, airflow_db: object, tmp_path: Path
) -> None:
    """A DAG run sends what it submitted, how it ended and what it cost."""
    source = pictures(tmp_path / "in" / "look", "a.jpg", "b.jpg")
    run_example("example_model_swap", images=str(source), output_path=str(tmp_path / "out"))
    statsd.read()
    assert statsd.counters == {
        "jobs.submitted": 1,
        "images.submitted": 2,
        "jobs.ended.completed": 1,
        "outputs.successful": 2,
        "credits.used": 2,
    }


def test_retry_reports_that_it_attaches(server: EmulatorServer, statsd: Statsd) -> None:
    """A task that finds what it paid for before counts it as attached, not as submitted."""
    task = swap_run(server, 1)
    task.run()
    task.run()
    statsd.read()
    assert (statsd.counters["jobs.submitted"], statsd.counters["attached"]) == (1, 1)


def test_resubmission_is_reported_as_bought_again(server: EmulatorServer, statsd: Statsd) -> None:
    """A request that is sent again because the DAG says so can be told apart."""
    server.state.faults.add("model_swap", "drop_before")
    swap_run(server, 1, on_lost_reply="resubmit", lost_reply_grace=0.0).run()
    statsd.read()
    assert (statsd.counters["bought_again"], statsd.counters["jobs.submitted"]) == (1, 1)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"error": "Too many requests"}, "refused.rate"),
        ({"error": "Too many active jobs"}, "refused.active_jobs"),
    ],
)
def test_refusal_and_the_wait_for_room_are_reported(
    server: EmulatorServer, statsd: Statsd, body: dict[str, str], name: str
) -> None:
    """A 429 is counted by its reason, and the wait in the trigger is timed."""
    server.state.faults.add("model_swap", "status", code=429, body=body, headers={"Retry-After": "1"})
    swap_run(server, 1, deferrable=True).run()
    statsd.read()
    assert statsd.counters[name] == 1
    (waited,) = statsd.timers["room.wait"]
    assert waited > 500


def test_generations_are_reported(start: Start, statsd: Statsd, tmp_path: Path) -> None:
    """Persons count as well, by request and result."""
    from airflow_provider_piktid.operators.generate_person import PiktidGeneratePersonOperator

    start(generate_seconds=0.1, mask_seconds=0.1, extra={"v1_poll_interval": 0.2})
    image = picture(tmp_path / "group.jpg")
    arguments: dict[str, Any] = {"task_id": "person", "image": str(image), "keywords": ["Oceania", "Africa"]}
    TaskRun(
        lambda: PiktidGeneratePersonOperator(**arguments, output_path=str(tmp_path / "out"), stagger=0.1)
    ).run()
    statsd.read()
    assert (statsd.counters["generations.submitted"], statsd.counters["generations.done"]) == (2, 2)


def test_trigger_process_reports(start: Start, repository: Path) -> None:
    """A process in which nothing else has initialized the metrics, such as a triggerer's, sends them as well."""
    url = start().url
    code = (
        "import asyncio, time; from airflow_provider_piktid.triggers.job import PiktidSlotTrigger;"
        "trigger = PiktidSlotTrigger([], not_before=time.time() + 0.2);"
        "print(asyncio.run(anext(trigger.run())).payload['status'])"
    )
    with Statsd() as receiver:
        environment = (
            os.environ | receiver.settings | {"PYTHONPATH": str(repository), "PYTHONWARNINGS": "ignore"}
        )
        result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert result.stdout.splitlines()[-1:] == ["slot"], (url, result.stderr)
        receiver.wait_for("room.wait")


class Broken:
    """A backend that raises whatever is called."""

    def incr(self, *_: object, **__: object) -> None:
        raise RuntimeError("the backend is broken")

    timing = incr


def test_broken_backend_does_not_fail_the_task(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paid work goes on whatever the metrics do."""
    monkeypatch.setattr(metrics, "_stats", Broken)
    assert len(swap_run(server, 1).run()) == 1


def test_every_name_is_documented(repository: Path) -> None:
    """The page of metrics has a row for each name, with its name in Prometheus."""
    page = (repository / "docs" / "metrics.md").read_text()
    for metric in metrics.METRICS:
        prometheus = f"airflow_piktid_{metric.name.replace('.', '_')}"
        assert f"| `airflow.piktid.{metric.name}` | `{prometheus}` | {metric.kind} | {metric.unit} |" in page


def test_unknown_name_is_a_mistake_of_the_caller() -> None:
    """A name that is not in the list would not be documented."""
    with pytest.raises(AssertionError):
        metrics.count("jobs.sold")
