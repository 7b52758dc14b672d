# SPDX-License-Identifier: Apache-2.0
"""Under a whole Airflow, a job that a plain script starts leads to a run that downloads its results."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.deliveries import body, signed
from tests.support.job_events import TOKEN, EventStack, deliver, deliver_until_taken, request
from tests.support.stack import AirflowStack, emulator_process

pytestmark = [pytest.mark.slow, pytest.mark.stack]

DAGS = Path(__file__).parent / "event_dags"
OPTIONS = ("--fast-images", "--job-seconds", "1", "--jobs-per-minute", "0", "--token", TOKEN)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventStack]:
    """Airflow with the webhook switched on; the watcher starts before its connection is there."""
    folder = tmp_path_factory.mktemp("events")
    environment = {"EVENTS_FOLDER": str(folder), "AIRFLOW__PIKTID__WEBHOOK_CONN_ID": "piktid_default"}
    with (
        emulator_process(*OPTIONS) as url,
        AirflowStack(folder / "airflow", [DAGS / "job_events.py"], environment=environment) as airflow,
    ):
        airflow.wait(lambda: len(airflow.get("dags")["dags"]) == 3, "the DAGs")
        yield EventStack(airflow, url, folder)


@pytest.fixture
def airflow(stack: EventStack) -> AirflowStack:
    """The running Airflow; a triggerer that an earlier test killed is started again."""
    if "triggerer" not in stack.airflow.processes:
        stack.airflow.start("triggerer")
    return stack.airflow


def test_connection_that_is_mended_is_used_without_a_restart(
    stack: EventStack, airflow: AirflowStack
) -> None:
    """The watcher says once that it cannot start, waits, and goes on when the connection is there."""

    def told() -> int:
        return sum(text.count("streamed: jobs cannot be watched") for text in airflow.all_logs().values())

    airflow.wait(lambda: told() >= 1, "the watcher to tell what is missing", seconds=90)
    stack.connect()
    stack.wait_for_watcher()
    assert told() == 1


def test_stream_starts_a_run_for_each_end(stack: EventStack, airflow: AirflowStack) -> None:
    """Also for what ended while the triggerer was killed; nothing is lost, and what was stored not repeated."""
    stack.connect()
    stack.wait_for_watcher()
    first = stack.script("streamed")
    stack.wait_for_downloads("streamed", first)
    airflow.wait(lambda: stack.remembers("streamed", *first), "the memory", tolerant=True)

    airflow.kill("triggerer")
    during = stack.script("streamed", 3)
    airflow.wait(lambda: stack.has_ended(*during), "the ends of the jobs")
    airflow.start("triggerer")

    stack.wait_for_downloads("streamed", first + during)
    assert stack.reported("streamed") == dict.fromkeys(first + during, 1)
    assert stack.reported("hooked") == {}


def test_webhook_starts_a_run(stack: EventStack, airflow: AirflowStack) -> None:
    """A delivery of the account's webhook starts the run, while no triggerer runs at all."""
    stack.connect(webhook_secret=stack.set_webhook())
    airflow.kill("triggerer")

    jobs = stack.script("hooked")

    stack.wait_for_downloads("hooked", jobs)
    assert stack.reported("hooked") == dict.fromkeys(jobs, 1)
    assert {event["extra"]["from_webhook"] for event in stack.events("hooked")} == {True}


def test_watcher_leaves_out_what_the_webhook_has_reported(stack: EventStack, airflow: AirflowStack) -> None:
    """Of an asset that both report to, the watcher reports only what the webhook does not, and loses nothing."""
    stack.connect(webhook_secret=stack.set_webhook())
    stack.wait_for_watcher()
    with airflow.held("triggerer"):
        first = stack.script("both", 4)
        airflow.wait(lambda: set(first) <= set(stack.reported("both")), "the webhook")
    stack.remove_webhook()
    last = stack.script("both")
    stack.wait_for_downloads("both", first + last)

    # The watcher has looked at the earlier ends no later than at the last one.
    assert stack.reported("both") == dict.fromkeys(first + last, 1)
    webhook = {event["extra"].get("from_webhook", False) for event in stack.events("both")}
    assert webhook == {True, False}


def test_deliveries_over_two_api_servers_are_one_event(stack: EventStack, airflow: AirflowStack) -> None:
    """Sixteen equal deliveries at once make one event, which either API server knows later."""
    secret = stack.set_webhook()
    stack.connect(webhook_secret=secret)
    stack.remove_webhook()
    urls = [airflow.url, stack.second_api_server()]
    ping = body(None, name="ping")
    # An API server uses a replaced secret some seconds later.
    airflow.wait(lambda: deliver(airflow.url, ping, signed(ping, secret))[0] == 200, "the new secret")
    (job_id,) = stack.script("hooked")
    airflow.wait(lambda: stack.has_ended(job_id), "the end of the job")
    content = body(job_id, id=10**6, timestamp=time.time())

    def send(number: int) -> int:
        return deliver_until_taken(urls[number % 2], content, signed(content, secret))

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(send, range(16)))
    answers += [send(0), send(1)]
    airflow.kill("api-server-2")

    assert answers == [200] * 18
    assert stack.reported("hooked")[job_id] == 1
    stack.wait_for_downloads("hooked", [job_id])


@pytest.mark.parametrize("path", ["/", "/webhook/", "/webhook/x", "/docs", "/openapi.json", "/redoc"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_else_is_served_without_authentication(stack: EventStack, method: str, path: str) -> None:
    """Below the prefix there is only the webhook."""
    assert request(f"{stack.airflow.url}/piktid{path}", method)[0] in (404, 405)


@pytest.mark.parametrize("headers", [{}, {"X-Webhook-Signature": "sha256=00"}], ids=["none", "wrong"])
def test_unsigned_delivery_is_refused(stack: EventStack, headers: dict[str, str]) -> None:
    """Without a signature of the account the answer is 401."""
    stack.connect(webhook_secret="whsec-any")
    stack.airflow.wait(lambda: deliver(stack.airflow.url, b"{}", headers)[0] == 401, "the new secret")
