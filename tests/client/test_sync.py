# SPDX-License-Identifier: Apache-2.0
"""The v2 client for synchronous code."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import httpx
import pytest

from airflow_provider_piktid.client import AsyncPiktidClient, PiktidClient
from airflow_provider_piktid.exceptions import PiktidNotFoundError
from airflow_provider_piktid.models import UploadTicket
from airflow_provider_piktid.models.model_swap import ModelSwap
from tests.client.conftest import TOKEN
from tests.client.facades import Arguments, call_native, call_plain, public, shape, without_boundary
from tests.support.service import emulator

Make = Callable[..., Any]


def facade(service: Any, **options: Any) -> PiktidClient:
    return PiktidClient(TOKEN, transport=httpx.MockTransport(service.handle), sleep=service.sleep, **options)


def test_facade_has_the_methods_of_the_async_client() -> None:
    """The sync client has the methods of the async one, with ``close`` and ``run``."""
    assert set(public(PiktidClient)) - {"run", "close"} == set(public(AsyncPiktidClient)) - {"aclose"}


@pytest.mark.parametrize("name", sorted(set(public(AsyncPiktidClient)) - {"aclose"}))
def test_facade_method_has_the_signature_of_the_async_one(name: str) -> None:
    """The signatures of sync and async methods are equal, except for async iterators."""
    assert shape(public(PiktidClient)[name]) == shape(public(AsyncPiktidClient)[name])


def test_facade_calls_and_iterates(script: Make) -> None:
    """A call returns the model, a listing a plain iterator."""
    answer = {"job_id": "j", "status": "pending", "projects": [{"project_key": "a"}, {"project_key": "b"}]}
    with facade(script(httpx.Response(200, json=answer))) as client:
        assert client.get_job("j").status == "pending"
        assert [project.project_id for project in client.iter_projects()] == ["a", "b"]


def test_facade_iterator_left_early_closes_the_stream(script: Make) -> None:
    """Leaving the iterator closes the stream."""
    closed = threading.Event()

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b'data: {"id": 1, "name": "x"}\n\n'

        async def aclose(self) -> None:
            closed.set()

    async def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=Endless())

    with PiktidClient(TOKEN, transport=httpx.MockTransport(handle)) as client:
        for frame in client.stream_notifications():
            assert frame.kind == "live"
            break
        assert closed.wait(5)


def test_facade_raises_the_errors_of_the_async_client(script: Make) -> None:
    """The sync client raises the errors of the async one."""
    with facade(script(httpx.Response(404))) as client, pytest.raises(PiktidNotFoundError):
        client.get_job("j")


def test_facade_run_passes_the_async_client_for_concurrent_work(script: Make) -> None:
    """`run(function, *args)` awaits `function(client, *args)`."""

    async def work(client: AsyncPiktidClient, *names: str) -> list[str]:
        found: list[str] = []

        async def one(name: str) -> None:
            found.append((await client.get_job(name)).job_id)

        async with anyio.create_task_group() as group:
            for name in names:
                group.start_soon(one, name)
        return sorted(found)

    with facade(script(httpx.Response(200, json={"status": "pending"}))) as client:
        assert client.run(work, "a", "b") == ["a", "b"]


def test_facade_close_ends_the_thread_and_may_be_repeated(script: Make) -> None:
    """No thread is left; a closed client raises an error."""
    before = threading.active_count()
    client = facade(script(httpx.Response(200, json={"status": "pending"})))
    client.get_job("j")
    assert threading.active_count() == before + 1
    client.close()
    client.close()
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="closed"):
        client.get_job("j")


def test_facade_unused_starts_no_thread(script: Make) -> None:
    """The thread begins with the first call."""
    before = threading.active_count()
    with facade(script(httpx.Response(200))):
        assert threading.active_count() == before


def test_facade_close_cancels_what_still_runs(script: Make) -> None:
    """``close`` cancels running calls."""
    entered, ended = threading.Event(), threading.Event()

    async def hang(client: AsyncPiktidClient) -> None:
        entered.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    client = facade(script(httpx.Response(200)))
    thread = threading.Thread(target=lambda: _swallow(client, hang))
    thread.start()
    assert entered.wait(60)
    client.close()
    thread.join(60)
    assert ended.is_set()
    assert not thread.is_alive()


def _swallow(client: PiktidClient, function: Any) -> None:
    try:
        client.run(function)
    except BaseException:  # noqa: BLE001 - a cancelled future raises an error of its own
        return


def test_facade_fetch_takes_an_async_consumer(script: Make) -> None:
    """``fetch`` accepts an async consumer."""

    async def consume(stream: Any) -> bytes:
        return b"".join([chunk async for chunk in stream.chunks()])

    with facade(script(httpx.Response(200, content=b"abc"))) as client:
        assert client.fetch("https://cdn/x", consume) == b"abc"


SWAP = ModelSwap(identity_code="i", project_id="p")
TICKET = UploadTicket(upload_url="https://s3/k", file_id="f", content_type="image/png")
CALLS: dict[str, Arguments] = {
    "ensure_project": (("spring",), {}),
    "iter_projects": ((), {}),
    "request_upload": (("a.jpg",), {"project_name": "p"}),
    "put_upload": ((TICKET, b"x"), {}),
    "upload_image": (("a.jpg", b"x"), {"project_name": "p"}),
    "upload_identity": (("a.jpg", b"x"), {"name": "n", "tag": "t"}),
    "get_identity": (("i",), {}),
    "iter_identities": ((), {"search": "s", "ownership": "mine", "include_locked": True}),
    "get_identity_status": (("i",), {}),
    "promote_identity": ((501,), {"name": "n", "wait": False}),
    "extract_preset": (("f", "model_swap"), {"wait": False}),
    "create_job": ((SWAP, ["a", "b"]), {"images_per_job": 2, "wait": False}),
    "get_job": (("j",), {}),
    "get_job_results": (("j",), {}),
    "get_image_versions": (("j", 2), {}),
    "regenerate_image": (("j", 2), {"group_index": 1, "wait": False}),
    "iter_gallery_jobs": (
        (),
        {"project_id": 7, "job_id": "j", "status": "failed", "job_type": "x", "order": "asc"},
    ),
    "stream_notifications": ((), {"job_id": "j", "names": ["n"], "silence": 5.0}),
    "list_notifications": ((["n"],), {"job_ids": ["j"]}),
    "delete_notification": ((4,), {}),
    "create_download": (("j",), {}),
    "create_bulk_download": ((["j"],), {}),
    "set_webhook": (("https://h/x",), {}),
    "test_webhook": ((), {}),
    "get_webhook": ((), {}),
    "get_credits_used": (("2026-01-01", "2026-01-02", "day"), {}),
}


def test_every_call_of_the_facade_is_in_the_table() -> None:
    """``CALLS`` contains every method except ``run``, ``close`` and ``fetch``."""
    assert set(CALLS) == set(public(PiktidClient)) - {"__init__", "run", "close", "fetch"}


@pytest.mark.parametrize("name", sorted(CALLS))
def test_facade_call_sends_what_the_async_call_sends(script: Make, name: str) -> None:
    """Every argument arrives: the requests of both clients are equal."""
    answer = {
        "project_id": "p",
        "identity_code": "i",
        "preprocessing_status": "pending",
        "status": "pending",
        "job_id": "j",
        "upload_url": "https://s3/k",
        "download_url": "https://s3/z",
        "file_id": "f",
        "content_type": "image/png",
        "instruction_data": {},
        **{key: [] for key in ("projects", "identities", "jobs", "versions", "notifications")},
    }
    headers = {"Content-Type": "text/event-stream"} if name == "stream_notifications" else {}
    reply = httpx.Response(200, headers=headers) if headers else httpx.Response(200, json=answer)
    plain, native = script(reply), script(reply)

    with facade(plain) as client:
        call_plain(client, name, CALLS[name])
    with facade(native) as client:
        call_native(client, name, CALLS[name])
    assert plain.lines == native.lines != []
    assert [*map(without_boundary, plain.bodies)] == [*map(without_boundary, native.bodies)]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_client_that_is_never_closed_does_not_hold_up_the_exit(host: str) -> None:
    """A program that forgets to close its client ends by itself, and prints nothing about it."""
    code = (
        "import sys; from airflow_provider_piktid.client import PiktidClient;"
        "client = PiktidClient('piktid-emulator', base_url=sys.argv[1]);"
        "print(client.ensure_project('shoot').project_id is not None)"
    )
    with emulator() as server:
        url = server.url.replace("127.0.0.1", host)
        done = subprocess.run(
            [sys.executable, "-c", code, url], capture_output=True, text=True, timeout=120, check=False
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_client_that_is_forgotten_ends_its_thread(script: Make) -> None:
    """A client that is collected without having been closed leaves no thread behind."""
    before = set(threading.enumerate())
    client = facade(script(httpx.Response(200, json={"job_id": "j", "status": "pending"})))
    client.get_job("j")
    (thread,) = set(threading.enumerate()) - before

    del client
    gc.collect()

    thread.join(60)
    assert not thread.is_alive()
