# SPDX-License-Identifier: Apache-2.0
"""
The HTTP session: connection pools, TLS context, retry loop and log filter.

httpx logs the URL of every request at INFO, and httpcore logs headers at DEBUG, both into task logs. A filter
drops these records for our requests only; the session logs a line of its own without secrets.
"""

from __future__ import annotations

import functools
import logging
import random
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Final, Self, TypeVar
from urllib.parse import urlsplit

import anyio
import httpx

from airflow_provider_piktid import __version__
from airflow_provider_piktid.client._build import Request
from airflow_provider_piktid.client._parse import Answer, refusal
from airflow_provider_piktid.client._retry import Retries, RetrySettings, is_outage
from airflow_provider_piktid.exceptions import (
    PiktidConfigError,
    PiktidConnectionError,
    PiktidError,
    PiktidRateLimitError,
    PiktidResponseError,
    PiktidServerError,
    PiktidSubmissionError,
)

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]

log = logging.getLogger("airflow_provider_piktid.client")

#: Largest API answer in bytes; images and archives are streamed by the transfer module.
MAX_ANSWER: Final = 64 * 1024 * 1024
CONNECT_TIMEOUT: Final = 15.0

#: Failure, whether the request may have been sent, message. The first matching row counts.
_FAILURES: Final[tuple[tuple[type[Exception], bool, str], ...]] = (
    (httpx.ConnectTimeout, False, "no connection to {host} within {connect:g} s"),
    (httpx.ConnectError, False, "{host} cannot be reached{detail}"),
    (httpx.PoolTimeout, False, "no free connection to {host}"),
    (httpx.UnsupportedProtocol, False, "{host} is not an http(s) address"),
    (httpx.ProxyError, False, "the proxy refused to connect to {host}"),
    (httpx.ReadTimeout, True, "no answer from {host} within {read:g} s"),
    (httpx.WriteTimeout, True, "{host} accepted no data for {write:g} s"),
    (httpx.TransportError, True, "the connection to {host} was lost"),
)

#: Signs of a failure of TLS in an error, and what it means.
_TLS_FAILURES: Final = {
    "CERTIFICATE_VERIFY_FAILED": ": its TLS certificate is not trusted",
    "WRONG_VERSION_NUMBER": ": it does not answer with TLS; if that is right, write http:// before the host",
}


class HttpSession:
    """
    Connection pools for the API and, without the token, for links; and the retry loop.

    :param authorization: Value of the Authorization header; None if each request brings its own.
    :param secret: Removed from the server's words in messages.
    :param sleep: Waits between attempts; replaced in tests.
    """

    def __init__(
        self,
        *,
        base_url: str,
        authorization: str | None,
        secret: str,
        timeout: float,
        retry: RetrySettings,
        label: str,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = anyio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if timeout <= 0:
            raise PiktidConfigError(f"{label}: timeout must be above 0 seconds, not {timeout:g}.")
        self.base_url = check_base_url(base_url, f"{label}: base_url")
        self.authorization = authorization
        self.label = label
        self.retry = retry
        self.timeout = timeout
        self._secret = secret
        self._sleep = sleep
        self._chance = chance
        self._transport = transport
        self._api = self._pool()
        self._links: httpx.AsyncClient | None = None
        #: Hosts that have answered.
        self.reached: set[str] = set()
        install_filter()

    @property
    def links(self) -> httpx.AsyncClient:
        """The pool for presigned and result hosts, without a token."""
        if self._links is None:
            self._links = self._pool()
        return self._links

    async def aclose(self) -> None:
        await self._api.aclose()
        if self._links is not None:
            await self._links.aclose()

    async def call(self, request: Request, parse: Callable[[Answer], T], *, wait: bool = True) -> T:
        """
        Send a request, retry it where that is safe, and parse the answer.

        :param wait: False raises a 429 at once. Default: True.
        :raises PiktidSubmissionError: A paid request may have arrived.
        """

        async def once() -> T:
            return parse(await self._once(request))

        try:
            return await self.repeat(once, repeatable=request.repeatable, wait=wait)
        except (PiktidConnectionError, PiktidServerError, PiktidResponseError) as exc:
            if not request.paid or (isinstance(exc, PiktidConnectionError) and not exc.sent):
                raise
            message = f"{self.label}: the request to {request.what} may have arrived at PiktID"
            raise PiktidSubmissionError(
                f"{message}. Look for the job before sending it again. Cause: {exc}"
            ) from exc

    async def repeat(self, once: Callable[[], Awaitable[T]], *, repeatable: bool, wait: bool = True) -> T:
        """Call a function until it succeeds or the retry settings give up."""
        retries: Retries | None = None
        while True:
            try:
                return await once()
            except PiktidError as exc:
                if not wait and isinstance(exc, PiktidRateLimitError):
                    raise
                retries = retries or Retries(self.retry, repeatable=repeatable)
                pause = retries.pause_after(exc, self._chance())
                if pause is None:
                    if is_outage(exc):
                        # Requests that follow do not wait as long again.
                        self.reached.clear()
                    raise
                text = str(exc).rstrip(".")
                log.info("%s. Retrying in %.1f s (attempt %d).", text, pause, retries.attempts + 1)
            await self._sleep(pause)

    @asynccontextmanager
    async def stream(self, request: Request, silence: float) -> AsyncIterator[httpx.Response]:
        """Open a streamed answer, without retries; ``silence`` seconds without a byte count as broken."""
        timeout = httpx.Timeout(self.timeout, connect=self._connect_timeout, read=silence)
        http = self._api_request(request, timeout)
        response = await self._send(self._api, http, request, timeout)
        try:
            if not response.is_success:
                raise refusal(await self._read(response, request, timeout))
            yield response
        except httpx.HTTPError as exc:
            raise self.broken(exc, request.what, http.url.host, timeout) from exc
        finally:
            await response.aclose()

    def timeouts(self, *, read_at_least: float = 0.0) -> httpx.Timeout:
        """Return the timeouts of one request."""
        read = max(self.timeout, read_at_least)
        return httpx.Timeout(self.timeout, connect=self._connect_timeout, read=read)

    def broken(self, exc: Exception, what: str, host: str, timeout: httpx.Timeout) -> PiktidError:
        """Return our error for one of httpx, without its text: that may contain a presigned address."""
        if isinstance(exc, httpx.DecodingError):
            return PiktidResponseError(f"{self.label}: could not {what}: the answer cannot be decompressed.")
        detail = next((text for sign, text in _TLS_FAILURES.items() if sign in str(exc)), "")
        for kind, sent, text in _FAILURES:
            if isinstance(exc, kind):
                said = text.format(
                    host=host, detail=detail, connect=timeout.connect, read=timeout.read, write=timeout.write
                )
                remedy = "Check the network." if sent else "Check the connection's host and the network."
                message = f"{self.label}: could not {what}: {said}. {remedy}"
                interrupted = not sent and host in self.reached
                return PiktidConnectionError(message, sent=sent, is_outage=interrupted)
        return PiktidResponseError(f"{self.label}: could not {what}: {host} is not a valid address.")

    @property
    def _connect_timeout(self) -> float:
        return min(self.timeout, CONNECT_TIMEOUT)

    def _pool(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=shared_context(),
            transport=self._transport,
            timeout=self.timeouts(),
            # Callers limit their concurrency; open streams must not block other requests.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
            headers={"User-Agent": f"airflow-provider-piktid/{__version__}"},
            follow_redirects=False,
        )

    def _api_request(self, request: Request, timeout: httpx.Timeout) -> httpx.Request:
        headers = dict(request.headers)
        if self.authorization is not None:
            headers.setdefault("Authorization", self.authorization)
        return self._api.build_request(
            request.method,
            self.base_url + request.path,
            params={name: value for name, value in request.params.items() if value is not None} or None,
            json=request.json,
            data=dict(request.form) if request.form else None,
            files=request.files,
            headers=headers,
            timeout=timeout,
        )

    async def _once(self, request: Request) -> Answer:
        timeout = self.timeouts()
        started = time.monotonic()
        response = await self._send(self._api, self._api_request(request, timeout), request, timeout)
        try:
            answer = await self._read(response, request, timeout)
        finally:
            await response.aclose()
        log.debug(
            "%s %s %d in %.3f s", request.method, request.path, answer.status, time.monotonic() - started
        )
        if not answer.ok:
            raise refusal(answer)
        return answer

    async def _send(
        self, pool: httpx.AsyncClient, http: httpx.Request, request: Request, timeout: httpx.Timeout
    ) -> httpx.Response:
        try:
            with quiet():
                response = await pool.send(http, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise self.broken(exc, request.what, http.url.host, timeout) from exc
        self.reached.add(http.url.host)
        return response

    async def _read(self, response: httpx.Response, request: Request, timeout: httpx.Timeout) -> Answer:
        try:
            content = await read_bounded(response, MAX_ANSWER)
        except httpx.HTTPError as exc:
            raise self.broken(exc, request.what, response.request.url.host, timeout) from exc
        if content is None:
            where = f"{self.label}: {request.method} {request.path}"
            raise PiktidResponseError(f"{where} answered with too much data.", status=response.status_code)
        return Answer(
            label=self.label,
            what=request.what,
            method=request.method,
            path=request.path,
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            content=content,
            secrets=(self._secret, request.secret),
        )


class AsyncClient:
    """A client of one API over one :class:`HttpSession`."""

    _http: HttpSession

    def __repr__(self) -> str:
        return f"{type(self).__name__}(label={self.label!r}, base_url={self.base_url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    @property
    def label(self) -> str:
        return self._http.label

    @property
    def base_url(self) -> str:
        return self._http.base_url


async def read_bounded(response: httpx.Response, limit: int) -> bytes | None:
    """Read a body; None if it is longer than ``limit`` bytes."""
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > limit:
            return None
    return bytes(content)


def bearer(token: object, label: str) -> str:
    """
    Return the Authorization header for a token.

    :raises PiktidConfigError: The token is empty or contains invalid characters. It is not shown.
    """
    text = token.strip() if isinstance(token, str) else ""
    if not text:
        raise PiktidConfigError(f"{label}: no token. Put an API token in the connection's password.")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise PiktidConfigError(f"{label}: the token contains blanks or special characters. Copy it again.")
    return f"Bearer {text}"


def check_base_url(url: str, name: str = "base_url") -> str:
    """
    Return a base URL without trailing slash.

    :param name: Names the address in the message, which does not show it: it may hold a secret.
    :raises PiktidConfigError: Not an http(s) address, or one with login, query or fragment.
    """
    try:
        parts = urlsplit(url.strip())
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid:
        raise PiktidConfigError(
            f"{name} is not an http(s) address. Write it as https://name or https://name:port."
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise PiktidConfigError(
            f"{name} must not contain a login, query or fragment. Put the token in the connection's password."
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


_context_lock = threading.Lock()


@functools.cache
def _context() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def shared_context() -> ssl.SSLContext:
    """
    Return the TLS context of all clients of this process: each costs about 22 ms and 0.85 MB to build.

    It is built at first use as httpx would (``SSL_CERT_FILE``, ``SSL_CERT_DIR``, certifi).
    """
    # The cache alone lets two threads build one each.
    with _context_lock:
        return _context()


_sending: ContextVar[bool] = ContextVar("piktid_sending", default=False)
_LOGGERS: Final = (
    "httpx",
    *(f"httpcore.{name}" for name in ("connection", "http11", "http2", "proxy", "socks")),
)


class _DropOurs(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not _sending.get()


_filter = _DropOurs()


def install_filter() -> None:
    """Add the log filter; doing it again changes nothing."""
    for name in _LOGGERS:
        # addFilter itself leaves out what is there already.
        logging.getLogger(name).addFilter(_filter)


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what the HTTP libraries log while a request of ours is sent in this task."""
    token = _sending.set(True)
    try:
        yield
    finally:
        _sending.reset(token)
