# SPDX-License-Identifier: Apache-2.0
"""Login and tokens."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from airflow_provider_piktid.emulator.v2.login import duration

LOGIN = ("demo@example.com", "piktid-emulator")


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="missing"),
        pytest.param({"Authorization": "Bearer wrong"}, id="wrong"),
        pytest.param({"Authorization": "Basic cGlrdGlkLWVtdWxhdG9y"}, id="scheme"),
    ],
)
def test_request_without_valid_token_returns_401_without_body(api: Any, headers: dict[str, str]) -> None:
    """A missing or wrong token returns 401 with an empty body."""
    answer = requests.get(api.url + "/project", headers=headers)
    assert (answer.status_code, answer.content) == (401, b"")


def test_login_returns_a_valid_token(api: Any) -> None:
    """Basic login returns a session token, a refresh token and the user with the balance."""
    answer = requests.post(api.url + "/auth/login", auth=LOGIN).json()
    assert answer["user"]["credits"] == 1000.0
    headers = {"Authorization": f"Bearer {answer['token']}"}
    assert requests.get(api.url + "/project", headers=headers).status_code == 200


def test_login_with_wrong_password_returns_401(api: Any) -> None:
    """A wrong password returns 401."""
    assert requests.post(api.url + "/auth/login", auth=(LOGIN[0], "no")).status_code == 401


def test_session_token_expires_and_is_refreshed(api: Any) -> None:
    """A session token expires; its refresh token returns a new pair."""
    pair = requests.post(api.url + "/auth/login", auth=LOGIN).json()
    api.server.state.clock.advance(3601)
    old = {"Authorization": f"Bearer {pair['token']}"}
    assert requests.get(api.url + "/project", headers=old).status_code == 401
    fresh = requests.post(api.url + "/auth/refresh", json={"refresh_token": pair["refresh_token"]}).json()
    assert set(fresh) == {"token", "expiration_date", "refresh_token", "refresh_expiration"}
    new = {"Authorization": f"Bearer {fresh['token']}"}
    assert requests.get(api.url + "/project", headers=new).status_code == 200


def test_api_tokens_are_limited_to_twenty(api: Any) -> None:
    """The account can have at most 20 issued API tokens."""
    codes = [api.post("/auth/token", {"expiration": "P1D"}).status_code for _ in range(21)]
    assert codes == [200] * 20 + [429]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param(3600, 3600.0, id="number"),
        pytest.param("7200", 7200.0, id="digits"),
        pytest.param("P1DT2H", 93600.0, id="iso"),
        pytest.param("12:00:00", 43200.0, id="clock"),
        pytest.param("3,00:00:10", 259210.0, id="days-and-clock"),
        pytest.param("30D", 2592000.0, id="days"),
        pytest.param("soon", None, id="word"),
        pytest.param("", None, id="empty"),
        pytest.param(True, None, id="boolean"),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_duration_reads_the_documented_forms(value: Any, seconds: float | None) -> None:
    """ISO 8601, days with a time, and seconds are durations; anything else is not."""
    assert duration(value) == seconds


@pytest.mark.parametrize("value", ["00:30:00", "P2000D", "never", 0], ids=str)
def test_api_token_outside_its_range_is_refused(api: Any, value: Any) -> None:
    """The lifetime of an API token is between one hour and four years."""
    assert api.post("/auth/token", {"expiration": value}).status_code == 422
