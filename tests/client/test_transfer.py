# SPDX-License-Identifier: Apache-2.0
"""Presigned uploads and downloads, over a real socket where bytes matter."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from airflow_provider_piktid import exceptions as errors
from airflow_provider_piktid.client import NO_RETRY, AsyncPiktidClient, ByteStream, RetrySettings
from airflow_provider_piktid.models import UploadTicket
from tests.client.conftest import TOKEN

pytestmark = pytest.mark.anyio

Make = Callable[..., Any]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
SIGNATURE = "X-Amz-Signature=5ecre7"


def ticket(url: str, content_type: str = "image/jpeg") -> UploadTicket:
    return UploadTicket(upload_url=url, file_id="f-1", content_type=content_type)


def body(content: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(content) if length is None else length}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


async def read_all(stream: ByteStream) -> bytes:
    return b"".join([chunk async for chunk in stream.chunks()])


class Source:
    """A source that announces one size and yields other bytes, and counts its starts."""

    def __init__(self, size: int, *chunks: bytes) -> None:
        self.size, self.parts, self.starts = size, chunks, 0

    async def chunks(self) -> AsyncIterator[bytes]:
        self.starts += 1
        for part in self.parts:
            yield part


@pytest.mark.parametrize(
    "target",
    [
        "/bucket/key.jpg?X-Amz-Credential=A%2FB%2fc&X-Amz-Signature=a+b~c'(d)*e!f%20g==",
        "/a%2Fb//c/./d?x=%7E%41&empty=&&y",
        '/k?q=a:b@c/d?e,f;g$h|i"j<k>l^m`n{o}[p]\\q',
        "/",
        "/%E2%82%AC?%e2%82%ac",
    ],
    ids=["signature", "dots and slashes", "odd characters", "root", "quoted unicode"],
)
async def test_put_upload_sends_the_link_byte_for_byte(raw_server: Make, target: str) -> None:
    """Path and query of the link are sent byte for byte."""
    async with raw_server(OK) as server, AsyncPiktidClient(TOKEN, base_url=server.url) as client:
        await client.put_upload(ticket(server.url + target), b"jpeg")
    assert server.received[0].split(b"\r\n")[0] == f"PUT {target} HTTP/1.1".encode()


async def test_put_upload_sends_what_a_presigned_request_may_have_and_no_more(raw_server: Make) -> None:
    """Content type, length and bytes are sent; token and cookies are not."""
    async with raw_server(OK) as server, AsyncPiktidClient(TOKEN, base_url=server.url) as client:
        await client.put_upload(ticket(server.url + "/k", "image/x-odd; q=1"), Source(6, b"abc", b"def"))
    head, sent = server.received[0].lower().split(b"\r\n\r\n")
    assert sent == b"abcdef"
    assert b"\r\ncontent-type: image/x-odd; q=1\r\n" in head + b"\r\n"
    assert b"\r\ncontent-length: 6" in head
    for absent in (b"authorization", b"transfer-encoding", b"bearer", TOKEN.encode(), b"cookie"):
        assert absent not in head


async def test_put_upload_starts_the_source_over_at_a_retry(raw_server: Make) -> None:
    """A retry sends the source from its beginning."""
    source = Source(3, b"abc")
    busy = b"HTTP/1.1 503 Slow Down\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
    async with raw_server(busy, OK) as server, AsyncPiktidClient(TOKEN, base_url=server.url) as client:
        await client.put_upload(ticket(server.url + "/k"), source)
    assert [sent[-3:] for sent in server.received] == [b"abc", b"abc"]
    assert source.starts == 2


async def test_put_upload_connections_carry_one_upload_after_the_other() -> None:
    """Consecutive uploads reuse one connection."""
    connections = 0

    async def keep_alive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(4)
                writer.write(OK)
        writer.close()

    async with await asyncio.start_server(keep_alive, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with AsyncPiktidClient(TOKEN, base_url=url) as client:
            for number in range(5):
                await client.put_upload(ticket(f"{url}/{number}"), b"jpeg")
    assert connections == 1


@pytest.mark.parametrize(
    "source", [Source(6, b"abc"), Source(2, b"abc"), Source(0, b"x")], ids=["shorter", "longer", "grown"]
)
async def test_put_upload_source_that_changed_is_an_error(script: Make, source: Source) -> None:
    """A source whose size differs from the announced one raises."""
    async with script(httpx.Response(200)).client() as client:
        with pytest.raises(errors.PiktidError, match="changed while it was read"):
            await client.put_upload(ticket("https://s3/k"), source)


async def test_put_upload_http_link_of_an_https_api_goes_out_encrypted(script: Make) -> None:
    """An http link of an https API is changed to https."""
    service = script(httpx.Response(200))
    async with service.client() as client:
        await client.put_upload(ticket("http://s3.example/k?s=1"), b"x")
    assert str(service.requests[0].url) == "https://s3.example/k?s=1"


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        pytest.param(403, b"<Error>denied</Error>", errors.PiktidLinkError, id="403"),
        pytest.param(400, b"<Code>ExpiredToken</Code>", errors.PiktidLinkError, id="400, expired"),
        pytest.param(400, b"<Code>BadDigest</Code>", errors.PiktidInvalidRequestError, id="400, other"),
        pytest.param(400, b"<Code>RequestTimeout</Code>", errors.PiktidServerError, id="400, time-out"),
        pytest.param(404, b"", errors.PiktidLinkError, id="404"),
        pytest.param(413, b"", errors.PiktidInvalidRequestError, id="too large"),
        pytest.param(503, b"", errors.PiktidServerError, id="503"),
    ],
)
async def test_put_upload_refusal_of_the_storage_is_never_the_tokens_fault(
    script: Make, status: int, content: bytes, kind: type[Exception]
) -> None:
    """Each refusal of the storage raises its error, which does not contain the link."""
    async with script(httpx.Response(status, content=content)).client(retry=NO_RETRY) as client:
        with pytest.raises(errors.PiktidAPIError) as caught:
            await client.put_upload(ticket(f"https://s3/k?{SIGNATURE}"), b"x")
    assert type(caught.value) is kind
    assert SIGNATURE not in f"{caught.value}{caught.value.path}{caught.value.body}"


async def test_fetch_gives_type_length_and_bytes_without_the_token(raw_server: Make) -> None:
    """The consumer gets type, length and bytes; the token is not sent."""
    seen: list[Any] = []

    async def consume(stream: ByteStream) -> bytes:
        seen.extend([stream.content_type, stream.content_length])
        return await read_all(stream)

    answer = body(b"picture", "Content-Type: Image/PNG; x=1")
    async with raw_server(answer) as server, AsyncPiktidClient(TOKEN, base_url=server.url) as client:
        assert await client.fetch(server.url + "/x?s=%2f", consume) == b"picture"
    assert seen == ["image/png", 7]
    assert server.received[0].startswith(b"GET /x?s=%2f HTTP/1.1")
    assert TOKEN.encode() not in server.received[0]


async def test_fetch_truncated_body_calls_the_consumer_again(raw_server: Make) -> None:
    """A body that breaks off is fetched again from its start."""
    starts = 0

    async def consume(stream: ByteStream) -> bytes:
        nonlocal starts
        starts += 1
        return await read_all(stream)

    settings = RetrySettings(base=0)
    async with (
        raw_server(body(b"pic", length=7), body(b"picture")) as server,
        AsyncPiktidClient(TOKEN, base_url=server.url, retry=settings) as client,
    ):
        assert await client.fetch(server.url + "/x", consume) == b"picture"
    assert starts == 2


async def test_fetch_short_body_is_an_error(script: Make) -> None:
    """Fewer bytes than announced are an error, even if the transport accepts them."""
    short = httpx.Response(200, headers={"Content-Length": "9"}, content=b"abc")
    async with script(short).client(retry=NO_RETRY) as client:
        with pytest.raises(errors.PiktidConnectionError, match="3 of 9 bytes"):
            await client.fetch("https://cdn/x", read_all)


async def test_fetch_error_of_the_consumer_is_its_own(script: Make) -> None:
    """An error of the consumer is raised unchanged and not retried."""

    async def consume(stream: ByteStream) -> None:
        raise OSError("disk full")

    service = script(httpx.Response(200, content=b"x"))
    async with service.client() as client:
        with pytest.raises(OSError, match="disk full"):
            await client.fetch("https://cdn/x", consume)
    assert len(service.requests) == 1


async def test_fetch_follows_redirects_without_the_token(script: Make) -> None:
    """Relative and absolute redirects are followed without the token."""
    service = script(
        httpx.Response(302, headers={"Location": "/y?s=%2f"}),
        httpx.Response(307, headers={"Location": "https://other.example/z"}),
        httpx.Response(200, content=b"x"),
    )
    async with service.client() as client:
        assert await client.fetch("https://cdn.example/x", read_all) == b"x"
    assert [str(sent.url) for sent in service.requests][1:] == [
        "https://cdn.example/y?s=%2f",
        "https://other.example/z",
    ]
    assert all("authorization" not in sent.headers for sent in service.requests)


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://h/x",
        "http://cdn.example/x",
        "gopher://h",
        "data:text/plain,x",
    ],
)
async def test_fetch_redirect_to_another_scheme_is_refused(script: Make, location: str) -> None:
    """A redirect to another scheme, or from https to http, raises."""
    service = script(httpx.Response(302, headers={"Location": location}))
    async with service.client() as client:
        with pytest.raises(errors.PiktidResponseError):
            await client.fetch("https://cdn.example/x", read_all)
    assert len(service.requests) == 1


async def test_fetch_stops_after_too_many_redirects(script: Make) -> None:
    """Five redirects are followed."""
    service = script(httpx.Response(302, headers={"Location": "https://cdn.example/x"}))
    async with service.client() as client:
        with pytest.raises(errors.PiktidResponseError, match="too many redirects"):
            await client.fetch("https://cdn.example/x", read_all)
    assert len(service.requests) == 6


@pytest.mark.parametrize("link", ["file:///etc/passwd", "/relative", "ftp://h/x", "https://h/\x00", ""])
async def test_fetch_link_of_another_scheme_is_refused(script: Make, link: str) -> None:
    """A link whose scheme is not http or https raises before any request."""
    service = script(httpx.Response(200))
    async with service.client() as client:
        with pytest.raises(errors.PiktidResponseError):
            await client.fetch(link, read_all)
    assert service.requests == []


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError(f"at https://cdn/x?{SIGNATURE}"),
        httpx.ReadError(SIGNATURE),
        httpx.InvalidURL(SIGNATURE),
    ],
    ids=lambda failure: type(failure).__name__,
)
async def test_printed_error_of_a_link_holds_no_signature(script: Make, failure: Exception) -> None:
    """The traceback with all causes does not contain the signature."""
    async with script(failure).client(retry=NO_RETRY) as client:
        with pytest.raises(errors.PiktidError) as caught:
            await client.fetch(f"https://cdn/x?{SIGNATURE}", read_all)
    # The source line of this test is part of a traceback; the values are what matters.
    assert "5ecre7" not in "".join(traceback.format_exception(caught.value))


async def test_answer_of_the_storage_may_come_before_the_body_was_read(raw_server: Make) -> None:
    """A refusal that arrives during a large upload raises ``PiktidLinkError``."""
    refused = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with raw_server(refused) as server, AsyncPiktidClient(TOKEN, base_url=server.url) as client:
        with pytest.raises(errors.PiktidLinkError):
            await client.put_upload(ticket(server.url + "/k"), b"x" * 1_000_000)


async def test_put_upload_through_a_proxy_keeps_the_link_too(
    raw_server: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a proxy the link is sent byte for byte."""
    async with raw_server(OK) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        async with AsyncPiktidClient(TOKEN, base_url="http://api.invalid") as client:
            await client.put_upload(ticket("http://s3.invalid/a%2Fb?x=%2f+~'"), b"jpeg")
    assert proxy.received[0].split(b"\r\n")[0] == b"PUT http://s3.invalid/a%2Fb?x=%2f+~' HTTP/1.1"
