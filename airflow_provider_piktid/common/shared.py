# SPDX-License-Identifier: Apache-2.0
"""What the waiting tasks on one event loop share: an object for each account, and the task that serves them all."""

from __future__ import annotations

import asyncio
import contextvars
import os
import weakref
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

Shared = TypeVar("Shared")

#: Seconds that the last waiter waits for the end of a shared task.
END_SECONDS = 5.0


class PerLoop(Generic[Shared]):
    """
    Objects of this process by event loop and key.

    They are held weakly: an object lives as long as somebody uses it, and no event loop is kept alive by what was
    shared on it. Each loop has its own objects, so threads need no lock. A forked child starts without any.
    """

    def __init__(self) -> None:
        self._loops: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, weakref.WeakValueDictionary[Hashable, Shared]
        ] = weakref.WeakKeyDictionary()
        os.register_at_fork(after_in_child=self._loops.clear)

    def get(self, key: Hashable, make: Callable[[], Shared]) -> Shared:
        """Return the object of a key on the running event loop; ``make`` creates it if there is none."""
        values = self._loops.setdefault(asyncio.get_running_loop(), weakref.WeakValueDictionary())
        found = values.get(key)
        if found is None:
            found = values[key] = make()
        return found

    def evict(self, key: Hashable, value: Shared) -> None:
        """Forget an object, unless its key has another one by now: the next :meth:`get` creates a new one."""
        values = self._loops.get(asyncio.get_running_loop())
        if values is not None and values.get(key) is value:
            del values[key]


def start_shared(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """
    Start a task for all waiters.

    Its context is empty: with that of the waiter that happened to come first, it would write into that one's log.
    """
    return asyncio.create_task(work, context=contextvars.Context())


async def end_shared(task: asyncio.Task[None]) -> None:
    """Cancel a shared task and wait for its end; a cancellation of the caller does not interrupt that end."""
    task.cancel()
    # Not `gather`, which passes a cancellation of the caller on: connections that are being closed would stay open.
    await asyncio.wait({task}, timeout=END_SECONDS)
