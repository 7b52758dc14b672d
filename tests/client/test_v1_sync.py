# SPDX-License-Identifier: Apache-2.0
"""The facade of v1 has the calls of the async client, and sends what it sends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from airflow_provider_piktid.client import AsyncPiktidV1Client, PiktidV1Client
from airflow_provider_piktid.client._login import TokenCache
from airflow_provider_piktid.exceptions import PiktidNotFoundError
from tests.client.facades import Arguments, call_native, call_plain, public, shape, without_boundary

Make = Callable[..., Any]

#: One answer that satisfies every call.
ANSWER = {"access_token": "tok-1", "id_image": "i", "notifications_list": []}

CALLS: dict[str, Arguments] = {
    "access_token": ((), {}),
    "upload_target": ((b"x",), {"filename": "a.png", "options": {"seed": 7}}),
    "get_image": (("i",), {}),
    "generate": (("i", 2, {"Location": "Africa"}), {"options": {"seed": 7}, "wait": False}),
    "list_notifications": ((["error"],), {"id_image": "i", "id_task": "t"}),
    "delete_notification": ((4,), {}),
}


def facade(service: Any, **options: Any) -> PiktidV1Client:
    return PiktidV1Client(
        login="me@example.com",
        password="pass-word",
        transport=httpx.MockTransport(service.handle),
        sleep=service.sleep,
        tokens=TokenCache(),
        **options,
    )


def test_facade_has_the_methods_of_the_async_client() -> None:
    """Nothing is missing, and nothing is added but `run` and `close`."""
    assert set(public(PiktidV1Client)) - {"run"} == set(public(AsyncPiktidV1Client))


@pytest.mark.parametrize("name", sorted(public(AsyncPiktidV1Client)))
def test_facade_method_has_the_signature_of_the_async_one(name: str) -> None:
    """Names, kinds, defaults and types are the same; the constructor also takes `on_token`."""
    ours = shape(public(PiktidV1Client)[name], without="on_token")
    assert ours == shape(public(AsyncPiktidV1Client)[name])


def test_every_call_of_the_facade_is_in_the_table() -> None:
    """A new method needs a row; `fetch` has a test of its own."""
    assert set(CALLS) == set(public(PiktidV1Client)) - {"__init__", "run", "fetch"}


@pytest.mark.parametrize("name", sorted(CALLS))
def test_facade_call_sends_what_the_async_call_sends(script: Make, name: str) -> None:
    """Every argument arrives: the requests of both clients are equal."""
    plain, native = script(httpx.Response(200, json=ANSWER)), script(httpx.Response(200, json=ANSWER))
    with facade(plain) as client:
        call_plain(client, name, CALLS[name])
    with facade(native) as client:
        call_native(client, name, CALLS[name])
    assert plain.lines == native.lines != []
    assert [*map(without_boundary, plain.bodies)] == [*map(without_boundary, native.bodies)]


def test_facade_sends_url_of_a_picture(script: Make) -> None:
    """The other form of an upload arrives too."""
    service = script(httpx.Response(200, json=ANSWER))
    with facade(service) as client:
        client.upload_target(url="https://pictures/x.jpg")
    assert service.bodies[-1] == b"url=https%3A%2F%2Fpictures%2Fx.jpg"


def test_facade_fetch_takes_an_async_consumer(script: Make) -> None:
    """The same consumer serves both clients."""

    async def consume(stream: Any) -> bytes:
        return b"".join([chunk async for chunk in stream.chunks()])

    service = script(httpx.Response(200, json=ANSWER), httpx.Response(200, content=b"abc"))
    with facade(service) as client:
        assert client.fetch("https://cdn/x", consume) == b"abc"


def test_facade_passes_constructor_arguments_on(script: Make) -> None:
    """Address, label and timeout reach the async client."""
    client = facade(script(httpx.Response(200)), base_url="https://h/api", label="conn", timeout=7.0)
    session = client._client._http
    assert (client.base_url, client.label, session.timeout) == ("https://h/api", "conn", 7.0)


def test_facade_raises_the_errors_of_the_async_client(script: Make) -> None:
    """An error crosses the thread as it is."""
    service = script(httpx.Response(200, json=ANSWER), httpx.Response(404))
    with facade(service) as client, pytest.raises(PiktidNotFoundError):
        client.get_image("i")


def test_facade_close_ends_the_thread_and_may_be_repeated(script: Make) -> None:
    """No thread is left; a closed client raises an error."""
    before = threading.active_count()
    client = facade(script(httpx.Response(200, json=ANSWER)))
    client.list_notifications()
    assert threading.active_count() == before + 1
    client.close()
    client.close()
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="closed"):
        client.list_notifications()
