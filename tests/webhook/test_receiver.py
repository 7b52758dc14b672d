# SPDX-License-Identifier: Apache-2.0
"""Deliveries over HTTP become asset events in Airflow's database, each end once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.jobs.end_memory import WEBHOOK_KEY
from airflow_provider_piktid.jobs.ended import JobFilter
from airflow_provider_piktid.webhook.app import webhook_app
from airflow_provider_piktid.webhook.delivery import MAX_BODY
from airflow_provider_piktid.webhook.metadata import MetadataSink
from airflow_provider_piktid.webhook.receiver import WebhookReceiver
from tests.support.batch import buy
from tests.support.deliveries import (
    SECRET,
    asset_events,
    body,
    queued_events,
    schedule_on,
    signed,
    store_asset,
)
from tests.support.service import connection_json

pytest.importorskip("airflow.assets.manager", reason="Airflow 3")

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("airflow_db")]

Store = Callable[..., int]


@pytest.fixture
def conn_id(server: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A connection of this test alone, as the tests of a process share one database."""
    name = f"piktid_{uuid4().hex[:8]}"
    extra = {"webhook_secret": SECRET, "webhook_secret_previous": "old"}
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", connection_json(server.url, **extra))
    return name


@pytest.fixture
def store(conn_id: str) -> Store:
    """Store an asset that reports jobs of the connection; return its id."""

    def add(jobs: JobFilter | None = None) -> int:
        return store_asset(f"asset-{uuid4().hex[:8]}", jobs, conn_id=conn_id)

    return add


@pytest.fixture
async def http(conn_id: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the receiver."""
    app = webhook_app(WebhookReceiver(conn_id, MetadataSink()))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
        yield client


@pytest.fixture
def job_id(server: EmulatorServer) -> str:
    """A job that has completed."""
    job_id = buy(server)
    server.state.complete_job(job_id)
    return job_id


async def deliver(http: httpx.AsyncClient, content: bytes, **headers: str) -> httpx.Response:
    return await http.post("/webhook", content=content, headers=signed(content) | headers)


async def test_delivery_becomes_an_event(http: httpx.AsyncClient, store: Store, job_id: str) -> None:
    """The event has the payload of the watcher: job, status, type, project and notification."""
    asset = store()

    answer = await deliver(http, body(job_id, id=41))

    assert (answer.status_code, answer.json()) == (200, {"result": "accepted"})
    (extra,) = asset_events(asset)
    assert len(extra.pop("ends")) == 1
    assert extra == {
        "from_webhook": True,
        "payload": {
            "jobs": [
                {
                    "job_id": job_id,
                    "status": "completed",
                    "job_type": "model_swap",
                    "project": "shoot",
                    "notification_id": 41,
                }
            ],
            "version": 1,
        },
    }


async def test_replay_is_known(http: httpx.AsyncClient, store: Store, job_id: str) -> None:
    """A delivery that arrives again, or the other notification of the same end, makes no second event."""
    asset = store()
    content = body(job_id)
    answers = [
        await deliver(http, c)
        for c in (content, content, body(job_id, name="completed", timestamp=time.time() + 9))
    ]

    assert [answer.json()["result"] for answer in answers] == ["accepted", "known", "known"]
    assert len(asset_events(asset)) == 1


async def test_equal_deliveries_at_once_are_one_event(conn_id: str, store: Store, job_id: str) -> None:
    """Sixteen equal deliveries to two receivers at the same time make one event."""
    asset = store()
    content = body(job_id)
    apps = [webhook_app(WebhookReceiver(conn_id, MetadataSink())) for _ in range(2)]

    async def send(number: int) -> str:
        transport = httpx.ASGITransport(apps[number % 2])
        async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
            return str((await deliver(client, content)).json()["result"])

    results = await asyncio.gather(*(send(number) for number in range(16)))

    assert sorted(results) == ["accepted", *["known"] * 15]
    assert len(asset_events(asset)) == 1


async def test_watcher_is_told_of_the_end(http: httpx.AsyncClient, store: Store, job_id: str) -> None:
    """On Airflow 3.3 and newer the end is noted where the watcher of the asset looks."""
    state = pytest.importorskip("airflow.state", reason="Airflow 3.3")
    asset = store()

    await deliver(http, body(job_id))

    stored = state.get_state_backend().get(state.AssetScope(asset_id=asset), WEBHOOK_KEY)
    assert len(json.loads(stored)["ends"]) == 1


async def test_event_that_follows_is_seen_by_the_run_that_is_queued(
    http: httpx.AsyncClient, store: Store, job_id: str, server: EmulatorServer
) -> None:
    """Before 3.4 Airflow gives a run the events up to the time in its queue, so each event moves this time on."""
    asset = store()
    schedule_on(asset)
    await deliver(http, body(job_id))
    first = queued_events(asset)
    second = buy(server)
    server.state.complete_job(second)

    await deliver(http, body(second))

    assert (len(first), len(queued_events(asset))) == (1, 2)


async def test_only_matching_assets_get_the_event(http: httpx.AsyncClient, store: Store, job_id: str) -> None:
    """The filters of an asset apply; an asset of another connection gets nothing."""
    swaps, packshots = store(JobFilter(job_types=("model_swap",))), store(JobFilter(job_types=("packshot",)))
    shoot, autumn = store(JobFilter(projects=("shoot",))), store(JobFilter(projects=("autumn",)))
    failed, foreign = (
        store(JobFilter(statuses=("failed",))),
        store_asset(f"asset-{uuid4().hex}", conn_id="other"),
    )

    await deliver(http, body(job_id))

    counts = {asset: len(asset_events(asset)) for asset in (swaps, packshots, shoot, autumn, failed, foreign)}
    assert counts == {swaps: 1, packshots: 0, shoot: 1, autumn: 0, failed: 0, foreign: 0}


@pytest.mark.parametrize(
    "notification",
    [
        pytest.param({"name": "ping"}, id="ping"),
        pytest.param({"status": "processing"}, id="progress"),
        pytest.param({"name": "image_result"}, id="one image"),
        pytest.param({"data": {"status": "completed"}}, id="no job"),
    ],
)
async def test_other_notifications_are_accepted_and_ignored(
    http: httpx.AsyncClient, store: Store, job_id: str, notification: dict[str, Any]
) -> None:
    """What does not report the end of a job is answered with 200, so that it is not delivered again."""
    asset = store()

    assert (await deliver(http, body(job_id, **notification))).status_code == 200
    assert asset_events(asset) == []


async def test_status_decides(http: httpx.AsyncClient, store: Store, server: EmulatorServer) -> None:
    """A job that has not ended makes no event; 503 asks PiktID to deliver again."""
    asset = store()
    server.faults.add("job", "never_end")
    running = buy(server)

    assert (await deliver(http, body(running))).status_code == 503
    assert asset_events(asset) == []
    server.state.complete_job(running)
    assert (await deliver(http, body(running))).status_code == 200
    assert len(asset_events(asset)) == 1


async def test_name_in_the_header_is_ignored(http: httpx.AsyncClient, store: Store, job_id: str) -> None:
    """``X-Webhook-Event`` is not signed: it decides nothing."""
    asset = store()

    await deliver(http, body(job_id), **{"X-Webhook-Event": "ping"})

    assert len(asset_events(asset)) == 1


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        pytest.param(b"x" * (MAX_BODY + 1), {}, 413, id="oversized"),
        pytest.param(b"{}", {"Content-Length": "99999999999"}, 413, id="oversized by its header"),
        pytest.param(b"x" * MAX_BODY, {}, 401, id="largest, not signed"),
        pytest.param(b"{}", {"X-Webhook-Signature": "sha256=\xe9"}, 401, id="signature is not ASCII"),
        pytest.param('{"näme": 1}'.encode(), {}, 401, id="body is not ASCII, not signed"),
        pytest.param(b"{}", {}, 401, id="not signed"),
    ],
)
async def test_bad_request_is_refused(
    http: httpx.AsyncClient, store: Store, content: bytes, headers: dict[str, str], status: int
) -> None:
    """What anybody can send is refused and makes no event."""
    asset = store()
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]

    answer = await http.post("/webhook", content=content, headers=raw)

    assert answer.status_code == status
    assert asset_events(asset) == []


async def test_oversized_stream_without_length_is_refused(http: httpx.AsyncClient) -> None:
    """A chunked body is refused as soon as it is too long; the rest is not read."""
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(80):
            sent += 65_536
            yield b"x" * 65_536

    answer = await http.post("/webhook", content=chunks())

    assert answer.status_code == 413


async def test_signed_delivery_that_is_not_ascii_is_read(
    http: httpx.AsyncClient, store: Store, job_id: str
) -> None:
    """Text outside of ASCII in a signed body is no reason to refuse it."""
    asset = store()
    content = body(job_id, note="Grün, 日本").decode("unicode_escape").encode("utf-8", "surrogatepass")

    assert (await deliver(http, content)).status_code == 200
    assert len(asset_events(asset)) == 1


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/webhook/", "/webhook/other", "/health"])
async def test_nothing_else_is_reachable(http: httpx.AsyncClient, path: str) -> None:
    """Other addresses do not exist."""
    assert (await http.get(path)).status_code == 404
    assert (await http.post(path)).status_code == 404


async def test_other_methods_are_refused(http: httpx.AsyncClient) -> None:
    """The address answers only to POST."""
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        assert (await http.request(method, "/webhook")).status_code == 405


async def test_unreachable_service_asks_for_another_delivery(
    http: httpx.AsyncClient, store: Store, server: EmulatorServer, job_id: str
) -> None:
    """Without the status of the job the answer is 503, and the next delivery makes the event."""
    asset = store()
    server.faults.add("job_status", "status", status=500)

    assert (await deliver(http, body(job_id))).status_code == 503
    assert asset_events(asset) == []
    assert (await deliver(http, body(job_id))).status_code == 200
    assert len(asset_events(asset)) == 1


async def test_unavailable_database_asks_for_another_delivery(
    http: httpx.AsyncClient, store: Store, job_id: str, airflow_db: Path
) -> None:
    """While Airflow cannot take the event the answer is 503."""
    asset = store()
    with _locked(airflow_db):
        assert (await deliver(http, body(job_id))).status_code == 503
    assert (await deliver(http, body(job_id))).status_code == 200
    assert len(asset_events(asset)) == 1


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep the database locked."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@pytest.mark.parametrize(
    "connection",
    [pytest.param(None, id="unknown connection"), pytest.param({}, id="no secret")],
)
async def test_receiver_without_a_secret_serves_nobody(
    monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any] | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a secret the answer is 503; the log says once what to change."""
    name = f"piktid_{uuid4().hex[:8]}"
    if connection is not None:
        monkeypatch.setenv(
            f"AIRFLOW_CONN_{name.upper()}", connection_json("http://127.0.0.1:1", **connection)
        )
    app = webhook_app(WebhookReceiver(name, MetadataSink()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://airflow") as client:
        answers = [await deliver(client, body("job-1")) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [503] * 3
    assert sum(name in record.getMessage() for record in caplog.records if record.levelname == "ERROR") == 1
