# SPDX-License-Identifier: Apache-2.0
"""``run_bounded``: order, limit and errors."""

from __future__ import annotations

import asyncio

import pytest

from airflow_provider_piktid.common.concurrency import run_bounded
from airflow_provider_piktid.exceptions import PiktidConnectionError

pytestmark = pytest.mark.anyio


async def test_results_come_in_the_order_of_the_items() -> None:
    """Results are returned in the order of the items, whichever ends first."""
    gates = [asyncio.Event() for _ in range(3)]
    gates[2].set()

    async def work(index: int) -> int:
        await gates[index].wait()
        gates[index - 1].set()
        return index * 10

    assert await asyncio.wait_for(run_bounded(work, [0, 1, 2], 3), 30) == [0, 10, 20]


@pytest.mark.parametrize(("limit", "most"), [(1, 1), (3, 3), (100, 8), (0, 1)])
async def test_no_more_than_the_limit_run_at_once(limit: int, most: int) -> None:
    """At most ``limit`` items run at the same time; a limit of 0 counts as 1."""
    running = peak = 0

    async def work(index: int) -> None:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0)
        running -= 1

    await run_bounded(work, range(8), limit)

    assert peak == most


async def test_empty_list_returns_an_empty_list() -> None:
    """An empty list returns an empty list."""

    async def work(item: int) -> int:
        raise AssertionError

    assert await run_bounded(work, [], 8) == []


async def test_first_error_cancels_the_rest_and_is_raised() -> None:
    """The first error cancels the other items and is raised without an exception group."""
    cancelled: list[int] = []

    async def work(index: int) -> None:
        if index == 1:
            raise PiktidConnectionError("away")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(index)
            raise

    with pytest.raises(PiktidConnectionError, match="away"):
        await asyncio.wait_for(run_bounded(work, [0, 1, 2, 3], 3), 30)

    assert cancelled == [0, 2]
