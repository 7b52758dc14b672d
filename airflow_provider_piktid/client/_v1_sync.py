# SPDX-License-Identifier: Apache-2.0
"""The v1 client for code that is not async: the async one on an event loop of its own."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import anyio
import anyio.from_thread

from airflow_provider_piktid.client._transfer import ByteStream
from airflow_provider_piktid.client._v1 import AsyncPiktidV1Client
from airflow_provider_piktid.models.v1 import (
    FAILED,
    GENERATED,
    GenerationAccepted,
    PersonNotification,
    Target,
)

P = ParamSpec("P")
T = TypeVar("T")


class PiktidV1Client:
    """
    Talk to PiktID v1 from code that is not async.

    The methods are those of :class:`AsyncPiktidV1Client`, which says what they do; so are the arguments. Use it
    with ``with``, or call :meth:`close`.

    :param on_token: Told each access token before the first call that uses it returns, on the calling thread,
        so that it can be masked in logs.
    """

    def __init__(
        self, token: str | None = None, *, on_token: Callable[[str], None] | None = None, **options: Any
    ) -> None:
        self._client = AsyncPiktidV1Client(token, **options)
        self._on_token = on_token
        self._told: str | None = None
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

    def run(
        self,
        function: Callable[Concatenate[AsyncPiktidV1Client, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """
        Run an async function on the client's event loop, for concurrent work.

        :param function: Called with the async client before ``args``.
        """

        async def call() -> tuple[T, str]:
            token = await self._client.access_token()
            return await function(self._client, *args, **kwargs), token

        result, token = self._started().call(call)
        if self._on_token is not None and token != self._told:
            self._told = token
            self._on_token(token)
        return result

    def access_token(self) -> str:
        return self.run(AsyncPiktidV1Client.access_token)

    def upload_target(
        self,
        image: bytes | None = None,
        *,
        filename: str = "image.jpg",
        url: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Target:
        return self.run(AsyncPiktidV1Client.upload_target, image, filename=filename, url=url, options=options)

    def get_image(self, id_image: str) -> Target:
        return self.run(AsyncPiktidV1Client.get_image, id_image)

    def generate(
        self,
        id_image: str,
        id_person: int,
        keyword: Mapping[str, str],
        *,
        options: Mapping[str, Any] | None = None,
        wait: bool = True,
    ) -> GenerationAccepted:
        return self.run(
            AsyncPiktidV1Client.generate, id_image, id_person, keyword, options=options, wait=wait
        )

    def list_notifications(
        self,
        names: Sequence[str] = (GENERATED, FAILED),
        *,
        id_image: str | None = None,
        id_task: str | None = None,
    ) -> list[PersonNotification]:
        return self.run(AsyncPiktidV1Client.list_notifications, names, id_image=id_image, id_task=id_task)

    def delete_notification(self, notification_id: int) -> None:
        self.run(AsyncPiktidV1Client.delete_notification, notification_id)

    def fetch(self, url: str, consume: Callable[[ByteStream], Awaitable[T]]) -> T:
        return self.run(AsyncPiktidV1Client.fetch, url, consume)

    def _started(self) -> anyio.from_thread.BlockingPortal:
        with self._lock:
            if self._closed:
                raise RuntimeError(f"{self.label}: the client is closed")
            if self._portal is None:
                self._portal = self._stack.enter_context(anyio.from_thread.start_blocking_portal())
            return self._portal
