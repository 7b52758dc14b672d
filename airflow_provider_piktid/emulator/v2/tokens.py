# SPDX-License-Identifier: Apache-2.0
"""Login and tokens of the v2 API."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..clock import iso
from ..wire import Check, Refused, read_json

if TYPE_CHECKING:
    from ..state import State

SESSION_SECONDS = 3600.0
REFRESH_SECONDS = 30 * 86400.0
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
    """Return seconds from an ISO 8601 duration, ``[DD]D[,][HH:MM:]SS``, or a number; None if it is none."""
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


class Tokens:
    """Which tokens are good, and until when."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.clear()

    def clear(self) -> None:
        """Forget issued tokens; the one of the settings stays good."""
        self._issued: dict[str, float] = {}
        self._api: dict[str, float] = {}
        self._refresh: dict[str, float] = {}

    def is_good(self, token: str) -> bool:
        """Tell whether a token opens the API now."""
        if hmac.compare_digest(token.encode(), self._state.settings.token.encode()):
            return True
        expires = self._issued.get(token, self._api.get(token, 0.0))
        return expires > self._state.clock.time()

    def check(self, request: Request) -> None:
        """
        Refuse a request without a good bearer token.

        :raises Refused: 401 with an empty body.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not self.is_good(token.strip()):
            raise Refused(401)

    def pair(self) -> dict[str, Any]:
        """Issue a session token and its refresh token."""
        now = self._state.clock.time()
        token, refresh = f"ses_{secrets.token_urlsafe(32)}", f"ref_{secrets.token_urlsafe(32)}"
        self._issued[token] = now + SESSION_SECONDS
        self._refresh[refresh] = now + REFRESH_SECONDS
        return {
            "token": token,
            "expiration_date": iso(now + SESSION_SECONDS),
            "refresh_token": refresh,
            "refresh_expiration": iso(now + REFRESH_SECONDS),
        }

    def use_refresh(self, refresh: str) -> dict[str, Any]:
        """
        Issue a new pair.

        :raises Refused: 401 for an unknown or expired refresh token.
        """
        if self._refresh.get(refresh, 0.0) <= self._state.clock.time():
            raise Refused(401)
        if self._state.variants["refresh_reuse"] == "refuse":
            del self._refresh[refresh]
        return self.pair()

    def new_api_token(self, seconds: float) -> dict[str, Any]:
        """
        Issue an API token.

        :raises Refused: 429 when the account holds too many.
        """
        now = self._state.clock.time()
        self._api = {token: expires for token, expires in self._api.items() if expires > now}
        if len(self._api) >= self._state.settings.max_tokens:
            raise Refused(429, {"error": "Maximum tokens reached."})
        token = f"pat_{secrets.token_urlsafe(40)}"
        self._api[token] = now + seconds
        return {"token": token, "expiration_date": iso(now + seconds)}


def is_login(state: State, authorization: str) -> bool:
    """Tell whether a Basic header holds the login and password of the settings."""
    scheme, _, coded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        given = base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(given, f"{state.settings.login}:{state.settings.password}".encode())


async def login(request: Request, state: State) -> Response:
    """``POST /auth/login``."""
    if not is_login(state, request.headers.get("authorization", "")):
        raise Refused(401)
    user = {
        "username": state.settings.login,
        "email": state.settings.login,
        "name": "Demo",
        "surname": "User",
        "verified": True,
        "credits": state.v2.jobs.balance,
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
    check = Check(await read_json(request), status=state.variants.number("validation_status"))
    token = check.text("refresh_token", required=True, longest=4096)
    check.done()
    return JSONResponse(state.v2.tokens.use_refresh(token or ""))


async def new_token(request: Request, state: State) -> Response:
    """``POST /auth/token``."""
    check = Check(await read_json(request), status=state.variants.number("validation_status"))
    value = check.take("expiration", required=True)
    seconds = duration(value)
    if value is not None and (seconds is None or not SHORTEST <= seconds <= LONGEST):
        check.wrong("expiration", "Input should be a duration between 1 hour and 4 years")
    check.done()
    return JSONResponse(state.v2.tokens.new_api_token(seconds or SHORTEST))
