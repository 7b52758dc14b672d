# SPDX-License-Identifier: Apache-2.0
"""A scripted service for the client: in memory, or on a socket that keeps every byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from airflow_provider_piktid.client import AsyncPiktidClient

TOKEN = "tok-0123456789-secret"

Reply = httpx.Response | Exception


class Script:
    """Returns the given responses in order and records the requests; the last response is repeated."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.requests: list[httpx.Request] = []
        self.bodies: list[bytes] = []
        self.slept: list[float] = []

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.bodies.append(await request.aread())
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return httpx.Response(reply.status_code, headers=reply.headers, content=reply.content)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def client(self, **options: Any) -> AsyncPiktidClient:
        settings: dict[str, Any] = {
            "label": "piktid_test",
            "transport": httpx.MockTransport(self.handle),
            "sleep": self.sleep,
        }
        return AsyncPiktidClient(TOKEN, **(settings | options))

    @property
    def lines(self) -> list[str]:
        """Method and path with query of each request."""
        return [f"{sent.method} {sent.url.raw_path.decode()}" for sent in self.requests]


class RawServer:
    """A local server that records each request byte for byte and sends scripted bytes."""

    def __init__(self) -> None:
        self.replies: list[bytes] = []
        self.received: list[bytes] = []
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        self.received.append(head + await reader.readexactly(length))
        writer.write(self.replies.pop(0) if len(self.replies) > 1 else self.replies[0])
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def script() -> Callable[..., Script]:
    """Make a scripted service."""
    return Script


@pytest.fixture
def raw_server() -> Callable[..., Any]:
    """Run a raw server inside `async with`."""

    @asynccontextmanager
    async def run(*replies: bytes) -> AsyncIterator[RawServer]:
        raw = RawServer()
        raw.replies = list(replies)
        server = await asyncio.start_server(raw.answer, "127.0.0.1", 0)
        raw.port = server.sockets[0].getsockname()[1]
        async with server:
            yield raw

    return run
