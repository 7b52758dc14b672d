# SPDX-License-Identifier: Apache-2.0
"""Bounded concurrency for code on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def run_bounded(
    function: Callable[[Item], Awaitable[Result]], items: Sequence[Item], limit: int
) -> list[Result]:
    """
    Await ``function(item)`` for all items, at most ``limit`` at a time; return results in the order of the items.

    The first error cancels the rest and is raised as it is, not in a group, so that callers can tell its kind.
    """
    results: dict[int, Result] = {}
    pending = iter(enumerate(items))

    async def work() -> None:
        for index, item in pending:
            results[index] = await function(item)

    workers = [asyncio.ensure_future(work()) for _ in range(min(max(1, limit), len(items)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [results[index] for index in range(len(items))]
