# SPDX-License-Identifier: Apache-2.0
"""From a connection to the v1 API: login, ready token, masks, and the test button."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import redact

from airflow_provider_piktid.client._login import TOKENS
from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import PiktidConfigError
from airflow_provider_piktid.hooks.piktid import PiktidHook
from tests.support.fixtures import server, start
from tests.support.person import account_json

__all__ = ["server", "start"]

Connect = Callable[..., PiktidHook]


@pytest.fixture
def connect(server: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Put a connection to the emulator in place; the process has not logged in yet."""
    TOKENS.clear()

    def begin(connection: str) -> PiktidHook:
        monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", connection)
        return PiktidHook()

    return begin


def test_fetched_token_is_masked(server: EmulatorServer, connect: Connect) -> None:
    """The token of a login is masked in task logs, although no connection contains it."""
    with connect(account_json(server.url)).get_v1_client() as client:
        token = client.access_token()
    assert token not in str(redact(f"the token is {token}"))


def test_address_of_v1_follows_the_host_or_its_own_field(server: EmulatorServer, connect: Connect) -> None:
    """``<host>/api`` unless ``v1_url`` names another address."""
    assert connect(account_json(server.url)).settings.v1_url == f"{server.url}/api"
    other = account_json(server.url, extra={"v1_url": "http://other/v1/"})
    assert connect(other).settings.v1_url == "http://other/v1"


@pytest.mark.parametrize(
    ("fields", "good", "words"),
    [
        pytest.param({"login": "demo@example.com", "password": "piktid-emulator"}, True, "logged in", id="good"),
        pytest.param({"login": "demo@example.com", "password": "wr0ng-one"}, False, "refused the login", id="wrong"),
        pytest.param({"login": "demo@example.com"}, False, "no password", id="no password"),
    ],
)  # fmt: skip
def test_button_checks_the_login(
    server: EmulatorServer, connect: Connect, fields: dict[str, Any], good: bool, words: str
) -> None:
    """The connection test reports whether the login works, and buys nothing."""
    hook = connect(json.dumps({"conn_type": "piktid", "host": server.url, **fields}))
    status, message = hook.test_connection()
    assert (status, words in message) == (good, True), message
    assert "wr0ng-one" not in message
    assert server.state.generations() == []


def test_button_takes_a_ready_v1_token(server: EmulatorServer, connect: Connect) -> None:
    """The connection test accepts a token that only v1 accepts."""
    token = server.state.v1.tokens.issue().access
    status, message = connect(
        json.dumps({"conn_type": "piktid", "host": server.url, "password": token})
    ).test_connection()
    assert (status, "person generation only" in message) == (True, True)
    assert token not in message


def test_connection_without_anything_says_what_is_needed(server: EmulatorServer, connect: Connect) -> None:
    """Without login and token the error says what is missing."""
    hook = connect(json.dumps({"conn_type": "piktid", "host": server.url}))
    with pytest.raises(PiktidConfigError, match="login"):
        hook.get_v1_client()
