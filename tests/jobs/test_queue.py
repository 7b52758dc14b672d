# SPDX-License-Identifier: Apache-2.0
"""Waiting tasks of one process take turns, one for each slot that is likely."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_piktid.jobs import queue
from airflow_provider_piktid.jobs.queue import AccountLimits, AdmissionQueue, admission_queue

pytestmark = pytest.mark.anyio

#: AccountLimits that never hold anybody up.
WIDE = AccountLimits(jobs_per_minute=1000, active_jobs=1000)
SOON = 5.0
#: A delay that no test waits out.
LONG = 100.0


class Line:
    """Tasks that wait in one queue; remembers in which order they went through."""

    def __init__(self, limits: AccountLimits = WIDE) -> None:
        self.gate = AdmissionQueue()
        self.limits = limits
        self.passed: list[str] = []
        self.tickets: dict[str, str] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def join(self, *names: str, delay: float = 0.0, **options: Any) -> None:
        """Let tasks queue up, in order, and let those through that may go."""

        async def go(name: str) -> None:
            self.tickets[name] = await self.gate.turn(self.limits, delay, **options)
            self.passed.append(name)

        for name in names:
            self.tasks[name] = asyncio.create_task(go(name))
        await self.settle()

    async def settle(self) -> None:
        """Give the loop the rounds that waking takes."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def all(self) -> None:
        await asyncio.wait_for(asyncio.gather(*self.tasks.values()), SOON)

    def leave(self) -> None:
        for task in self.tasks.values():
            task.cancel()


async def test_free_account_lets_everybody_through_in_order() -> None:
    """Nobody waits without a reason."""
    line = Line()

    await line.join("a", "b", "c")

    assert line.passed == ["a", "b", "c"]


async def test_delay_is_waited_out() -> None:
    """The server said not to come back before."""
    line = Line()

    await line.join("a", delay=0.1)
    assert line.passed == []
    await line.all()

    assert line.passed == ["a"]


async def test_task_without_delay_does_not_wait_for_one_with() -> None:
    """Being told to wait is no place at the head of the queue."""
    line = Line()

    await line.join("a", delay=LONG)
    await line.join("b")

    assert line.passed == ["b"]
    line.leave()


async def test_rate_lets_as_many_through_as_the_window_takes() -> None:
    """The next goes when the first of them is a window old."""
    line = Line(AccountLimits(jobs_per_minute=2, active_jobs=100, rate_window=0.2))

    await line.join("a", "b", "c", "d", "e")
    assert line.passed == ["a", "b"]
    await line.all()

    assert line.passed == ["a", "b", "c", "d", "e"]


async def test_watched_jobs_fill_the_account() -> None:
    """Jobs that run leave no slot, and one that ends leaves one."""
    line = Line(AccountLimits(jobs_per_minute=100, active_jobs=2))

    with line.gate.watching(["j1", "j2"]) as watching:
        await line.join("a", "b", "c")
        assert line.passed == []
        watching.ended("j1")
        await line.settle()
        assert line.passed == ["a"]
    line.leave()


async def test_job_watched_twice_counts_once() -> None:
    """A trigger may run twice at once."""
    line = Line(AccountLimits(jobs_per_minute=100, active_jobs=2))

    with line.gate.watching(["j1"]), line.gate.watching(["j1"]):
        await line.join("a")

    assert line.passed == ["a"]


async def test_trigger_that_stops_watching_makes_room() -> None:
    """What is not watched any more is not known to be active."""
    line = Line(AccountLimits(jobs_per_minute=100, active_jobs=1))

    with line.gate.watching(["j1"]):
        pass
    await line.join("a")

    assert line.passed == ["a"]


async def test_end_of_a_job_cuts_the_delay_of_the_first_only() -> None:
    """One slot, one task: no herd."""
    line = Line()
    with line.gate.watching(["j1"]) as watching:
        await line.join("a", "b", "c", delay=LONG)

        watching.ended("j1")
        await line.settle()

    assert line.passed == ["a"]
    line.leave()


async def test_end_of_a_job_does_not_cut_the_wait_for_a_window() -> None:
    """A rate limit is not mended by a job that ends; who waits for a slot goes first."""
    line = Line()
    with line.gate.watching(["j1"]) as watching:
        await line.join("rate", delay=LONG, until_job_ends=False)
        await line.join("slot", delay=LONG)

        watching.ended("j1")
        await line.settle()

    assert line.passed == ["slot"]
    line.leave()


async def test_end_is_told_once() -> None:
    """A job cannot end twice."""
    line = Line()
    with line.gate.watching(["j1"]) as watching:
        await line.join("a", "b", delay=LONG)

        watching.ended("j1")
        watching.ended("j1")
        watching.ended("somebody-else")
        await line.settle()

    assert line.passed == ["a"]
    line.leave()


async def test_task_let_through_counts_until_its_job_is_watched() -> None:
    """Between the turn and the new trigger the slot is taken already; then the job itself counts."""
    line = Line(AccountLimits(jobs_per_minute=100, active_jobs=1))
    await line.join("a", "b")
    assert line.passed == ["a"]

    with line.gate.watching(["job-of-a"], ticket=line.tickets["a"]) as watching:
        await line.settle()
        assert line.passed == ["a"]
        watching.ended("job-of-a")
        await line.settle()

    assert line.passed == ["a", "b"]


async def test_task_that_comes_back_without_a_job_gives_its_turn_away() -> None:
    """The server refused it: neither a submission nor an active job came of that turn."""
    line = Line(AccountLimits(jobs_per_minute=1, active_jobs=1, rate_window=LONG))
    await line.join("a", "b")
    assert line.passed == ["a"]

    await line.join("a again", delay=LONG, ticket=line.tickets["a"])

    assert line.passed == ["a", "b"]
    line.leave()


async def test_rate_is_counted_by_when_jobs_were_submitted() -> None:
    """The server counts from the submission, whenever the turn was."""
    line = Line(AccountLimits(jobs_per_minute=1, active_jobs=100, rate_window=LONG))
    await line.join("a", "b")
    assert line.passed == ["a"]

    with line.gate.watching(["job-of-a"], {"job-of-a": time.time() - LONG}, ticket=line.tickets["a"]):
        await line.settle()

    assert line.passed == ["a", "b"]


async def test_jobs_of_tasks_that_never_waited_count_for_the_rate() -> None:
    """Whoever submitted them, they fill the window."""
    line = Line(AccountLimits(jobs_per_minute=1, active_jobs=100, rate_window=LONG))

    with line.gate.watching(["j1"], {"j1": time.time()}):
        await line.join("a")

    assert line.passed == []
    line.leave()


async def test_task_let_through_whose_job_never_comes_frees_its_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that was refused or died does not block the others for ever."""
    monkeypatch.setattr(queue, "SETTLING_SECONDS", 0.1)
    line = Line(AccountLimits(jobs_per_minute=100, active_jobs=1))

    await line.join("a", "b")
    await line.all()

    assert line.passed == ["a", "b"]


async def test_patience_ends_even_if_the_account_looks_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process believes may be wrong; the server is asked now and then."""
    monkeypatch.setattr(queue, "PATIENCE_SECONDS", 0.1)
    line = Line(AccountLimits(jobs_per_minute=100, active_jobs=1))

    with line.gate.watching(["j1"]):
        await line.join("a")
        assert line.passed == []
        await line.all()

    assert line.passed == ["a"]


async def test_task_that_gives_up_lets_the_next_one_in() -> None:
    """A killed task leaves the queue."""
    line = Line(AccountLimits(jobs_per_minute=100, active_jobs=1))
    with line.gate.watching(["j1"]) as watching:
        await line.join("a", "b")
        line.tasks["a"].cancel()
        await line.settle()
        watching.ended("j1")
        await line.settle()

    assert line.passed == ["b"]


async def test_each_account_has_its_own_queue() -> None:
    """Connections do not wait for each other."""
    assert admission_queue("one") is admission_queue("one")
    assert admission_queue("one") is not admission_queue("two")


def test_each_event_loop_has_its_own_queue() -> None:
    """Events of one loop cannot wake tasks of another."""

    async def current() -> AdmissionQueue:
        return admission_queue("one")

    run: Callable[..., AdmissionQueue] = asyncio.run
    assert run(current()) is not run(current())
