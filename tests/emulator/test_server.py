# SPDX-License-Identifier: Apache-2.0
"""Start, stop, and run in-process."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

from airflow_provider_piktid.emulator import EmulatorServer, Settings, create_app
from airflow_provider_piktid.emulator.__main__ import parser, settings_of

HEADERS = {"Authorization": "Bearer piktid-emulator"}


def test_server_stops_quickly_with_an_open_stream() -> None:
    """An open stream does not keep the server alive: no thread is left when the stop returns."""
    before = set(threading.enumerate())
    with EmulatorServer(Settings(job_seconds=1000)) as server:
        stream = requests.get(server.url + "/notifications/events", headers=HEADERS, stream=True, timeout=5)
        next(stream.iter_lines())
    assert set(threading.enumerate()) <= before
    stream.close()


def test_two_servers_share_nothing(serve: Callable[..., Any]) -> None:
    """Each emulator has its own state."""
    one, other = serve(), serve()
    one.project()
    assert other.get("/project").json()["projects"] == []


def test_latency_is_added_to_each_request_but_not_in_a_row(serve: Callable[..., Any]) -> None:
    """Ten concurrent requests take less than ten times the latency."""
    latency = 0.5
    api = serve(latency=latency)

    async def ask() -> float:
        async with httpx.AsyncClient(headers=HEADERS, trust_env=False) as client:
            start = time.monotonic()
            await asyncio.gather(*(client.get(api.url + "/project") for _ in range(10)))
            return time.monotonic() - start

    assert latency <= asyncio.run(ask()) < 10 * latency
    assert api.server.state.stats()["most_open_requests"] > 1


def test_uploads_are_streamed_to_disk(serve: Callable[..., Any], tmp_path: Path) -> None:
    """Uploads are stored in the data folder, which is kept."""
    api = serve(data_dir=tmp_path)
    api.upload("big.png", b"7" * 3_000_000)
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [3_000_000]


def test_app_works_in_process() -> None:
    """The ASGI application runs jobs without a socket; a cut connection raises an exception."""
    app = create_app(Settings(job_seconds=0.02, transform=False))
    state = app.state.emulator

    async def go() -> None:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://emulator", headers=HEADERS
        ) as client:
            key = (await client.post("/project", json={"project_name": "p"})).json()["project_id"]
            ticket = (await client.post("/upload", json={"filename": "a.jpg"})).json()
            assert ticket["upload_url"].startswith("http://emulator/s3/")
            async with httpx.AsyncClient(transport=transport) as bare:
                sent = await bare.put(
                    ticket["upload_url"], content=b"x", headers={"Content-Type": ticket["content_type"]}
                )
            assert sent.status_code == 200
            body = {"identity_code": "PiktidSummer", "project_id": key, "images": [ticket["file_id"]]}
            job_id = (await client.post("/model-swap", json=body)).json()["job_id"]
            state.complete_job(job_id)
            assert (await client.get(f"/jobs/{job_id}/status")).json()["status"] == "completed"
            state.faults.add("projects", "drop")
            with pytest.raises(ConnectionResetError):
                await client.get("/project")

    try:
        asyncio.run(go())
    finally:
        state.close()


def test_command_prints_its_address_first_and_ends_on_sigterm() -> None:
    """The first line is the base URL; SIGTERM ends the process, even with open streams."""
    command = [sys.executable, "-m", "airflow_provider_piktid.emulator", "--port", "0", "--token", "mine"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        assert requests.get(url + "/project", headers=HEADERS, timeout=20).status_code == 401
        mine = {"Authorization": "Bearer mine"}
        with requests.get(url + "/notifications/events", headers=mine, stream=True, timeout=20) as stream:
            next(stream.iter_lines())
            process.send_signal(signal.SIGTERM)
            # The stream, which a keepalive comes on every 15 s, is open until the process ends.
            assert process.wait(timeout=60) == 0


def test_command_line_sets_everything() -> None:
    """Options set the settings; milliseconds are converted to seconds."""
    line = [
        *("--latency-ms", "50", "--jobs-per-minute", "9", "--rate-window", "2", "--active-jobs", "3"),
        *("--job-seconds", "0.5", "--login", "a@b.c", "--password", "p", "--token", "t", "--fast-images"),
        *("--data-dir", "somewhere", "--variant", "events=docs", "--variant", "fresh_404=3"),
    ]
    assert settings_of(parser().parse_args(line)) == Settings(
        token="t",
        login="a@b.c",
        password="p",
        latency=0.05,
        jobs_per_minute=9,
        rate_window=2.0,
        active_jobs=3,
        job_seconds=0.5,
        transform=False,
        data_dir=Path("somewhere"),
        variants={"events": "docs", "fresh_404": "3"},
    )


def test_command_line_without_options_keeps_the_defaults() -> None:
    """Without options the settings are the defaults."""
    assert settings_of(parser().parse_args([])) == Settings()


@pytest.mark.parametrize("variant", ["nothing=1", "events=loud", "events"], ids=str)
def test_command_line_refuses_unknown_variants(variant: str) -> None:
    """A misspelt variant is an error at startup."""
    with pytest.raises(ValueError, match="variant"):
        settings_of(parser().parse_args(["--variant", variant]))
