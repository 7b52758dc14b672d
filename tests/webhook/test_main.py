# SPDX-License-Identifier: Apache-2.0
"""The receiver as a process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from airflow_provider_piktid.webhook.__main__ import parser
from tests.support.deliveries import SECRET, body, signed
from tests.support.service import connection_json


@pytest.mark.parametrize("text", ["-1", "6", "nan", "soon"])
def test_gather_is_bounded(text: str) -> None:
    """Answers wait so long, and PiktID must not give up before."""
    with pytest.raises(SystemExit):
        parser().parse_args(["--gather", text])


@pytest.fixture
def receiver() -> Iterator[httpx.Client]:
    """A running receiver without an Airflow."""
    environment = os.environ | {
        "AIRFLOW_CONN_PIKTID_DEFAULT": connection_json("http://127.0.0.1:1", webhook_secret=SECRET),
    }
    command = [sys.executable, "-W", "ignore", "-m", "airflow_provider_piktid.webhook", "--port", "0"]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        found = (re.match(r"(http://127\.0\.0\.1:\d+)/piktid/webhook$", line) for line in process.stdout)
        address = next(filter(None, found), None)
        assert address is not None, "the receiver ended"
        with httpx.Client(base_url=address[1], trust_env=False, timeout=30) as client:
            yield client
    finally:
        process.terminate()
        process.communicate(timeout=60)


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
