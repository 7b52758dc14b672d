# SPDX-License-Identifier: Apache-2.0
"""The scheduler."""

from __future__ import annotations

import logging
from queue import SimpleQueue

import pytest

from airflow_provider_piktid.emulator.scheduler import Scheduler


def test_callbacks_run_in_order_of_time() -> None:
    """Callbacks run by due time; those with equal times in the order of scheduling."""
    scheduler, seen = Scheduler(), SimpleQueue[str]()

    def schedule() -> None:
        # On the timer's thread: none of them runs before all are scheduled, however busy the machine is.
        scheduler.call_later(0.2, lambda: seen.put("late"))
        scheduler.call_later(0.0, lambda: seen.put("first"))
        scheduler.call_later(0.0, lambda: seen.put("second"))

    scheduler.call_later(0.0, schedule)
    assert [seen.get(timeout=30) for _ in range(3)] == ["first", "second", "late"]
    scheduler.close()


def test_timer_starts_again_after_it_ended() -> None:
    """The timer thread ends when nothing is scheduled, and starts again."""
    scheduler, seen = Scheduler(), SimpleQueue[int]()
    for number in range(3):
        scheduler.call_later(0.0, lambda number=number: seen.put(number))  # type: ignore[misc]
        assert seen.get(timeout=30) == number
    scheduler.close()


def test_failing_callback_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """An error is logged, and the next callback runs."""
    scheduler, seen = Scheduler(), SimpleQueue[str]()
    with caplog.at_level(logging.ERROR):
        scheduler.call_later(0.0, lambda: 1 // 0)
        scheduler.call_later(0.0, lambda: seen.put("next"))
        assert seen.get(timeout=30) == "next"
    scheduler.close()
    assert "failed" in caplog.text


def test_nothing_runs_after_close() -> None:
    """A closed scheduler accepts no work."""
    scheduler, seen = Scheduler(), SimpleQueue[str]()
    scheduler.call_later(1000, lambda: seen.put("never"))
    scheduler.close()
    scheduler.call_later(0.0, lambda: seen.put("never"))
    scheduler.submit(seen.put, "never")
    assert seen.empty()
