# SPDX-License-Identifier: Apache-2.0
"""Log in to the v2 API, refresh and issue tokens."""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..clock import iso
from ..credentials import bearer_of, is_login
from ..state import State
from ..wire import Refused, read_json
from .checks import body_check

SHORTEST, LONGEST = 3600.0, 4 * 366 * 86400.0
_ISO = re.compile(
    r"P(?:(?P<w>\d+)W)?(?:(?P<d>\d+)D)?(?:T(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?",
    re.ASCII,
)
_CLOCK = re.compile(
    r"(?:(?P<d>-?\d+)(?:D[ ,]*|[ ,]+))?(?:(?P<h>\d\d?):(?P<m>\d\d):)?(?P<s>\d\d?(?:\.\d{1,6})?)?"
)
_UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}


def duration(value: Any) -> float | None:
    """Return seconds from an ISO 8601 duration, ``[DD]D[,][HH:MM:]SS``, or a number; otherwise None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value)
    if not isinstance(value, str) or not value:
        return None
    try:
        return float(value)
    except ValueError:
        pass
    match = _ISO.fullmatch(value) or _CLOCK.fullmatch(value)
    if match is None:
        return None
    return sum(float(part) * _UNITS[unit] for unit, part in match.groupdict().items() if part)


def guard(request: Request, state: State) -> None:
    """
    Refuse a request without a valid bearer token.

    :raises Refused: 401 with an empty body.
    """
    if not state.v2.tokens.is_valid(bearer_of(request)):
        raise Refused(401)


async def login(request: Request, state: State) -> Response:
    """``POST /auth/login``."""
    if not is_login(state.settings, request):
        raise Refused(401)
    user = {
        "username": state.settings.login,
        "email": state.settings.login,
        "name": "Demo",
        "surname": "User",
        "verified": True,
        "credits": state.credits.balance,
        "contract": None,
        "affiliation": None,
        "address": None,
        "country": None,
        "vat_num": None,
        "groups": [],
        "last_active": iso(state.clock.time()),
    }
    return JSONResponse({**state.v2.tokens.pair(), "user": user})


async def refresh(request: Request, state: State) -> Response:
    """``POST /auth/refresh``."""
    check = body_check(state, await read_json(request))
    token = check.text("refresh_token", required=True, longest=4096)
    check.done()
    return JSONResponse(state.v2.tokens.use_refresh(token or ""))


async def new_token(request: Request, state: State) -> Response:
    """``POST /auth/token``."""
    check = body_check(state, await read_json(request))
    value = check.take("expiration", required=True)
    seconds = duration(value)
    if value is not None and (seconds is None or not SHORTEST <= seconds <= LONGEST):
        check.wrong("expiration", "Input should be a duration between 1 hour and 4 years")
    check.done()
    return JSONResponse(state.v2.tokens.new_api_token(seconds or SHORTEST))
