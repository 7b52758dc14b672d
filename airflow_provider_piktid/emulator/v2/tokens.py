# SPDX-License-Identifier: Apache-2.0
"""Session, refresh and API tokens of the v2 API."""

from __future__ import annotations

import secrets
from typing import Any

from ..clock import iso
from ..core import Core
from ..credentials import is_permanent
from ..wire import Refused

SESSION_SECONDS = 3600.0
REFRESH_SECONDS = 30 * 86400.0


class Tokens:
    """The issued tokens and when they expire."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.clear()

    def clear(self) -> None:
        """Revoke all issued tokens; the token from the settings stays valid."""
        self._issued: dict[str, float] = {}
        self._api: dict[str, float] = {}
        self._refresh: dict[str, float] = {}

    def is_valid(self, token: str) -> bool:
        """Return whether a token is valid now."""
        if is_permanent(self._core.settings, token):
            return True
        expires = self._issued.get(token, self._api.get(token, 0.0))
        return expires > self._core.clock.time()

    def pair(self) -> dict[str, Any]:
        """Issue a session token and its refresh token."""
        now = self._core.clock.time()
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

        :raises Refused: 401; the refresh token is unknown or expired.
        """
        if self._refresh.get(refresh, 0.0) <= self._core.clock.time():
            raise Refused(401)
        if self._core.variants["refresh_reuse"] == "refuse":
            del self._refresh[refresh]
        return self.pair()

    def new_api_token(self, seconds: float) -> dict[str, Any]:
        """
        Issue an API token.

        :raises Refused: 429; the account has too many.
        """
        now = self._core.clock.time()
        self._api = {token: expires for token, expires in self._api.items() if expires > now}
        if len(self._api) >= self._core.settings.max_tokens:
            raise Refused(429, {"error": "Maximum tokens reached."})
        token = f"pat_{secrets.token_urlsafe(40)}"
        self._api[token] = now + seconds
        return {"token": token, "expiration_date": iso(now + seconds)}
