# SPDX-License-Identifier: Apache-2.0
"""One login for all tasks of a process."""

from __future__ import annotations

import asyncio
import threading

import pytest

from airflow_provider_piktid.client._login import Account, TokenCache
from airflow_provider_piktid.exceptions import PiktidAuthError

pytestmark = pytest.mark.anyio

ACCOUNT = Account.of("http://host/api", "me@example.com", "secret")


class Logins:
    """Counted logins that wait until the test releases them."""

    def __init__(self, *outcomes: str | Exception) -> None:
        self.outcomes = list(outcomes)
        self.count = 0
        self.go = asyncio.Event()

    async def __call__(self) -> str:
        self.count += 1
        await self.go.wait()
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def test_tasks_of_one_loop_share_a_login() -> None:
    """Fifty tasks that start at once log in once."""
    cache, login = TokenCache(), Logins("tok")
    asked = [asyncio.create_task(cache.get(ACCOUNT, login)) for _ in range(50)]
    await asyncio.sleep(0)
    login.go.set()
    assert set(await asyncio.gather(*asked)) == {"tok"}
    assert login.count == 1


def test_threads_share_a_login() -> None:
    """Clients on loops of their own, in threads, log in once together."""
    cache, count, inside, go = TokenCache(), [], threading.Event(), threading.Event()

    async def login() -> str:
        count.append(1)
        inside.set()
        await asyncio.to_thread(go.wait, 10)
        return "tok"

    got: list[str] = []
    threads = [
        threading.Thread(target=lambda: got.append(asyncio.run(cache.get(ACCOUNT, login)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    assert inside.wait(10)
    go.set()
    for thread in threads:
        thread.join(60)
    assert (got, len(count)) == (["tok"] * 4, 1)


async def test_refused_token_is_replaced_once() -> None:
    """A refused token is replaced by one login; a later refusal of the old token returns the new one."""
    cache, login = TokenCache(), Logins("old", "new")
    login.go.set()
    assert await cache.get(ACCOUNT, login) == "old"
    assert await cache.get(ACCOUNT, login, refused="old") == "new"
    assert await cache.get(ACCOUNT, login, refused="old") == "new"
    assert login.count == 2


async def test_refused_login_is_told_to_all_and_not_kept() -> None:
    """A wrong password is tried once, not once per task; the next call tries again."""
    cache, login = TokenCache(), Logins(PiktidAuthError("no", status=401), "tok")
    asked = [asyncio.create_task(cache.get(ACCOUNT, login)) for _ in range(5)]
    await asyncio.sleep(0)
    login.go.set()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {PiktidAuthError}
    assert login.count == 1
    assert await cache.get(ACCOUNT, login) == "tok"


async def test_cancelled_login_is_taken_over() -> None:
    """If the task that logs in is cancelled, a waiting task logs in."""
    cache, login = TokenCache(), Logins("tok")
    first = asyncio.create_task(cache.get(ACCOUNT, login))
    await asyncio.sleep(0)
    second = asyncio.create_task(cache.get(ACCOUNT, login))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    login.go.set()
    assert await asyncio.wait_for(second, 30) == "tok"


async def test_changed_password_is_another_account() -> None:
    """After the connection was corrected the new password is tried."""
    cache, login = TokenCache(), Logins("one", "two")
    login.go.set()
    assert await cache.get(ACCOUNT, login) == "one"
    assert await cache.get(Account.of("http://host/api", "me@example.com", "other"), login) == "two"
