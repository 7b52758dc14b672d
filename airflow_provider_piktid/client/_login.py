# SPDX-License-Identifier: Apache-2.0
"""
Access tokens of v1: one login for all tasks of a process.

Only access tokens are kept, in memory. If a refresh token is presented twice, PiktID revokes every token of the
account; workers and triggerers cannot agree on who presents it, so it is not used.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """
    An account that logs in.

    :param secret: Digest of the password: a changed password is another account.
    """

    url: str
    email: str
    secret: str

    @classmethod
    def of(cls, url: str, email: str, password: str) -> Account:
        return cls(url, email, hashlib.sha256(password.encode()).hexdigest())


class TokenCache:
    """Tokens by account, for all threads and event loops of a process."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._tokens: dict[Account, str] = {}
        self._logins: dict[Account, Future[str | None]] = {}

    async def get(
        self, account: Account, login: Callable[[], Awaitable[str]], *, refused: str | None = None
    ) -> str:
        """
        Return the account's token, after a login if there is none.

        :param login: Called once for all concurrent callers; if it raises, all of them get the error.
        :param refused: A token that the server refused; it is not returned again. Default: none.
        """
        while True:
            token, running, mine = self._look(account, refused)
            if token is not None:
                return token
            if mine is not None:
                return await self._log_in(account, login, mine)
            if running is not None:
                # Shielded: a caller that is cancelled must not cancel the login of the others.
                await asyncio.shield(asyncio.wrap_future(running))

    def _look(
        self, account: Account, refused: str | None
    ) -> tuple[str | None, Future[str | None] | None, Future[str | None] | None]:
        with self._guard:
            token = self._tokens.get(account)
            if token is not None and token != refused:
                return token, None, None
            running = self._logins.get(account)
            if running is not None:
                return None, running, None
            mine: Future[str | None] = Future()
            self._logins[account] = mine
            return None, None, mine

    async def _log_in(
        self, account: Account, login: Callable[[], Awaitable[str]], mine: Future[str | None]
    ) -> str:
        try:
            token = await login()
        except Exception as error:
            self._end(account)
            mine.set_exception(error)
            raise
        except BaseException:
            # Cancelled: one of the waiting callers logs in instead.
            self._end(account)
            mine.set_result(None)
            raise
        self._end(account, token)
        mine.set_result(token)
        return token

    def _end(self, account: Account, token: str | None = None) -> None:
        with self._guard:
            self._logins.pop(account, None)
            if token is not None:
                self._tokens[account] = token

    def clear(self) -> None:
        """Forget all tokens; a running login continues for its callers."""
        self._guard = threading.Lock()
        self._tokens, self._logins = {}, {}


#: The cache of this process.
TOKENS = TokenCache()

# A child process would wait forever for a login that runs in its parent.
os.register_at_fork(after_in_child=TOKENS.clear)
