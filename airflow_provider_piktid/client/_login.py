# SPDX-License-Identifier: Apache-2.0
"""
Access tokens of v1, one login for all tasks of a process.

Only access tokens are kept, in memory. A refresh token presented twice makes PiktID revoke every token of the
account, and workers and triggerers cannot agree on who presents it: so nobody does.
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
    What a login is for.

    :param secret: Digest of the password, so that a changed one is tried.
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
        Return the account's token, logging in if there is none.

        :param login: Called once, however many ask at the same time; its error goes to all of them.
        :param refused: A token that the server did not take: it is not returned again.
        """
        while True:
            token, running, mine = self._look(account, refused)
            if token is not None:
                return token
            if mine is not None:
                return await self._log_in(account, login, mine)
            if running is not None:
                # Shielded: whoever gives up waiting does not end the login of the others.
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
            # Ended from outside: one of those who wait takes over.
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
        """Forget everything; a login that runs goes on for those who wait for it."""
        self._guard = threading.Lock()
        self._tokens, self._logins = {}, {}


#: The cache of this process.
TOKENS = TokenCache()

# A child process would wait for ever for a login that runs in its parent.
os.register_at_fork(after_in_child=TOKENS.clear)
