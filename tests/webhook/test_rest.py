# SPDX-License-Identifier: Apache-2.0
"""Events that are registered by the REST API of a real API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.webhook.airflow_api import AirflowApi
from airflow_provider_piktid.webhook.app import webhook_app
from airflow_provider_piktid.webhook.receiver import WebhookReceiver
from airflow_provider_piktid.webhook.rest import RestSink
from tests.support.api_server import api_application
from tests.support.batch import buy
from tests.support.deliveries import SECRET, asset_events, body, signed, store_asset
from tests.support.service import connection_json
from tests.support.watching import until

pytest.importorskip("airflow.api_fastapi.app", reason="Airflow 3")

pytestmark = pytest.mark.anyio

AIRFLOW = "AIRFLOW_CONN_AIRFLOW_API"


@pytest.fixture(scope="module")
def api_server(airflow_db: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The application of the API server, with one user and a password."""
    with api_application(tmp_path_factory.mktemp("users"), "piktid", "op", "secret-word") as application:
        yield application


def airflow_connection(password: str = "secret-word", **fields: Any) -> str:
    return json.dumps(
        {"conn_type": "http", "host": "http://airflow", "login": "piktid", "password": password} | fields
    )


class Network(httpx.ASGITransport):
    """
    The way to the API server, which can be cut, or refuse the token some times.

    With ``looks`` a new event is held until the events were listed so often.
    """

    cut = False
    refusals = 0
    looks = 0

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self.looked = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.cut:
            raise httpx.ConnectError("cut")
        if self.refusals:
            self.refusals -= 1
            return httpx.Response(401, json={"detail": "Token Expired"})
        if self.looks and request.method == "POST" and request.url.path.endswith("/events"):
            await self.looked.wait()
        answer = await super().handle_async_request(request)
        if self.looks and request.method == "GET" and request.url.path.endswith("/events"):
            self.looks -= 1
            if not self.looks:
                self.looked.set()
        return answer


@pytest.fixture
def network(api_server: Any) -> Network:
    return Network(api_server)


@pytest.fixture
def conn_id(server: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """Connections of this test: to PiktID, and to Airflow."""
    name = f"piktid_{uuid4().hex[:8]}"
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", connection_json(server.url, webhook_secret=SECRET))
    monkeypatch.setenv(AIRFLOW, airflow_connection())
    return name


@pytest.fixture
async def http(conn_id: str, network: Network) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a receiver that gathers for half a second."""
    api = AirflowApi("airflow_api", network)
    app = webhook_app(WebhookReceiver(conn_id, RestSink(api, 0.5)), "/piktid/webhook")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://receiver") as client:
        yield client
    await api.aclose()


async def deliver(http: httpx.AsyncClient, content: bytes) -> tuple[int, Any]:
    answer = await http.post("/piktid/webhook", content=content, headers=signed(content))
    return answer.status_code, answer.json().get("result")


def ended(server: EmulatorServer) -> str:
    job_id = buy(server)
    server.state.complete_job(job_id)
    return job_id


async def test_delivery_becomes_an_event(
    http: httpx.AsyncClient, conn_id: str, server: EmulatorServer
) -> None:
    """The event has the same payload as the others; a second delivery is known."""
    asset, job_id = store_asset(f"asset-{uuid4().hex}", conn_id=conn_id), ended(server)
    content = body(job_id, id=7)

    assert [await deliver(http, content) for _ in range(2)] == [(200, "accepted"), (200, "known")]
    (extra,) = asset_events(asset)
    assert extra["payload"]["jobs"] == [
        {
            "job_id": job_id,
            "status": "completed",
            "job_type": "model_swap",
            "project": "shoot",
            "notification_id": 7,
        }
    ]


async def test_ends_of_a_moment_are_registered_together(
    http: httpx.AsyncClient, conn_id: str, server: EmulatorServer, network: Network
) -> None:
    """The first end is an event at once, the following ones are one event; equal deliveries count once."""
    asset = store_asset(f"asset-{uuid4().hex}", conn_id=conn_id)
    jobs = [ended(server) for _ in range(4)]
    contents = [body(job_id) for job_id in jobs[1:]] * 2
    # Each delivery lists the events, and the first one again: its event is made when all others have arrived.
    network.looks = len(contents) + 2
    first = asyncio.create_task(deliver(http, body(jobs[0])))
    await until(lambda: network.looks == len(contents))

    answers = await asyncio.gather(*(deliver(http, content) for content in contents))

    assert await first == (200, "accepted")
    assert sorted(answers) == [(200, "accepted")] * 3 + [(200, "known")] * 3
    reported = [[job["job_id"] for job in extra["payload"]["jobs"]] for extra in asset_events(asset)]
    assert reported[0] == [jobs[0]]
    assert sorted(reported[1]) == sorted(jobs[1:])
    assert len(reported) == 2


async def test_known_is_what_airflow_has(
    http: httpx.AsyncClient, conn_id: str, server: EmulatorServer, network: Network
) -> None:
    """A receiver that was started again knows what the one before has registered."""
    asset, job_id = store_asset(f"asset-{uuid4().hex}", conn_id=conn_id), ended(server)
    content = body(job_id)
    await deliver(http, content)

    api = AirflowApi("airflow_api", network)
    again = webhook_app(WebhookReceiver(conn_id, RestSink(api, 0)), "/piktid/webhook")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(again), base_url="http://receiver") as client:
        assert await deliver(client, content) == (200, "known")
    await api.aclose()
    assert len(asset_events(asset)) == 1


async def test_airflow_that_is_down_asks_for_another_delivery(
    http: httpx.AsyncClient, conn_id: str, server: EmulatorServer, network: Network
) -> None:
    """While Airflow does not answer the answer is 503, and a later delivery makes the event."""
    asset, job_id = store_asset(f"asset-{uuid4().hex}", conn_id=conn_id), ended(server)
    content = body(job_id)
    network.cut = True
    assert (await deliver(http, content))[0] == 503
    network.cut = False
    assert await deliver(http, content) == (200, "accepted")
    assert len(asset_events(asset)) == 1


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"password": "wrong"}, id="wrong password"),
        pytest.param({"host": ""}, id="no host"),
        pytest.param({"login": "", "password": "not-a-token"}, id="wrong token"),
        pytest.param({"login": "", "password": ""}, id="no login"),
    ],
)
async def test_refused_login_asks_for_another_delivery(
    http: httpx.AsyncClient,
    conn_id: str,
    server: EmulatorServer,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log says what is wrong without the password, and a mended connection is used."""
    asset, job_id = store_asset(f"asset-{uuid4().hex}", conn_id=conn_id), ended(server)
    monkeypatch.setenv(AIRFLOW, airflow_connection(**fields))
    assert (await deliver(http, body(job_id)))[0] == 503
    (told,) = [r.getMessage() for r in caplog.records if "cannot be served" in r.getMessage()]
    assert "airflow_api" in told
    assert "not-a-token" not in caplog.text
    monkeypatch.setenv(AIRFLOW, airflow_connection())
    assert (await deliver(http, body(job_id)))[0] == 200
    assert len(asset_events(asset)) == 1


async def test_expired_token_is_replaced(
    http: httpx.AsyncClient, conn_id: str, server: EmulatorServer, network: Network
) -> None:
    """A token that Airflow refuses later costs one more login, not a delivery."""
    asset = store_asset(f"asset-{uuid4().hex}", conn_id=conn_id)
    assert (await deliver(http, body(ended(server))))[0] == 200
    network.refusals = 1
    assert (await deliver(http, body(ended(server))))[0] == 200
    assert network.refusals == 0
    assert len(asset_events(asset)) == 2
