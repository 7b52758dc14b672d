# SPDX-License-Identifier: Apache-2.0
"""The webhook: settings, test events, retries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import SimpleQueue
from threading import Thread
from typing import Any

import pytest


class Receiver:
    """Responds to each delivery with the next of ``statuses``, then with 204."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.names: SimpleQueue[str] = SimpleQueue()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(outer.statuses.pop(0) if outer.statuses else 204)
                self.send_header("Content-Length", "0")
                self.end_headers()
                outer.names.put(self.headers["X-Webhook-Event"])

            def log_message(self, *args: object) -> None:
                """Do not log."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook receiver on a socket."""
    receiver = Receiver()
    thread = Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield receiver
    receiver.server.shutdown()
    thread.join()
    receiver.server.server_close()


def test_webhook_shows_its_secret_once_and_rotates_it(api: Any, receiver: Receiver) -> None:
    """Saving returns a new secret each time; reading does not return it."""
    first, second = (api.call("PUT", "/webhooks", json={"url": receiver.url}).json() for _ in range(2))
    assert first["secret"] != second["secret"]
    assert first["id"] == second["id"]
    read = api.get("/webhooks").json()
    assert (read["secret"], read["url"]) == (None, receiver.url)
    assert set(read) == {
        *("id", "url", "secret", "is_active", "created_at", "updated_at"),
        *("last_response_status", "last_response_at"),
    }


def test_webhook_is_pinged_when_saved_and_when_tested(api: Any, receiver: Receiver) -> None:
    """A ping is delivered on each save and each test."""
    api.call("PUT", "/webhooks", json={"url": receiver.url})
    api.post("/webhooks/test")
    assert [receiver.names.get(timeout=60) for _ in range(2)] == ["ping", "ping"]


def test_failed_delivery_is_retried(serve: Callable[..., Any], receiver: Receiver) -> None:
    """A response other than 2xx is followed by a retry."""
    api = serve(webhook_backoff=0.01)
    receiver.statuses = [500, 503]
    api.call("PUT", "/webhooks", json={"url": receiver.url})
    assert [receiver.names.get(timeout=60) for _ in range(3)] == ["ping"] * 3


def test_deleted_webhook_is_gone(api: Any, receiver: Receiver) -> None:
    """Without a webhook, reading, testing and deleting return 404."""
    api.call("PUT", "/webhooks", json={"url": receiver.url})
    assert api.call("DELETE", "/webhooks").status_code == 204
    answers = (api.get("/webhooks"), api.post("/webhooks/test"), api.call("DELETE", "/webhooks"))
    assert [answer.status_code for answer in answers] == [404] * 3


@pytest.mark.parametrize("url", ["file:///etc/passwd", "not a url", "http://", ""], ids=str)
def test_webhook_address_must_be_http(api: Any, url: str) -> None:
    """Only http and https URLs are accepted."""
    assert api.call("PUT", "/webhooks", json={"url": url}).status_code == 422
