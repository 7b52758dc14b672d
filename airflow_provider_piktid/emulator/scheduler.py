# SPDX-License-Identifier: Apache-2.0
"""Run callbacks later, independent of any event loop."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

log = logging.getLogger(__name__)


class Scheduler:
    """
    Run callbacks after a delay on one timer thread, and slow work on a small pool.

    Both start on first use; the timer thread ends when nothing is scheduled.

    :param workers: Threads of the pool.
    """

    def __init__(self, workers: int = 2) -> None:
        self._workers = workers
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._timer: threading.Thread | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._closed = False

    def call_later(self, delay: float, callback: Callable[[], object]) -> None:
        """Run ``callback`` on the timer thread after ``delay`` seconds; it must be fast."""
        with self._changed:
            if self._closed:
                return
            heapq.heappush(self._heap, (time.monotonic() + delay, next(self._order), callback))
            if self._timer is None:
                self._timer = threading.Thread(target=self._run, name="piktid-emulator-timer", daemon=True)
                self._timer.start()
            self._changed.notify()

    def submit(self, work: Callable[..., object], *args: Any) -> None:
        """Run ``work`` on the pool."""
        with self._changed:
            if self._closed:
                return
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="piktid-emulator")
            self._pool.submit(work, *args).add_done_callback(_log_failure)

    def clear(self) -> None:
        """Cancel all scheduled callbacks."""
        with self._changed:
            self._heap.clear()
            self._changed.notify()

    def close(self) -> None:
        """Cancel all scheduled callbacks and stop the threads."""
        with self._changed:
            self._closed = True
            self._heap.clear()
            self._changed.notify()
            timer, pool = self._timer, self._pool
        if timer is not None and timer is not threading.current_thread():
            timer.join(timeout=5)
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def _run(self) -> None:
        while True:
            callback = self._next()
            if callback is None:
                return
            try:
                callback()
            except Exception:
                log.exception("A scheduled callback of the emulator failed")

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            while self._heap:
                wait = self._heap[0][0] - time.monotonic()
                if wait <= 0:
                    return heapq.heappop(self._heap)[2]
                self._changed.wait(wait)
            self._timer = None
            return None


def _log_failure(future: Future[object]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.error("Background work of the emulator failed", exc_info=error)
