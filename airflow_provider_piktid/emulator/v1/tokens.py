# SPDX-License-Identifier: Apache-2.0
"""Login and tokens of the v1 API."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..clock import iso
from ..wire import read_json
from .refusals import invalid, refusal

if TYPE_CHECKING:
    from ..state import State

TOKEN_SECONDS = 30 * 86400.0
COOKIE = "refresh_token"


@dataclass
class Pair:
    """An access token and the refresh token issued with it."""

    access: str
    refresh: str
    expires: float
    used: bool = False


class Tokens:
    """Which tokens are good. The token of the settings is no login's and survives every revocation."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.clear()

    def clear(self) -> None:
        """Revoke every issued token."""
        self._pairs: list[Pair] = []

    def is_good(self, token: str) -> bool:
        """Tell whether an access token opens the API now."""
        if hmac.compare_digest(token.encode(), self._state.settings.token.encode()):
            return True
        now = self._state.clock.time()
        return any(pair.access == token and pair.expires > now for pair in list(self._pairs))

    def issue(self) -> Pair:
        """Issue a pair; earlier ones stay good."""
        expires = self._state.clock.time() + TOKEN_SECONDS
        pair = Pair(f"acc_{secrets.token_urlsafe(32)}", f"rot_{secrets.token_urlsafe(32)}", expires)
        with self._state.lock:
            self._pairs.append(pair)
        return pair

    def rotate(self, access: str, refresh: str) -> Pair:
        """
        Take a refresh token for a new pair. A token taken twice revokes every token of the account.

        :raises Refused: 401 for a refresh token that is unknown, expired, used, or of another access token.
        """
        with self._state.lock:
            pair = next((pair for pair in self._pairs if pair.refresh == refresh), None)
            if pair is not None and pair.used:
                self.clear()
                self._state.v1.counts.note("revocations")
                raise refusal(401, "Invalid refresh token")
            if pair is None or pair.access != access or pair.expires <= self._state.clock.time():
                raise refusal(401, "Invalid refresh token")
            pair.used = True
            self._state.v1.counts.note("refreshes")
            return self.issue()

    def revoke(self, access: str) -> None:
        """Forget one access token and its refresh token."""
        with self._state.lock:
            self._pairs = [pair for pair in self._pairs if pair.access != access]


def bearer_of(request: Request) -> str:
    """Return the bearer token of a request, empty if there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def guard(request: Request, state: State) -> None:
    """
    Refuse a request without a good access token.

    :raises Refused: 401.
    """
    if not state.v1.tokens.is_good(bearer_of(request)):
        raise refusal(401, "The access token is missing, wrong or expired")


def _is_login(state: State, authorization: str) -> bool:
    scheme, _, coded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        given = base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(given, f"{state.settings.login}:{state.settings.password}".encode())


def _answer(state: State, pair: Pair) -> Response:
    body = {"access_token": pair.access, "access_expiration": iso(pair.expires)}
    body["refresh_expiration"] = iso(pair.expires)
    if state.variants["v1_refresh"] == "body":
        return JSONResponse({**body, "refresh_token": pair.refresh})
    response = JSONResponse(body)
    response.set_cookie(COOKIE, pair.refresh, path="/api/tokens", httponly=True, samesite="strict")
    return response


async def login(request: Request, state: State) -> Response:
    """``POST /api/tokens``."""
    if not _is_login(state, request.headers.get("authorization", "")):
        state.v1.counts.note("refused_logins")
        raise refusal(401, "Wrong e-mail or password")
    state.v1.counts.note("logins")
    return _answer(state, state.v1.tokens.issue())


async def refresh(request: Request, state: State) -> Response:
    """``PUT /api/tokens``: the access token in the body, the refresh token in body or cookie."""
    body = await read_json(request)
    body = body if isinstance(body, dict) else {}
    access, token = body.get("access_token"), body.get("refresh_token") or request.cookies.get(COOKIE)
    if not isinstance(access, str) or not isinstance(token, str):
        raise invalid(state, "access_token and refresh_token are required")
    return _answer(state, state.v1.tokens.rotate(access, token))


async def logout(request: Request, state: State) -> Response:
    """``DELETE /api/tokens``."""
    state.v1.tokens.revoke(bearer_of(request))
    return Response(status_code=204)


async def me(request: Request, state: State) -> Response:
    """``GET /api/me``."""
    return JSONResponse(
        {
            "email": state.settings.login,
            "username": "demo",
            "credits": state.v2.jobs.balance,
            "verified": True,
        }
    )
