# SPDX-License-Identifier: Apache-2.0
"""What the clients of v1 and v2 have in common: opening, closing, and the way to code that is not async."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Generic, Self, TypeVar

import anyio.from_thread

from airflow_provider_piktid.client._http import HttpSession

T = TypeVar("T")


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


C = TypeVar("C", bound=AsyncClient)


class Facade(Generic[C]):
    """
    An async client on an event loop of its own, for code that is not async.

    The loop runs in a daemon thread from the first call on.
    """

    def __init__(self, client: C) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._portal: anyio.from_thread.BlockingPortal | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}(label={self.label!r}, base_url={self.base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def label(self) -> str:
        return self._client.label

    @property
    def base_url(self) -> str:
        return self._client.base_url

    def close(self) -> None:
        """Cancel what still runs, close all connections and end the thread. Doing it again is fine."""
        with self._lock:
            self._closed, portal, self._portal = True, self._portal, None
        if portal is not None:
            with self._stack:
                portal.call(self._client.aclose)
                portal.call(portal.stop, True)

    def _call(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run an async function on the client's event loop and wait for it."""
        with self._lock:
            if self._closed:
                raise RuntimeError(f"{self.label}: the client is closed")
            if self._portal is None:
                self._portal = self._stack.enter_context(anyio.from_thread.start_blocking_portal())
            portal = self._portal
        return portal.call(function)
