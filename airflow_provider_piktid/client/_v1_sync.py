# SPDX-License-Identifier: Apache-2.0
"""The v1 client for synchronous code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import anyio
import httpx

from airflow_provider_piktid.client._http import Sleep
from airflow_provider_piktid.client._login import TOKENS, TokenCache
from airflow_provider_piktid.client._retry import RetrySettings
from airflow_provider_piktid.client._sync import Facade
from airflow_provider_piktid.client._transfer import ByteStream
from airflow_provider_piktid.client._v1 import AsyncPiktidV1Client
from airflow_provider_piktid.get_provider_info import DEFAULT_TIMEOUT, DEFAULT_V1_URL
from airflow_provider_piktid.models.v1 import (
    FAILED,
    GENERATED,
    GenerationAccepted,
    PersonNotification,
    Target,
)

P = ParamSpec("P")
T = TypeVar("T")


class PiktidV1Client(Facade[AsyncPiktidV1Client]):
    """
    A client of PiktID v1 for synchronous code.

    Methods and arguments are those of :class:`AsyncPiktidV1Client`, which documents them. Use it with ``with``,
    or call :meth:`close`.

    :param on_token: Called with each new access token on the calling thread, before the first call that uses it
        returns, so that it can be masked in logs. Default: none.
    """

    def __init__(
        self,
        token: str | None = None,
        *,
        login: str | None = None,
        password: str | None = None,
        base_url: str = DEFAULT_V1_URL,
        timeout: float = DEFAULT_TIMEOUT,
        retry: RetrySettings | None = None,
        label: str = "PiktID",
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = anyio.sleep,
        tokens: TokenCache = TOKENS,
        on_token: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(
            AsyncPiktidV1Client(
                token,
                login=login,
                password=password,
                base_url=base_url,
                timeout=timeout,
                retry=retry,
                label=label,
                transport=transport,
                sleep=sleep,
                tokens=tokens,
            )
        )
        self._on_token = on_token
        self._last_token: str | None = None

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

        async def with_token(client: AsyncPiktidV1Client) -> tuple[T, str]:
            token = await client.access_token()
            return await function(client, *args, **kwargs), token

        result, token = super().run(with_token)
        if self._on_token is not None and token != self._last_token:
            self._last_token = token
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
