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
    """Which tokens are good. The token of the settings is no login's and survives every revocation."""

    def __init__(self, core: Core, counts: GenerationCounters) -> None:
        self._core = core
        self._counts = counts
        self.clear()

    def clear(self) -> None:
        """Revoke every issued token."""
        self._pairs: list[Pair] = []

    def is_good(self, token: str) -> bool:
        """Tell whether an access token opens the API now."""
        if is_permanent(self._core.settings, token):
            return True
        now = self._core.clock.time()
        return any(pair.access == token and pair.expires > now for pair in list(self._pairs))

    def issue(self) -> Pair:
        """Issue a pair; earlier ones stay good."""
        expires = self._core.clock.time() + TOKEN_SECONDS
        pair = Pair(f"acc_{secrets.token_urlsafe(32)}", f"rot_{secrets.token_urlsafe(32)}", expires)
        with self._core.lock:
            self._pairs.append(pair)
        return pair

    def rotate(self, access: str, refresh: str) -> Pair:
        """
        Take a refresh token for a new pair. A token taken twice revokes every token of the account.

        :raises Refused: 401 for a refresh token that is unknown, expired, used, or of another access token.
        """
        with self._core.lock:
            pair = next((pair for pair in self._pairs if pair.refresh == refresh), None)
            if pair is not None and pair.used:
                self.clear()
                self._counts.note("revocations")
                raise refusal(401, "Invalid refresh token")
            if pair is None or pair.access != access or pair.expires <= self._core.clock.time():
                raise refusal(401, "Invalid refresh token")
            pair.used = True
            self._counts.note("refreshes")
            return self.issue()

    def revoke(self, access: str) -> None:
        """Forget one access token and its refresh token."""
        with self._core.lock:
            self._pairs = [pair for pair in self._pairs if pair.access != access]
