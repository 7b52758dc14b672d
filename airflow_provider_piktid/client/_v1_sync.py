# SPDX-License-Identifier: Apache-2.0
"""The v1 client for code that is not async: the async one on an event loop of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from airflow_provider_piktid.client._sync import Facade
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


class PiktidV1Client(Facade[AsyncPiktidV1Client]):
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
        super().__init__(AsyncPiktidV1Client(token, **options))
        self._on_token = on_token
        self._told: str | None = None

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

        result, token = self._call(call)
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
