# SPDX-License-Identifier: Apache-2.0
"""What is logged, and what never is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from airflow_provider_piktid.client import AsyncPiktidClient, RetrySettings
from airflow_provider_piktid.models import UploadTicket
from tests.client.conftest import TOKEN

pytestmark = pytest.mark.anyio

Make = Callable[..., Any]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
MOVED = b"HTTP/1.1 307 Moved\r\nLocation: /moved?sig=5ecre7\r\nContent-Length: 0\r\n\r\n"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"


async def test_debug_log_holds_no_link_no_token_and_no_query(
    raw_server: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """At level DEBUG no log of this package or the HTTP libraries contains a secret."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "airflow_provider_piktid"):
        caplog.set_level(logging.DEBUG, logger=name)

    async def consume(stream: Any) -> bytes:
        return b"".join([chunk async for chunk in stream.chunks()])

    async with (
        raw_server(MOVED, BUSY, OK, OK, OK, BUSY, OK) as server,
        AsyncPiktidClient(TOKEN, base_url=server.url, retry=RetrySettings(base=0)) as client,
    ):
        link = f"{server.url}/k?X-Amz-Signature=5ecre7"
        await client.put_upload(UploadTicket(upload_url=link, file_id="f", content_type="image/png"), b"x")
        await client.fetch(link, consume)
        await client.delete_notification(1)
        await client.get_credits_used("2026-01-01")
    text = "\n".join(f"{record.name} {record.getMessage()} {record.args}" for record in caplog.records)
    for secret in ("5ecre7", "X-Amz", TOKEN, "start_date", "Bearer"):
        assert secret not in text
    assert "DELETE /notifications/1 200" in text
    assert "PUT <link>" in text


async def test_other_users_of_httpx_keep_their_log(script: Make, caplog: pytest.LogCaptureFixture) -> None:
    """The log filter drops only the records of this package's requests."""
    caplog.set_level(logging.INFO, logger="httpx")
    service = script(httpx.Response(200, json={"status": "pending"}))
    async with service.client() as client, httpx.AsyncClient(transport=client._http._transport) as other:
        await client.get_job("job-1")
        await other.get("https://elsewhere.example/x")
    lines = [record.getMessage() for record in caplog.records if record.name == "httpx"]
    assert len(lines) == 1
    assert "elsewhere" in lines[0]


async def test_filter_is_installed_once(script: Make) -> None:
    """Several clients install the log filter once."""
    for _ in range(3):
        script(httpx.Response(200)).client()
    kinds = [type(item).__name__ for item in logging.getLogger("httpx").filters]
    assert kinds.count("_DropOurs") == 1
