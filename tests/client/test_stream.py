# SPDX-License-Identifier: Apache-2.0
"""The notification stream, in all its ugly forms."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from airflow_provider_piktid import exceptions as errors
from airflow_provider_piktid.client import AsyncPiktidClient
from airflow_provider_piktid.client._stream import MAX_FRAME
from tests.client.conftest import TOKEN

pytestmark = pytest.mark.anyio

Make = Callable[..., Any]
SSE = {"Content-Type": "text/event-stream"}


def note(number: int, **data: Any) -> str:
    return json.dumps({"id": number, "name": "batch_edit", "data": data, "timestamp": 1.5})


DOCUMENTED = (
    f"event: backfill\ndata: {note(41)}\n\n"
    "event: backfill_complete\ndata: {}\n\n"
    ":keepalive\n\n"
    f"data: {note(42)}\n\n"
)
EXPECTED = [("backfill", 41), ("backfill_complete", None), ("live", 42)]


async def frames(service: Any, **options: Any) -> list[tuple[str, int | None]]:
    async with service.client() as client:
        return [
            (frame.kind, frame.notification.id if frame.notification else None)
            async for frame in client.stream_notifications(**options)
        ]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(DOCUMENTED, id="as documented"),
        pytest.param(DOCUMENTED.replace("\n", "\r\n"), id="CRLF"),
        pytest.param(DOCUMENTED.replace("\n", "\r"), id="CR"),
        pytest.param(DOCUMENTED.replace("data: ", "data:"), id="no blank after data"),
        pytest.param(DOCUMENTED.replace("event: ", "event:"), id="no blank after event"),
        pytest.param("\ufeff" + DOCUMENTED, id="byte order mark"),
        pytest.param(DOCUMENTED.replace("\n\n", "\n\n\n\n"), id="more blank lines"),
        pytest.param("id: 7\nretry: 100\n\n" + DOCUMENTED, id="id and retry lines"),
        pytest.param(DOCUMENTED.replace('"name"', '\ndata: "name"'), id="data over two lines"),
        pytest.param(DOCUMENTED + f"data: {note(43)}\n", id="half a frame at the end"),
        pytest.param(DOCUMENTED + f"data: {note(43)}"[:30], id="half a line at the end"),
        pytest.param("data: null\n\n" + DOCUMENTED, id="data null"),
        pytest.param("data:\n\ndata\n\n" + DOCUMENTED, id="no data"),
        pytest.param("data: <html>\n\n" + DOCUMENTED, id="no JSON"),
        pytest.param("data: [1]\n\ndata: 5\n\ndata: {}\n\n" + DOCUMENTED, id="JSON of another shape"),
        pytest.param("data: " + "[" * 10**5 + "\n\n" + DOCUMENTED, id="deep JSON"),
        pytest.param("junk\nmore: junk\n\n" + DOCUMENTED, id="unknown fields"),
    ],
)
async def test_stream_gives_the_same_frames_whatever_the_form(script: Make, text: str) -> None:
    """Line ends, blanks and invalid lines do not change the frames; partial frames are dropped."""
    service = script(httpx.Response(200, headers=SSE, content=text.encode()))
    assert await frames(service) == EXPECTED


async def test_stream_unnamed_and_named_live_events_count_alike(script: Make) -> None:
    """Live events are accepted with and without a name."""
    text = f"event: completed\ndata: {note(1, job_id='j')}\n\nevent: message\ndata: {note(2)}\n\n"
    service = script(httpx.Response(200, headers=SSE, content=text.encode()))
    assert await frames(service) == [("live", 1), ("live", 2)]


async def test_stream_is_utf8_whatever_the_header_says(script: Make) -> None:
    """The stream is read as UTF-8 whatever the charset; a frame with invalid bytes is dropped."""
    text = f"data: {note(1)}\n\n".encode() + b'data: {"id": "\xff"\n\n' + f"data: {note(2)}\n\n".encode()
    headers = {"Content-Type": "text/event-stream; charset=utf-16"}
    assert await frames(script(httpx.Response(200, headers=headers, content=text))) == [
        ("live", 1),
        ("live", 2),
    ]


async def test_stream_sends_filters_and_keeps_the_token_out_of_the_url(script: Make) -> None:
    """The filters are sent in the query and the token in the header."""
    service = script(httpx.Response(200, headers=SSE, content=b""))
    assert await frames(service, job_id="job/1", names=["completed", "error"]) == []
    assert service.lines == ["GET /notifications/events?id_task=job%2F1&name_list=completed%2Cerror"]
    assert service.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert service.requests[0].headers["accept"] == "text/event-stream"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param(httpx.Response(401), errors.PiktidAuthError, id="401"),
        pytest.param(httpx.Response(404), errors.PiktidNotFoundError, id="no such endpoint"),
        pytest.param(httpx.Response(503), errors.PiktidServerError, id="503"),
        pytest.param(httpx.Response(200, html="<html>"), errors.PiktidResponseError, id="HTML"),
        pytest.param(httpx.ConnectError("x"), errors.PiktidConnectionError, id="unreachable"),
    ],
)
async def test_stream_that_does_not_begin_is_an_error_at_once(
    script: Make, answer: Any, kind: type[Exception]
) -> None:
    """A stream that cannot be opened raises without a retry."""
    service = script(answer)
    with pytest.raises(kind):
        await frames(service)
    assert (len(service.requests), service.slept) == (1, [])


@pytest.mark.parametrize(
    "content",
    [
        b"data: " + b"x" * MAX_FRAME,
        b"data: x\n" * (MAX_FRAME // 7),
        b"x" * MAX_FRAME + b"x" * 100_000 + b"\n\n",
    ],
    ids=["one line", "many lines", "ended too late"],
)
async def test_stream_frame_without_end_is_refused(content: bytes) -> None:
    """A frame larger than ``MAX_FRAME`` raises ``PiktidResponseError``."""

    async def pieces() -> Any:
        for start in range(0, len(content), 50_000):
            yield content[start : start + 50_000]

    async def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=SSE, content=pieces())

    async with AsyncPiktidClient(TOKEN, transport=httpx.MockTransport(handle)) as client:
        with pytest.raises(errors.PiktidResponseError, match="frame"):
            async for _ in client.stream_notifications():
                pass


async def test_stream_of_many_frames_is_never_too_large() -> None:
    """``MAX_FRAME`` limits each frame and not the stream."""
    filling = ": " + "x" * 100_000
    text = "".join(f"{filling}\r\ndata: {note(n)}\r\n\r\n" for n in range(30))
    assert len(text) > 2 * MAX_FRAME

    async def pieces() -> Any:
        for start in range(0, len(text), 9_973):
            yield text[start : start + 9_973].encode()

    async def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=SSE, content=pieces())

    async with AsyncPiktidClient(TOKEN, transport=httpx.MockTransport(handle)) as client:
        assert len([frame async for frame in client.stream_notifications()]) == 30


async def test_stream_silent_or_cut_is_a_connection_error_after_its_frames() -> None:
    """A silent or broken stream raises after its frames were returned."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = f"data: {note(1)}\n\n".encode()
    silent = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + b"%x\r\n" % len(piece) + piece + b"\r\n")
        await writer.drain()
        await silent.wait()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, AsyncPiktidClient(TOKEN, base_url=url) as client:
        for silence, said in ((0.05, "within 0.05 s"), (30.0, "was lost")):
            stream = client.stream_notifications(silence=silence)
            assert (await anext(stream)).kind == "live"
            if silence > 1:
                silent.set()
            with pytest.raises(errors.PiktidConnectionError, match=said):
                await anext(stream)
