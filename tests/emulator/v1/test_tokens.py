# SPDX-License-Identifier: Apache-2.0
"""Login, refresh and revocation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

LOGIN = ("demo@example.com", "piktid-emulator")


def log_in(v1: Any) -> dict[str, str]:
    """Log in as clients do, with an empty form."""
    answer = requests.post(v1.url + "/tokens", auth=LOGIN, data={}, timeout=20)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def refresh(v1: Any, pair: dict[str, str]) -> requests.Response:
    body = {name: pair[name] for name in ("access_token", "refresh_token")}
    return requests.put(v1.url + "/tokens", json=body, timeout=20)


def opens(v1: Any, token: str) -> bool:
    """Return whether the API accepts a token."""
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(v1.url + "/me", headers=headers, timeout=20).status_code == 200


def test_login_returns_both_tokens_and_their_expiry(v1: Any) -> None:
    """Basic login returns four fields; the access token is accepted."""
    pair = log_in(v1)
    assert set(pair) == {"access_token", "refresh_token", "access_expiration", "refresh_expiration"}
    assert pair["access_expiration"].endswith("Z")
    assert opens(v1, pair["access_token"])


def test_refresh_token_is_not_an_access_token(v1: Any) -> None:
    """Only the access token is accepted by the API."""
    assert not opens(v1, log_in(v1)["refresh_token"])


@pytest.mark.parametrize(
    ("auth", "headers"),
    [
        pytest.param((LOGIN[0], "wrong"), {}, id="password"),
        pytest.param(("other@example.com", LOGIN[1]), {}, id="login"),
        pytest.param(None, {}, id="nothing"),
        pytest.param(None, {"Authorization": "Basic ***"}, id="no-base64"),
        pytest.param(None, {"Authorization": "Bearer piktid-emulator"}, id="scheme"),
    ],
)
def test_wrong_login_returns_401_with_a_v1_error(v1: Any, auth: Any, headers: dict[str, str]) -> None:
    """A refused login returns code, message and description, and is counted."""
    answer = requests.post(v1.url + "/tokens", auth=auth, headers=headers, timeout=20)
    assert answer.status_code == 401
    assert answer.json().keys() == {"code", "message", "description"}
    assert answer.json()["code"] == 401
    assert v1.state.stats()["v1"]["refused_logins"] == 1


def test_logins_are_counted(v1: Any) -> None:
    """Statistics have the number of logins."""
    log_in(v1)
    log_in(v1)
    assert v1.state.stats()["v1"]["logins"] == 2


def test_earlier_access_tokens_stay_valid(v1: Any) -> None:
    """A second login or a refresh does not end other sessions."""
    first, second = log_in(v1), log_in(v1)
    third = refresh(v1, second).json()
    assert all(opens(v1, pair["access_token"]) for pair in (first, second, third))


def test_tokens_live_thirty_days(v1: Any) -> None:
    """After thirty days neither token is valid."""
    pair = log_in(v1)
    v1.state.clock.advance(30 * 86400 - 60)
    assert opens(v1, pair["access_token"])
    v1.state.clock.advance(61)
    assert not opens(v1, pair["access_token"])
    assert refresh(v1, pair).status_code == 401


def test_refresh_rotates(v1: Any) -> None:
    """A refresh returns a new pair, and its refresh token works too."""
    first = log_in(v1)
    second = refresh(v1, first).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert refresh(v1, second).status_code == 200


def test_refresh_token_used_twice_revokes_every_token(v1: Any) -> None:
    """A second use ends all sessions, including unrelated ones."""
    bystander, first = log_in(v1), log_in(v1)
    second = refresh(v1, first).json()
    assert refresh(v1, first).status_code == 401
    assert not any(opens(v1, pair["access_token"]) for pair in (bystander, first, second))
    assert refresh(v1, second).status_code == 401
    assert v1.state.stats()["v1"]["revocations"] == 1
    assert opens(v1, log_in(v1)["access_token"])


def test_refresh_needs_the_access_token_of_the_same_pair(v1: Any) -> None:
    """A refresh token with another access token is refused and stays valid."""
    first, second = log_in(v1), log_in(v1)
    mixed = {**first, "access_token": second["access_token"]}
    assert refresh(v1, mixed).status_code == 401
    assert refresh(v1, first).status_code == 200


@pytest.mark.parametrize("body", [None, {}, {"access_token": "a"}, {"refresh_token": "b"}, []], ids=str)
def test_refresh_without_its_tokens_is_invalid(v1: Any, body: Any) -> None:
    """Both tokens are required."""
    assert requests.put(v1.url + "/tokens", json=body, timeout=20).status_code == 422


def test_refresh_token_can_be_a_cookie(serve_v1: Callable[..., Any]) -> None:
    """With ``v1_refresh=cookie`` the refresh token is a cookie for this path only."""
    v1 = serve_v1(variants={"v1_refresh": "cookie"})
    with requests.Session() as session:
        pair = session.post(v1.url + "/tokens", auth=LOGIN, timeout=20).json()
        assert "refresh_token" not in pair
        body = {"access_token": pair["access_token"]}
        assert session.put(v1.url + "/tokens", json=body, timeout=20).status_code == 200


def test_logout_ends_one_session(v1: Any) -> None:
    """A logout revokes only its own tokens."""
    mine, other = log_in(v1), log_in(v1)
    headers = {"Authorization": f"Bearer {mine['access_token']}"}
    assert requests.delete(v1.url + "/tokens", headers=headers, timeout=20).status_code == 204
    assert not opens(v1, mine["access_token"])
    assert opens(v1, other["access_token"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/edit/target"),
        ("POST", "/edit/generate"),
        ("POST", "/notification_by_name_json"),
        ("DELETE", "/notification/delete_json"),
        ("POST", "/images_by_id/v2"),
        ("GET", "/me"),
        ("DELETE", "/tokens"),
    ],
    ids=str,
)
def test_other_operations_require_an_access_token(v1: Any, method: str, path: str) -> None:
    """Without a valid token in ``Authorization`` the API returns 401; other headers are ignored."""
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authentication": "Bearer piktid-emulator"}):
        answer = requests.request(method, v1.url + path, headers=headers, timeout=20)
        assert answer.status_code == 401
        assert answer.json()["code"] == 401


def test_token_from_the_settings_is_valid_and_not_revoked(v1: Any) -> None:
    """The configured token is valid on v1 too, even after revocations."""
    pair = log_in(v1)
    refresh(v1, pair)
    refresh(v1, pair)
    assert v1.call("GET", "/me").json()["credits"] == 1000.0
