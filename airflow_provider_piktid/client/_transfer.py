# SPDX-License-Identifier: Apache-2.0
"""Transfer bytes to presigned links and from result links, without the token."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol, TypeVar
from urllib.parse import quote, urljoin, urlsplit

import httpx

from airflow_provider_piktid.client._checksum import stated_checksum
from airflow_provider_piktid.client._http import HttpSession, log, quiet, read_bounded
from airflow_provider_piktid.client._parse import Answer, link_refusal
from airflow_provider_piktid.exceptions import PiktidConnectionError, PiktidError, PiktidResponseError
from airflow_provider_piktid.models import UploadTicket

T = TypeVar("T")

CHUNK: Final = 256 * 1024
#: Seconds that the official client allows for an upload; here for the answer after its last byte.
UPLOAD_TIMEOUT: Final = 120.0
MAX_REDIRECTS: Final = 5
_LINK_NAME: Final = "<link>"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
#: What HTTP allows in a request target: every visible ASCII character.
_VISIBLE: Final = "".join(map(chr, range(0x21, 0x7F)))


class ByteSource(Protocol):
    """
    Bytes to upload.

    ``size`` is their exact number. Each call of ``chunks`` returns a new iterator: a retry starts over.
    """

    @property
    def size(self) -> int: ...

    def chunks(self) -> AsyncIterator[bytes]: ...


class BytesSource:
    """Bytes in memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, self.size, CHUNK):
            yield self._content[start : start + CHUNK]


class ByteStream:
    """
    A body while it is received.

    ``content_type`` is empty, ``content_length`` and ``checksum`` are None if the server did not say.
    """

    def __init__(self, session: HttpSession, response: httpx.Response) -> None:
        self._session = session
        self._response = response
        self.content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        length = response.headers.get("content-length", "")
        plain = response.headers.get("content-encoding", "identity").lower() == "identity"
        known = plain and length.isascii() and length.isdigit() and len(length) < 19
        self.content_length = int(length) if known else None
        self.checksum = stated_checksum({name.lower(): value for name, value in response.headers.items()})

    async def chunks(self) -> AsyncIterator[bytes]:
        """
        Yield the body in chunks of up to 256 KiB.

        :raises PiktidConnectionError: The connection was lost, or the body is shorter than announced.
        """
        host, got = self._response.request.url.host, 0
        try:
            async for chunk in self._response.aiter_bytes(CHUNK):
                got += len(chunk)
                yield chunk
        except httpx.HTTPError as exc:
            raise self._session.broken(exc, "download", host, self._session.timeouts()) from None
        if self.content_length is not None and got < self.content_length:
            message = f"could not download: {host} sent {got} of {self.content_length} bytes"
            raise PiktidConnectionError(f"{self._session.label}: {message}.")


class _ExactURL(httpx.URL):
    """A URL whose path and query are sent byte for byte; httpx would quote them differently."""

    exact = b"/"

    @property
    def raw_path(self) -> bytes:
        return self.exact


async def put_link(session: HttpSession, ticket: UploadTicket, source: ByteSource | bytes) -> None:
    """Upload the bytes to the ticket's link; retry if the connection breaks."""
    data = BytesSource(source) if isinstance(source, bytes | bytearray | memoryview) else source
    link = upgrade_scheme(check_link(ticket.upload_url, session.label), session.base_url)
    headers = {"Content-Type": ticket.content_type, "Content-Length": str(data.size)}

    async def once() -> None:
        def body() -> AsyncIterator[bytes]:
            return _counted(data, session.label)

        response = await _open(session, "PUT", link, "upload", headers, body)
        try:
            await _check(session, response, "PUT", "upload")
            # A connection is reused only if its answer was read to the end.
            with contextlib.suppress(httpx.HTTPError):
                await read_bounded(response, CHUNK)
        finally:
            await response.aclose()

    await session.repeat(once, repeatable=True)


async def fetch_link(session: HttpSession, link: str, consume: Callable[[ByteStream], Awaitable[T]]) -> T:
    """Pass the body behind a link to ``consume``; start over if the connection breaks."""
    checked = upgrade_scheme(check_link(link, session.label), session.base_url)
    # Decompressed bytes would not match the announced length.
    headers = {"Accept": "*/*", "Accept-Encoding": "identity"}

    async def once() -> T:
        response = await _open(session, "GET", checked, "download", headers, None)
        try:
            await _check(session, response, "GET", "download")
            return await consume(ByteStream(session, response))
        finally:
            await response.aclose()

    return await session.repeat(once, repeatable=True)


async def _open(
    session: HttpSession,
    method: str,
    link: str,
    what: str,
    headers: dict[str, str],
    body: Callable[[], AsyncIterator[bytes]] | None,
) -> httpx.Response:
    """Send one request to a link, following redirects by hand."""
    followed = {307, 308} if method == "PUT" else {301, 302, 303, 307, 308}
    for _ in range(MAX_REDIRECTS + 1):
        response = await _send(session, method, link, what, headers, body() if body else None)
        location = response.headers.get("location")
        if response.status_code not in followed or not location:
            return response
        await response.aclose()
        link = redirect_target(link, location, session.label)
    raise PiktidResponseError(f"{session.label}: could not {what}: too many redirects.")


async def _send(
    session: HttpSession,
    method: str,
    link: str,
    what: str,
    headers: dict[str, str],
    body: AsyncIterator[bytes] | None,
) -> httpx.Response:
    timeout = session.timeouts(read_at_least=UPLOAD_TIMEOUT if method == "PUT" else 0.0)
    started = time.monotonic()
    host = "the storage host"
    try:
        url = _ExactURL(link)
        host = url.host
        url.exact = raw_target(link)
        request = session.links.build_request(method, url, headers=headers, content=body, timeout=timeout)
        request.url = url
        with quiet():
            response = await session.links.send(request, stream=True)
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        # Without a cause: the text of httpx may contain the presigned link.
        raise session.broken(exc, what, host, timeout) from None
    session.reached.add(host)
    log.debug(
        "%s %s at %s %d in %.3f s",
        method,
        _LINK_NAME,
        host,
        response.status_code,
        time.monotonic() - started,
    )
    return response


async def _check(session: HttpSession, response: httpx.Response, method: str, what: str) -> None:
    """Raise the error for a refusal by a storage host."""
    if response.is_success:
        return
    try:
        content = await read_bounded(response, CHUNK)
    except httpx.HTTPError:
        content = b""
    raise link_refusal(
        Answer(
            label=session.label,
            what=what,
            method=method,
            path=_LINK_NAME,
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            content=content or b"",
        )
    )


async def _counted(source: ByteSource, label: str) -> AsyncIterator[bytes]:
    """Yield the source's bytes and check that they match the size, which was announced already."""
    sent = 0
    async for chunk in source.chunks():
        sent += len(chunk)
        if sent > source.size:
            break
        # The time-out is that of one piece: large ones would make it depend on the speed of the line.
        for start in range(0, len(chunk), CHUNK):
            yield chunk[start : start + CHUNK]
    if sent != source.size:
        found = "more" if sent > source.size else str(sent)
        raise PiktidError(
            f"{label}: could not upload: the file changed while it was read, {source.size} bytes "
            f"were announced and {found} read."
        )


def check_link(link: str, label: str) -> str:
    """
    Return a server's link if it is an absolute http(s) address.

    :raises PiktidResponseError: It is not. The message does not show it.
    """
    try:
        parts = urlsplit(link)
        valid = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid or _CONTROL.search(link):
        raise PiktidResponseError(f"{label}: PiktID returned a link that is not an http(s) address.")
    return link


def upgrade_scheme(link: str, base_url: str) -> str:
    """Make an http link https if the API itself is reached by https."""
    if base_url.lower().startswith("https://") and link.lower().startswith("http://"):
        return "https://" + link[len("http://") :]
    return link


def redirect_target(link: str, location: str, label: str) -> str:
    """
    Resolve a redirect of a link.

    :raises PiktidResponseError: The target is not http(s), or is http while the link is https.
    """
    try:
        target = check_link(urljoin(link, location), label)
    except ValueError:
        raise PiktidResponseError(f"{label}: a link redirects to an invalid address.") from None
    if link.lower().startswith("https:") and not target.lower().startswith("https:"):
        raise PiktidResponseError(f"{label}: a link redirects from https to an unencrypted address.")
    return target


def raw_target(link: str) -> bytes:
    """Return path and query of a link unchanged; only what HTTP cannot carry is quoted."""
    rest = link.split("://", 1)[1].split("#", 1)[0]
    starts = [at for at in (rest.find("/"), rest.find("?")) if at >= 0]
    target = rest[min(starts) :] if starts else "/"
    if target.startswith("?"):
        target = "/" + target
    return quote(target, safe=_VISIBLE).encode("ascii")
