# SPDX-License-Identifier: Apache-2.0
"""Setting and testing the account's only webhook."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import PiktidConfigError
from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.hooks.webhook import shown


class Receiver(BaseHTTPRequestHandler):
    """Answers deliveries below /good with 204, others with 401."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204 if self.path.startswith("/good") else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Do not log."""


@pytest.fixture
def receiver() -> Iterator[str]:
    """The base URL of a receiver."""
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_first_webhook_is_set(server: EmulatorServer, receiver: str) -> None:
    """Setting it returns the secret, which PiktID shows only once."""
    assert PiktidHook().register_webhook(f"{receiver}/good").secret


def test_webhook_of_somebody_else_is_not_replaced(server: EmulatorServer, receiver: str) -> None:
    """The message says where the account's webhook goes now, without what may be secret, and what to do."""
    PiktidHook().register_webhook(f"{receiver}/good?key=hidden")

    with pytest.raises(PiktidConfigError, match=rf"{receiver}/good since .*replace=True") as refused:
        PiktidHook().register_webhook("http://127.0.0.1:1/mine")
    assert "hidden" not in str(refused.value)
    assert server.state.v2.webhooks.current is not None
    assert server.state.v2.webhooks.current.url == f"{receiver}/good?key=hidden"


def test_same_address_is_not_set_again_by_accident(server: EmulatorServer, receiver: str) -> None:
    """It would change the secret, and the receiver would refuse every delivery."""
    first = PiktidHook().register_webhook(f"{receiver}/good")
    with pytest.raises(PiktidConfigError):
        PiktidHook().register_webhook(f"{receiver}/good")
    assert PiktidHook().register_webhook(f"{receiver}/good", replace=True).secret != first.secret


@pytest.mark.parametrize(("path", "accepted"), [("/good", True), ("/bad", False)])
def test_test_says_how_the_receiver_answered(
    server: EmulatorServer, receiver: str, path: str, accepted: bool
) -> None:
    """The answer of the receiver decides, and the message names its address and status."""
    hook = PiktidHook()
    hook.register_webhook(receiver + path)

    result, message = hook.test_webhook()

    assert result is accepted
    assert f"{receiver}{path} answered the test with HTTP" in message


def test_test_says_that_the_receiver_cannot_be_reached(server: EmulatorServer) -> None:
    """A receiver that does not answer has no status, and the message says what to check."""
    hook = PiktidHook()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/hook"
    hook.register_webhook(f"{url}?key=hidden")

    accepted, message = hook.test_webhook()

    assert not accepted
    assert f"could not reach {url}, or got no answer in time. Check that" in message
    assert "HTTP" not in message
    assert "hidden" not in message


def test_test_without_a_webhook_says_so(server: EmulatorServer) -> None:
    """An account without a webhook is reported, and raises no error."""
    assert PiktidHook().test_webhook() == (
        False,
        "piktid_default: the account has no webhook. Set one with PiktidHook.register_webhook.",
    )


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://user:pw@example.com:8443/a/b?token=x#y", "https://example.com:8443/a/b"),
        ("https://example.com", "https://example.com"),
        ("https://example.com:port/a", "an unknown address"),
        ("https://[::1", "an unknown address"),
        ("", "an unknown address"),
        (None, "an unknown address"),
    ],
)
def test_address_is_shown_without_secrets(url: str | None, text: str) -> None:
    """Neither login nor query is shown."""
    assert shown(url) == text
