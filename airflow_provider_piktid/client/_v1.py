# SPDX-License-Identifier: Apache-2.0
"""The client of the v1 API: person generation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import anyio
import httpx

from airflow_provider_piktid.client import _v1_build as build
from airflow_provider_piktid.client._build import Request
from airflow_provider_piktid.client._http import AsyncClient, HttpSession, Sleep, bearer
from airflow_provider_piktid.client._login import TOKENS, Account, TokenCache
from airflow_provider_piktid.client._parse import Answer, as_model, decode, error_body
from airflow_provider_piktid.client._retry import RetrySettings
from airflow_provider_piktid.client._transfer import ByteStream, fetch_link
from airflow_provider_piktid.exceptions import (
    PiktidAuthError,
    PiktidConfigError,
    PiktidNotFoundError,
    PiktidResponseError,
)
from airflow_provider_piktid.get_provider_info import DEFAULT_TIMEOUT, DEFAULT_V1_URL
from airflow_provider_piktid.models.v1 import (
    FAILED,
    GENERATED,
    AccessToken,
    GenerationAccepted,
    PersonNotification,
    Target,
)

T = TypeVar("T")


class AsyncPiktidV1Client(AsyncClient):
    """
    A client of PiktID v1. Use it with ``async with``, or call :meth:`aclose`.

    Pass ``login`` and ``password``, or an access ``token``. With a login the first call logs in; the access token
    is shared by all clients of this process, and when the server refuses it, the client logs in again, once.

    :param token: Access token. It cannot be renewed: if it is refused, calls fail.
    :param login: E-mail of the account.
    :param password: Password of the account.
    :param base_url: Root of the API. Default: the public service.
    :param timeout: Seconds until one read or write of a request times out. Default: 60.
    :param retry: When requests are retried. Default: ``RetrySettings()``.
    :param label: Name of the connection, for messages. Default: ``PiktID``.
    :param transport: Replaces the network, for tests.
    :param sleep: Replaces waiting, for tests.
    :param tokens: Cache of access tokens. Default: one cache for the whole process.
    :raises PiktidConfigError: Neither token nor login and password, or an invalid base URL.
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
    ) -> None:
        if not token and not (login and password):
            raise PiktidConfigError(f"{label}: v1 needs e-mail and password, or an access token.")
        self._token = None if login else token
        self._login = (login or "", password or "")
        self._tokens = tokens
        if self._token:
            bearer(self._token, label)
        self._http = HttpSession(
            base_url=base_url,
            authorization=None,
            secret=(password if login else token) or "",
            timeout=timeout,
            retry=retry or RetrySettings(),
            label=label,
            transport=transport,
            sleep=sleep,
        )
        self._account = Account.of(self._http.base_url, *self._login)

    async def access_token(self) -> str:
        """Return the current access token, after a login if there is none. Do not log it."""
        return self._token or await self._tokens.get(self._account, self._log_in)

    async def upload_target(
        self,
        image: bytes | None = None,
        *,
        filename: str = "image.jpg",
        url: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Target:
        """
        Upload a picture and find the persons in it. Free of charge; kept for 24 hours.

        :param image: Encoded WEBP, JPEG or PNG.
        :param filename: Its name; decides the content type. Default: ``image.jpg``.
        :param url: Address from which PiktID downloads the picture, instead of ``image``.
        :param options: Sent as JSON. Default: none.
        :raises ValueError: Both or neither of ``image`` and ``url``.
        """
        if (image is None) == (url is None):
            raise ValueError("pass either image or url")
        request = (
            build.upload_file(filename, image, options)
            if image is not None
            else build.upload_url(url or "", options)
        )
        return await self._call(request, lambda answer: as_model(answer, Target))

    async def get_image(self, id_image: str) -> Target:
        """
        Get a picture that was uploaded before. Documented in the v1 reference, not in the person guide.

        :raises PiktidNotFoundError: The picture does not exist, or is older than 24 hours.
        """
        request = build.get_image(id_image)
        return await self._call(request, lambda answer: as_model(answer, Target, id_image=id_image))

    async def generate(
        self,
        id_image: str,
        id_person: int,
        keyword: Mapping[str, str],
        *,
        options: Mapping[str, Any] | None = None,
        wait: bool = True,
    ) -> GenerationAccepted:
        """
        Replace one person by one keyword. This costs credits, and is not retried if it may have arrived.

        :param keyword: One group and one value, such as ``{"Location": "Oceania"}``.
        :param options: Sent as JSON: ``seed`` and others. Default: none.
        :param wait: False raises a 429 at once instead of waiting it out. Default: True.
        :return: The fields of the undocumented answer; the result comes as a notification.
        :raises PiktidSubmissionError: The request may have arrived; look at the notifications first.
        """
        request = build.generate(id_image, id_person, keyword, options)
        return await self._call(request, _accepted, wait=wait)

    async def list_notifications(
        self,
        names: Sequence[str] = (GENERATED, FAILED),
        *,
        id_image: str | None = None,
        id_task: str | None = None,
    ) -> list[PersonNotification]:
        """
        List the account's notifications of the last 600 seconds, of all users.

        PiktID documents a limit of one request every 3 seconds.
        """
        request = build.list_notifications(names, id_image, id_task)
        return await self._call(request, _notifications)

    async def delete_notification(self, notification_id: int) -> None:
        """Delete one notification. It may be deleted already."""
        try:
            await self._call(build.delete_notification(notification_id), lambda answer: None)
        except PiktidNotFoundError:
            return

    async def fetch(self, url: str, consume: Callable[[ByteStream], Awaitable[T]]) -> T:
        """
        Download from a result link, without sending the token.

        :param consume: Reads the stream; called again, with a new stream, if the connection breaks.
        :return: What ``consume`` returned.
        :raises PiktidLinkError: The link was refused or has expired.
        """
        return await fetch_link(self._http, url, consume)

    async def _log_in(self) -> str:
        def parse(answer: Answer) -> str:
            return as_model(answer, AccessToken).access_token

        try:
            token = await self._http.call(build.login(*self._login), parse)
        except PiktidAuthError as error:
            raise PiktidAuthError(
                f"{self.label}: PiktID refused the e-mail or the password of the v1 account ({error.status}). "
                "Correct login and password of the connection.",
                status=error.status,
                method=error.method,
                path=error.path,
            ) from None
        bearer(token, self.label)
        return token

    async def _call(self, request: Request, parse: Callable[[Answer], T], *, wait: bool = True) -> T:
        token = await self.access_token()
        try:
            return await self._send(token, request, parse, wait)
        except PiktidAuthError as error:
            if error.status != 401:
                raise
            if self._token:
                raise self._refused(error) from None
        # The server refused the request without processing it, so repeating it cannot pay twice.
        token = await self._tokens.get(self._account, self._log_in, refused=token)
        return await self._send(token, request, parse, wait)

    async def _send(self, token: str, request: Request, parse: Callable[[Answer], T], wait: bool) -> T:
        headers = {**request.headers, "Authorization": bearer(token, self.label)}
        return await self._http.call(replace(request, headers=headers, secret=token), parse, wait=wait)

    def _refused(self, error: PiktidAuthError) -> PiktidAuthError:
        return PiktidAuthError(
            f"{self.label}: PiktID refused the access token (401). Tokens are valid for 30 days. Put a new one in the "
            "connection's password, or, better, the account's e-mail and password in login and password.",
            status=error.status,
            method=error.method,
            path=error.path,
        )


def _accepted(answer: Answer) -> GenerationAccepted:
    """Accept any success except a web page, which is not PiktID's."""
    if answer.content.lstrip()[:1] == b"<":
        raise PiktidResponseError(f"{answer.where} answered with an HTML page.", status=answer.status)
    return GenerationAccepted.model_validate(error_body(answer) or {})


def _notifications(answer: Answer) -> list[PersonNotification]:
    """Return the readable entries: an invalid one, perhaps of another user, must not hide the others."""
    value = decode(answer)
    if isinstance(value, dict):
        value = value.get("notifications_list", value.get("notifications"))
    if not isinstance(value, list):
        raise PiktidResponseError(
            f"{answer.where} has no list 'notifications_list' ({answer.status}).", status=answer.status
        )
    return [PersonNotification.model_validate(item) for item in value if isinstance(item, dict)]
