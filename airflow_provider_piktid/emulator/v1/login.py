# SPDX-License-Identifier: Apache-2.0
"""Log in to the v1 API, refresh and revoke tokens."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..clock import iso
from ..credentials import bearer_of, is_login
from ..state import State
from ..wire import read_object
from .refusals import invalid, refusal
from .tokens import Pair

COOKIE = "refresh_token"


def guard(request: Request, state: State) -> None:
    """
    Refuse a request without a valid access token.

    :raises Refused: 401.
    """
    if not state.v1.tokens.is_valid(bearer_of(request)):
        raise refusal(401, "The access token is missing, wrong or expired")


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
    if not is_login(state.settings, request):
        state.v1.counters.count("refused_logins")
        raise refusal(401, "Wrong e-mail or password")
    state.v1.counters.count("logins")
    return _answer(state, state.v1.tokens.issue())


async def refresh(request: Request, state: State) -> Response:
    """``PUT /api/tokens``: the access token in the body, the refresh token in body or cookie."""
    body = await read_object(request)
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
            "credits": state.credits.balance,
            "verified": True,
        }
    )
