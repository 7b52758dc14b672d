# SPDX-License-Identifier: Apache-2.0
"""The receiver as a process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

from airflow_provider_piktid.webhook.__main__ import parser
from tests.support.deliveries import SECRET, body, signed
from tests.support.service import connection_json
from tests.support.stack import free_port


@pytest.mark.parametrize("text", ["-1", "6", "nan", "soon"])
def test_gather_is_bounded(text: str) -> None:
    """Answers wait so long, and PiktID must not give up before."""
    with pytest.raises(SystemExit):
        parser().parse_args(["--gather", text])


@pytest.fixture
def receiver() -> Iterator[httpx.Client]:
    """A running receiver without an Airflow."""
    port = free_port()
    environment = os.environ | {
        "AIRFLOW_CONN_PIKTID_DEFAULT": connection_json("http://127.0.0.1:1", webhook_secret=SECRET),
    }
    command = [sys.executable, "-W", "ignore", "-m", "airflow_provider_piktid.webhook", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
            deadline = time.monotonic() + 60
            while True:
                try:
                    client.get("/")
                    break
                except httpx.ConnectError:
                    assert process.poll() is None, "the receiver ended"
                    assert time.monotonic() < deadline, "the receiver did not start"
                    time.sleep(0.1)
            yield client
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.slow
def test_process_serves_the_webhook_and_nothing_else(receiver: httpx.Client) -> None:
    """It checks signatures, answers 503 without PiktID or Airflow, and has no other address."""
    ping, end = body(None, name="ping"), body("job-1")

    def post(content: bytes, headers: dict[str, str]) -> int:
        return receiver.post("/piktid/webhook", content=content, headers=headers).status_code

    assert post(ping, signed(ping)) == 200
    assert post(ping, signed(ping, "forged")) == 401
    assert post(end, signed(end)) == 503
    assert [receiver.get(path).status_code for path in ("/", "/docs", "/webhook", "/piktid")] == [404] * 4
