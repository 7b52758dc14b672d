# SPDX-License-Identifier: Apache-2.0
"""Waiting tasks of one process are admitted in turn, as the account limits allow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_piktid.jobs.queue import KEPT_SECONDS, AccountLimits, AdmissionQueue, admission_queue

pytestmark = pytest.mark.anyio

#: Limits that no test reaches.
WIDE = AccountLimits(jobs_per_minute=1000, active_jobs=1000)
SOON = 5.0
#: A delay that is longer than any test.
LONG = 100.0


class Line:
    """Tasks that wait in one queue, and the order in which they were admitted."""

    def __init__(self, limits: AccountLimits = WIDE, **queue: float) -> None:
        self.gate = AdmissionQueue(**queue)
        self.limits = limits
        self.passed: list[str] = []
        self.tickets: dict[str, str] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def join(self, *names: str, delay: float = 0.0, **options: Any) -> None:
        """Add tasks to the queue in order and admit those that may go."""

        async def go(name: str) -> None:
            self.tickets[name] = await self.gate.turn(self.limits, delay, **options)
            self.passed.append(name)

        for name in names:
            self.tasks[name] = asyncio.create_task(go(name))
        await self.settle()

    async def settle(self) -> None:
        """Run the event loop until woken tasks have continued."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def all(self) -> None:
        await asyncio.wait_for(asyncio.gather(*self.tasks.values()), SOON)

    def leave(self) -> None:
        for task in self.tasks.values():
            task.cancel()


async def test_tasks_are_admitted_in_order() -> None:
    """Within the limits all tasks are admitted at once, in order."""
    line = Line()

    await line.join("a", "b", "c")

    assert line.passed == ["a", "b", "c"]


async def test_delay_is_respected() -> None:
    """A task with a delay is admitted after the delay."""
    line = Line()

    await line.join("a", delay=0.1)
    assert line.passed == []
    await line.all()

    assert line.passed == ["a"]


async def test_task_without_delay_does_not_wait_for_one_with() -> None:
    """A task without a delay is admitted before an earlier task that has one."""
    line = Line()

    await line.join("a", delay=LONG)
    await line.join("b")

    assert line.passed == ["b"]
    line.leave()


async def test_rate_limit_admits_as_many_tasks_as_the_window_allows() -> None:
    """``jobs_per_minute`` tasks are admitted in a window; the others follow in order."""
    line = Line(AccountLimits(jobs_per_minute=2, active_jobs=100, rate_window=0.2))

    await line.join("a", "b", "c", "d", "e")
    assert line.passed == ["a", "b"]
    await line.all()

    assert line.passed == ["a", "b", "c", "d", "e"]


async def test_watched_jobs_count_as_active() -> None:
    """Watched jobs count for the active-job limit; the end of one admits one task."""
    line = Line(AccountLimits(jobs_per_minute=100, active_jobs=2))

    with line.gate.watching(["j1", "j2"]) as watching:
        await line.join("a", "b", "c")
        assert line.passed == []
        watching.ended("j1")
        await line.settle()
        assert line.passed == ["a"]
    line.leave()


async def test_job_watched_twice_counts_once() -> None:
    """A job that two triggers watch counts once."""
    line = Line(AccountLimits(jobs_per_minute=100, active_jobs=2))

    with line.gate.watching(["j1"]), line.gate.watching(["j1"]):
        await line.join("a")

    assert line.passed == ["a"]


async def test_unwatched_job_does_not_count() -> None:
    """A job that is no longer watched does not count as active."""
    line = Line(AccountLimits(jobs_per_minute=100, active_jobs=1))

    with line.gate.watching(["j1"]):
        pass
    await line.join("a")

    assert line.passed == ["a"]


async def test_end_of_a_job_admits_only_the_first_task() -> None:
    """The end of a job ends the delay of the first task only."""
    line = Line()
    with line.gate.watching(["j1"]) as watching:
        await line.join("a", "b", "c", delay=LONG)

        watching.ended("j1")
        await line.settle()

    assert line.passed == ["a"]
    line.leave()


async def test_end_of_a_job_does_not_admit_a_task_at_the_rate_limit() -> None:
    """The end of a job does not admit a task that waits for the rate limit."""
    line = Line()
    with line.gate.watching(["j1"]) as watching:
        await line.join("rate", delay=LONG, until_job_ends=False)
        await line.join("slot", delay=LONG)

        watching.ended("j1")
        await line.settle()

    assert line.passed == ["slot"]
    line.leave()


async def test_end_of_a_job_counts_once() -> None:
    """A job's end is counted once, and the end of an unwatched job is ignored."""
    line = Line()
    with line.gate.watching(["j1"]) as watching:
        await line.join("a", "b", delay=LONG)

        watching.ended("j1")
        watching.ended("j1")
        watching.ended("somebody-else")
        await line.settle()

    assert line.passed == ["a"]
    line.leave()


async def test_admitted_task_counts_until_its_job_is_watched() -> None:
    """An admitted task counts as active until its job is watched; then the job counts."""
    line = Line(AccountLimits(jobs_per_minute=100, active_jobs=1))
    await line.join("a", "b")
    assert line.passed == ["a"]

    with line.gate.watching(["job-of-a"], ticket=line.tickets["a"]) as watching:
        await line.settle()
        assert line.passed == ["a"]
        watching.ended("job-of-a")
        await line.settle()

    assert line.passed == ["a", "b"]


async def test_admitted_task_counts_with_all_jobs_that_it_may_submit() -> None:
    """A second task is not admitted for slots that the first one takes, and is once that one has returned."""
    line = Line(AccountLimits(jobs_per_minute=100, active_jobs=5))
    await line.join("a", "b", jobs=5)
    assert line.passed == ["a"]

    with line.gate.watching(["j1", "j2"], ticket=line.tickets["a"]):
        await line.settle()

    assert line.passed == ["a", "b"]


async def test_task_with_more_jobs_than_there_is_room_for_is_admitted_at_the_first_free_slot() -> None:
    """A task with many jobs does not wait for room for all of them."""
    line = Line(AccountLimits(jobs_per_minute=100, active_jobs=5))

    with line.gate.watching(["j1", "j2", "j3", "j4", "j5"]) as watching:
        await line.join("a", "b", delay=LONG, jobs=30)
        watching.ended("j1")
        await line.settle()
        assert line.passed == ["a"]
        watching.ended("j2")
        await line.settle()

    assert line.passed == ["a"]
    line.leave()


async def test_jobs_of_an_admitted_task_count_for_the_rate() -> None:
    """The jobs that an admitted task may submit count for the rate limit, at most as many as the window allows."""
    line = Line(AccountLimits(jobs_per_minute=5, active_jobs=100, rate_window=LONG))

    await line.join("a", jobs=3)
    await line.join("b", jobs=30)
    await line.join("c")

    assert line.passed == ["a", "b"]
    with line.gate.watching([], ticket=line.tickets["b"]):
        await line.settle()
    assert line.passed == ["a", "b", "c"]
    line.leave()


async def test_task_that_returns_without_a_job_releases_its_turn() -> None:
    """A task that returns its ticket without a job no longer counts, and the next task is admitted."""
    line = Line(AccountLimits(jobs_per_minute=1, active_jobs=1, rate_window=LONG))
    await line.join("a", "b")
    assert line.passed == ["a"]

    await line.join("a again", delay=LONG, ticket=line.tickets["a"])

    assert line.passed == ["a", "b"]
    line.leave()


async def test_rate_is_counted_from_the_submission() -> None:
    """The rate is counted from the submission of a job, not from its admission."""
    line = Line(AccountLimits(jobs_per_minute=1, active_jobs=100, rate_window=LONG))
    await line.join("a", "b")
    assert line.passed == ["a"]

    with line.gate.watching(["job-of-a"], {"job-of-a": time.time() - LONG}, ticket=line.tickets["a"]):
        await line.settle()

    assert line.passed == ["a", "b"]


async def test_jobs_of_tasks_that_never_waited_count_for_the_rate() -> None:
    """Watched jobs of tasks that never waited count for the rate."""
    line = Line(AccountLimits(jobs_per_minute=1, active_jobs=100, rate_window=LONG))

    with line.gate.watching(["j1"], {"j1": time.time()}):
        await line.join("a")

    assert line.passed == []
    line.leave()


async def test_admitted_task_without_a_job_frees_its_slot() -> None:
    """An admitted task whose job is not watched within ``settling`` seconds frees its slot."""
    line = Line(AccountLimits(jobs_per_minute=100, active_jobs=1), settling=0.1)

    await line.join("a", "b")
    await line.all()

    assert line.passed == ["a", "b"]


async def test_task_is_admitted_after_the_maximum_wait() -> None:
    """After ``patience`` seconds a task is admitted even if the account seems to have no free slot."""
    line = Line(AccountLimits(jobs_per_minute=100, active_jobs=1), patience=0.1)

    with line.gate.watching(["j1"]):
        await line.join("a")
        assert line.passed == []
        await line.all()

    assert line.passed == ["a"]


async def test_cancelled_task_leaves_the_queue() -> None:
    """A cancelled task leaves the queue, and the next one is admitted."""
    line = Line(AccountLimits(jobs_per_minute=100, active_jobs=1))
    with line.gate.watching(["j1"]) as watching:
        await line.join("a", "b")
        line.tasks["a"].cancel()
        await line.settle()
        watching.ended("j1")
        await line.settle()

    assert line.passed == ["b"]


async def test_each_account_has_its_own_queue() -> None:
    """Each account has a queue of its own."""
    assert admission_queue("one") is admission_queue("one")
    assert admission_queue("one") is not admission_queue("two")


def test_each_event_loop_has_its_own_queue() -> None:
    """Each event loop has a queue of its own."""

    async def current() -> AdmissionQueue:
        return admission_queue("one")

    run: Callable[..., AdmissionQueue] = asyncio.run
    assert run(current()) is not run(current())


async def test_old_submissions_are_forgotten() -> None:
    """A triggerer that lives for weeks does not collect every job that it ever saw."""
    gate = AdmissionQueue()
    for number in range(50):
        with gate.watching([f"job-{number}"], {f"job-{number}": time.time() - KEPT_SECONDS - 1}):
            pass

    with gate.watching(["new"], {"new": time.time()}):
        assert set(gate._submitted) == {"new"}
