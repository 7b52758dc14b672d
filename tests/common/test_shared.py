# SPDX-License-Identifier: Apache-2.0
"""What waiting tasks on one event loop share."""

from __future__ import annotations

import asyncio
import gc

import pytest

from airflow_provider_piktid.common.shared import PerLoop, end_shared, start_shared

pytestmark = pytest.mark.anyio


class Thing:
    """Something to share."""


async def test_object_is_shared_by_key_as_long_as_it_is_used() -> None:
    """The same key returns the same object, until nobody uses it."""
    things: PerLoop[Thing] = PerLoop()
    first = things.get("a", Thing)

    assert things.get("a", Thing) is first
    assert things.get("b", Thing) is not first
    made: list[str] = []

    def make() -> Thing:
        made.append("again")
        return Thing()

    del first
    gc.collect()
    things.get("a", make)
    assert made == ["again"]


def test_each_event_loop_has_its_own_objects() -> None:
    """Two event loops share nothing."""
    things: PerLoop[Thing] = PerLoop()

    async def get() -> Thing:
        return things.get("a", Thing)

    assert asyncio.run(get()) is not asyncio.run(get())


async def test_evicted_object_is_replaced() -> None:
    """After an eviction the key gets a new object, which a second eviction of the old one leaves alone."""
    things: PerLoop[Thing] = PerLoop()
    old = things.get("a", Thing)
    things.evict("a", old)
    new = things.get("a", Thing)
    things.evict("a", old)

    assert new is not old
    assert things.get("a", Thing) is new


async def test_end_of_a_shared_task_is_not_interrupted() -> None:
    """If the waiter that ends a shared task is cancelled itself, the task still closes what it has opened."""
    running, closing, go_on, closed = (asyncio.Event() for _ in range(4))

    async def work() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            closing.set()
            await go_on.wait()
            closed.set()

    task = start_shared(work())
    await running.wait()
    ending = asyncio.create_task(end_shared(task))
    await closing.wait()
    ending.cancel()
    await asyncio.gather(ending, return_exceptions=True)
    go_on.set()

    await asyncio.wait_for(closed.wait(), 30)
