# SPDX-License-Identifier: Apache-2.0
"""Access and refresh tokens of the v1 API."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from ..core import Core
from ..credentials import is_permanent
from .counters import GenerationCounters
from .refusals import refusal

TOKEN_SECONDS = 30 * 86400.0


@dataclass
class Pair:
    """An access token and the refresh token issued with it."""

    access: str
    refresh: str
    expires: float
    used: bool = False


class Tokens:
    """The issued tokens. The token from the settings is always valid and is never revoked."""

    def __init__(self, core: Core, counts: GenerationCounters) -> None:
        self._core = core
        self._counts = counts
        self.clear()

    def clear(self) -> None:
        """Revoke every issued token."""
        self._pairs: list[Pair] = []

    def is_valid(self, token: str) -> bool:
        """Return whether an access token is valid now."""
        if is_permanent(self._core.settings, token):
            return True
        now = self._core.clock.time()
        return any(pair.access == token and pair.expires > now for pair in list(self._pairs))

    def issue(self) -> Pair:
        """Issue a pair; earlier pairs stay valid."""
        expires = self._core.clock.time() + TOKEN_SECONDS
        pair = Pair(f"acc_{secrets.token_urlsafe(32)}", f"rot_{secrets.token_urlsafe(32)}", expires)
        with self._core.lock:
            self._pairs.append(pair)
        return pair

    def rotate(self, access: str, refresh: str) -> Pair:
        """
        Exchange a refresh token for a new pair. Using one twice revokes all tokens of the account.

        :raises Refused: 401; the refresh token is unknown, expired, used, or belongs to another access token.
        """
        with self._core.lock:
            pair = next((pair for pair in self._pairs if pair.refresh == refresh), None)
            if pair is not None and pair.used:
                self.clear()
                self._counts.count("revocations")
                raise refusal(401, "Invalid refresh token")
            if pair is None or pair.access != access or pair.expires <= self._core.clock.time():
                raise refusal(401, "Invalid refresh token")
            pair.used = True
            self._counts.count("refreshes")
            return self.issue()

    def revoke(self, access: str) -> None:
        """Revoke one access token and its refresh token."""
        with self._core.lock:
            self._pairs = [pair for pair in self._pairs if pair.access != access]
