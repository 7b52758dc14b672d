# SPDX-License-Identifier: Apache-2.0
"""The v1 client against a scripted service."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from airflow_provider_piktid.client import NO_RETRY, AsyncPiktidV1Client, PiktidV1Client
from airflow_provider_piktid.client._login import TokenCache
from airflow_provider_piktid.exceptions import (
    PiktidAuthError,
    PiktidConfigError,
    PiktidCreditsError,
    PiktidInvalidRequestError,
    PiktidRateLimitError,
    PiktidResponseError,
    PiktidSubmissionError,
)

pytestmark = pytest.mark.anyio

Handler = Callable[[httpx.Request], httpx.Response]


class Service:
    """A v1 service with one answer per path; logins return tok-1, tok-2 and so on."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.requests: list[httpx.Request] = []
        self.logins = 0
        self.good = "tok-1"

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        path = request.url.path.removeprefix("/api/")
        if path == "tokens":
            self.logins += 1
            body = {"access_token": f"tok-{self.logins}", "refresh_token": "refresh-secret"}
            return httpx.Response(200, json=body)
        if request.headers.get("authorization") != f"Bearer {self.good}" and request.url.host == "host":
            return httpx.Response(401)
        answer = self.answers.get(path.replace("/", "_"), {})
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    @property
    def paths(self) -> list[str]:
        return [f"{sent.method} {sent.url.path}" for sent in self.requests]


async def nap(seconds: float) -> None:
    """Return at once."""


def arguments(service: Service, **more: Any) -> dict[str, Any]:
    given = {
        "login": "me@example.com",
        "password": "pass-word",
        "base_url": "https://host/api",
        "label": "conn",
        "transport": httpx.MockTransport(service),
        "sleep": nap,
        "tokens": TokenCache(),
    }
    return given | more


def client(service: Service, **more: Any) -> AsyncPiktidV1Client:
    return AsyncPiktidV1Client(**arguments(service, **more))


async def test_login_happens_once_for_many_calls() -> None:
    """The access token of the first login serves every further call."""
    service = Service(notification_by_name_json={"notifications_list": []})
    async with client(service) as api:
        for _ in range(3):
            await api.list_notifications()
    assert service.paths.count("POST /api/tokens") == 1
    assert service.requests[0].headers["authorization"].startswith("Basic ")


async def test_refused_token_is_answered_by_one_login_and_one_repetition() -> None:
    """An expired token causes one login; the refresh token is not used."""
    service = Service(notification_by_name_json={"notifications_list": []})
    async with client(service) as api:
        await api.list_notifications()
        service.good = "tok-2"
        await api.list_notifications()
    assert service.logins == 2
    assert not [sent for sent in service.requests if b"refresh" in sent.content or sent.method == "PUT"]


async def test_token_that_stays_refused_is_an_error_after_one_more_login() -> None:
    """The client does not log in forever."""
    service = Service()
    service.good = "another"
    async with client(service) as api:
        with pytest.raises(PiktidAuthError):
            await api.list_notifications()
    assert service.logins == 2


async def test_paid_request_refused_with_401_is_sent_again() -> None:
    """A paid request that was refused with HTTP 401 is sent again after the login."""
    service = Service()
    async with client(service) as api:
        await api.access_token()
        service.good = "tok-2"
        await api.generate("img", 0, {"Location": "Oceania"})
    assert service.paths.count("POST /api/edit/generate") == 2


async def test_wrong_password_is_reported_without_it() -> None:
    """The message names the connection and the remedy, and no secret; nothing but the login is sent."""

    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(401, json={"message": "pass-word is wrong"})

    async with client(Service(), transport=httpx.MockTransport(refuse)) as api:
        with pytest.raises(PiktidAuthError, match=r"conn.*login and password") as caught:
            await api.list_notifications()
    assert "pass-word" not in str(caught.value)


async def test_ready_token_cannot_be_renewed() -> None:
    """When a token without login has expired, the message names the remedy, and no login is tried."""
    service = Service()
    async with client(service, login=None, password=None, token="stale") as api:
        with pytest.raises(PiktidAuthError, match="30 days"):
            await api.list_notifications()
    assert service.logins == 0


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"login": "me@example.com"}, id="no password"),
        pytest.param({"token": "a b"}, id="blank in the token"),
    ],
)
async def test_unusable_credentials_are_refused_at_once(given: dict[str, Any]) -> None:
    """Incomplete credentials raise ``PiktidConfigError``."""
    with pytest.raises(PiktidConfigError):
        AsyncPiktidV1Client(**given)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(httpx.ReadTimeout("late"), id="time-out"),
        pytest.param(httpx.RemoteProtocolError("cut"), id="cut"),
        pytest.param(httpx.Response(503), id="503"),
        pytest.param(httpx.Response(200, text="<html>"), id="HTML of a proxy"),
    ],
)
async def test_paid_request_that_may_have_arrived_is_never_repeated(answer: Any) -> None:
    """It is sent once, and the error says that it may have been paid."""
    service = Service(edit_generate=answer)
    async with client(service) as api:
        with pytest.raises(PiktidSubmissionError):
            await api.generate("img", 0, {"Location": "Oceania"})
    assert service.paths.count("POST /api/edit/generate") == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({}, id="empty object"),
        pytest.param(httpx.Response(200, text=""), id="no body"),
        pytest.param(httpx.Response(202, text="ok"), id="text"),
        pytest.param({"status": 1, "id_task": 7}, id="odd types"),
        pytest.param([1], id="list"),
    ],
)
async def test_answer_to_a_paid_request_may_be_anything(answer: Any) -> None:
    """The body is undocumented: none may turn a success into an error."""
    async with client(Service(edit_generate=answer)) as api:
        await api.generate("img", 0, {"Location": "Oceania"})


async def test_refusals_of_a_paid_request_keep_their_kind() -> None:
    """402 and 429 are different errors, and with `wait=False` the 429 is raised at once."""
    empty = Service(edit_generate=httpx.Response(402, json={"code": 402, "message": "Insufficient credits"}))
    async with client(empty) as api:
        with pytest.raises(PiktidCreditsError, match="Insufficient"):
            await api.generate("img", 0, {"Location": "Oceania"})
    full = Service(edit_generate=httpx.Response(429))
    async with client(full) as api:
        with pytest.raises(PiktidRateLimitError):
            await api.generate("img", 0, {"Location": "Oceania"}, wait=False)
    assert full.paths.count("POST /api/edit/generate") == 1


async def test_options_go_as_json_text() -> None:
    """Options are sent as a JSON string."""
    service = Service()
    async with client(service) as api:
        await api.generate("img", 3, {"Location": "Oceania"}, options={"seed": 7, "flag_watermark": 0})
    body = json.loads(service.requests[-1].content)
    assert body["id_person"] == 3
    assert json.loads(body["options"]) == {"seed": 7, "flag_watermark": 0}


async def test_odd_entry_hides_no_other() -> None:
    """Invalid entries of the notification list are skipped."""
    listed = [
        None,
        7,
        {"id": "x", "data": None},
        {"id": 9, "name": "edit_generate", "data": {"address": "i"}},
    ]
    async with client(Service(notification_by_name_json={"notifications_list": listed})) as api:
        found = await api.list_notifications()
    assert [item.id_image for item in found] == [None, "i"]


async def test_list_that_is_none_is_an_error() -> None:
    """A response without a notification list raises ``PiktidResponseError``."""
    async with client(Service(notification_by_name_json={"msg": "?"}), retry=NO_RETRY) as api:
        with pytest.raises(PiktidResponseError):
            await api.list_notifications()


async def test_deletion_carries_its_body_and_forgives_what_is_gone() -> None:
    """DELETE has a JSON body, and a notification that has expired is not an error."""
    service = Service(notification_delete_json=httpx.Response(404))
    async with client(service) as api:
        await api.delete_notification(9)
    sent = service.requests[-1]
    assert (sent.method, json.loads(sent.content)) == ("DELETE", {"id": 9})


async def test_url_goes_as_form_data() -> None:
    """``url`` is sent as form data; without image and URL ``ValueError`` is raised."""
    service = Service(edit_target={"id_image": "i", "num_persons": 0})
    async with client(service) as api:
        await api.upload_target(url="https://pictures/x.jpg")
    assert service.requests[-1].content == b"url=https%3A%2F%2Fpictures%2Fx.jpg"
    with pytest.raises(ValueError, match="either image or url"):
        await client(service).upload_target()


async def test_token_is_not_sent_to_result_hosts() -> None:
    """Links lead to other hosts, which must not see the account's token."""
    service = Service()
    async with client(service) as api:
        await api.access_token()

        async def consume(stream: Any) -> bytes:
            return b"".join([chunk async for chunk in stream.chunks()])

        await api.fetch("https://files/x?sig=1", consume)
    assert "authorization" not in service.requests[-1].headers


@pytest.mark.parametrize("secret", ["tok-1", "pass-word"])
async def test_server_that_echoes_a_secret_is_quoted_without_it(secret: str) -> None:
    """Access token and password are removed from the server's own words."""
    refusal = httpx.Response(422, json={"message": f"bad {secret}"})
    async with client(Service(notification_by_name_json=refusal)) as api:
        with pytest.raises(PiktidInvalidRequestError, match=r"bad \*\*\*") as caught:
            await api.list_notifications()
    assert secret not in str(caught.value)


async def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Neither token, password nor refresh token appears in any log line, at any level."""
    caplog.set_level(logging.DEBUG)
    async with client(Service(notification_by_name_json={"notifications_list": []})) as api:
        await api.list_notifications()
        text = f"{caplog.text} {api!r}"
    assert not [secret for secret in ("tok-1", "pass-word", "refresh-secret", "Basic ") if secret in text]


def test_sync_client_tells_each_token_once() -> None:
    """``on_token`` is called once for each token."""
    service = Service(notification_by_name_json={"notifications_list": []})
    told: list[str] = []
    with PiktidV1Client(on_token=told.append, **arguments(service)) as api:
        api.list_notifications()
        api.list_notifications()
        service.good = "tok-2"
        api.list_notifications()
        api.list_notifications()
    assert told == ["tok-1", "tok-2"]
