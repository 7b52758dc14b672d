# SPDX-License-Identifier: Apache-2.0
"""The shared poller: one notification list for all waiting tasks of an account."""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_piktid.exceptions import (
    PiktidAuthError,
    PiktidConnectionError,
    PiktidInvalidRequestError,
    PiktidRateLimitError,
    PiktidServerError,
)
from airflow_provider_piktid.hooks.settings import PiktidSettings
from airflow_provider_piktid.models.v1 import PersonNotification
from airflow_provider_piktid.person.matching import AwaitedGeneration
from airflow_provider_piktid.person.poller import Poller, PollRequest, PollResult, shared_poller

pytestmark = pytest.mark.anyio


class Account:
    """Replaces a client: its notifications and failures are set by the test."""

    def __init__(self) -> None:
        self.listed: list[PersonNotification] = []
        self.failures: list[Exception] = []
        self.polls: list[float] = []
        self.open = 0
        self.polled = asyncio.Event()

    async def connect(self) -> Any:
        self.open += 1
        return self

    async def aclose(self) -> None:
        self.open -= 1

    async def list_notifications(self) -> list[PersonNotification]:
        self.polls.append(time.monotonic())
        self.polled.set()
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        return list(self.listed)

    async def next_polls(self, count: int) -> None:
        for _ in range(count):
            self.polled.clear()
            await asyncio.wait_for(self.polled.wait(), 60)

    def finish(self, name: str, number: int = 1, *, at: float | None = None) -> None:
        data = {"address": name, "id_person": 0, "keyword": "Africa", "links": [{"l": "http://u"}]}
        self.listed.append(PersonNotification(id=number, name="edit_generate", timestamp=at, data=data))

    def fail(self) -> None:
        self.listed.append(
            PersonNotification(id=99, name="error", timestamp=time.time(), data={"tasks": "edit_generate"})
        )


def want(name: str) -> AwaitedGeneration:
    return AwaitedGeneration(name, name, 0, ("location", "africa"), time.time() - 1)


def watch(*names: str, **more: Any) -> PollRequest:
    return PollRequest([want(name) for name in names], **more)


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def shared(account: Account) -> Poller:
    return Poller(account.connect, interval=0.05)


async def within(task: Any) -> PollResult:
    return await asyncio.wait_for(task, 60)


async def test_fifty_tasks_share_one_poller(account: Account, shared: Poller) -> None:
    """Fifty tasks share the polls, which keep their interval, and each task gets its own result."""
    tasks = [asyncio.create_task(shared.wait(watch(f"i{number}"))) for number in range(50)]
    await account.next_polls(3)
    for number in range(50):
        account.finish(f"i{number}", number)
    results = await asyncio.gather(*(within(task) for task in tasks))
    assert {result.ending for result in results} == {"done"}
    assert [result.findings.ids for result in results] == [[number] for number in range(50)]
    gaps = [later - earlier for earlier, later in zip(account.polls, account.polls[1:], strict=False)]
    assert min(gaps) >= 0.05
    assert len(account.polls) <= 6


async def test_each_account_has_one_poller(account: Account) -> None:
    """Tasks of one account share a poller, and another account has another one."""
    assert shared_poller("a", account.connect, 3.0) is shared_poller("a", account.connect, 3.0)
    assert shared_poller("a", account.connect, 3.0) is not shared_poller("b", account.connect, 3.0)


async def test_interval_is_kept_between_waits(account: Account, shared: Poller) -> None:
    """Polls keep their interval also between waits that follow each other."""
    account.finish("i")
    for _ in range(4):
        await within(shared.wait(watch("i")))
    gaps = [later - earlier for earlier, later in zip(account.polls, account.polls[1:], strict=False)]
    assert min(gaps) >= 0.05


def test_default_interval_is_the_documented_one() -> None:
    """The default poll interval is 3 seconds, as PiktID documents."""
    assert PiktidSettings("c", None, None, None).v1_poll_interval == 3.0


async def test_polling_stops_after_the_last_wait(account: Account, shared: Poller) -> None:
    """After the last wait the client is closed and the polling stops."""
    account.finish("i")
    await within(shared.wait(watch("i")))
    count = len(account.polls)
    await asyncio.sleep(0.15)
    assert (len(account.polls), account.open) == (count, 0)


async def test_temporary_errors_do_not_end_the_wait(account: Account, shared: Poller) -> None:
    """Connection errors, HTTP 5xx, HTTP 429 and unexpected errors do not end the wait."""
    account.failures = [
        PiktidConnectionError("cut"),
        PiktidServerError("503", status=503),
        PiktidRateLimitError("429", status=429),
        RuntimeError("surprise"),
    ]
    account.finish("i")
    assert (await within(shared.wait(watch("i")))).ending == "done"
    assert len(account.polls) == 5


async def test_permanent_error_ends_every_wait(account: Account, shared: Poller) -> None:
    """A refused login raises ``PiktidAuthError`` in every waiting task."""
    account.failures = [PiktidAuthError("no", status=401)]
    outcomes = await asyncio.gather(*(shared.wait(watch(name)) for name in "ab"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [PiktidAuthError, PiktidAuthError]


async def test_deadline_ends_the_wait(shared: Poller, account: Account) -> None:
    """At the deadline the wait returns what was found, also if the service never responds."""
    account.finish("i")
    result = await within(shared.wait(watch("i", "j", end_time=time.time() + 0.2)))
    assert (result.ending, list(result.findings.found)) == ("timeout", ["i"])
    hung = Poller(asyncio.Event().wait, interval=0.05, first_look=0.1)  # type: ignore[arg-type]
    assert (await within(hung.wait(watch("i", end_time=time.time() + 0.1)))).ending == "timeout"


async def test_wait_that_begins_after_its_deadline_looks_once(shared: Poller, account: Account) -> None:
    """What ended while nobody waited, as no triggerer ran, is found."""
    account.finish("i")
    result = await within(shared.wait(watch("i", "j", end_time=time.time() - 1)))
    assert (result.ending, list(result.findings.found), len(account.polls)) == ("timeout", ["i"], 1)


async def test_resume_time_ends_the_wait_with_what_was_found(shared: Poller, account: Account) -> None:
    """At ``resume_at``, and not before, the wait returns what was found."""
    account.finish("i")
    moment = time.time() + 0.2
    result = await within(shared.wait(watch("i", resume_at=moment)))
    assert (result.ending, list(result.findings.found)) == ("slot", ["i"])
    assert time.time() >= moment


async def test_old_result_ends_the_wait_before_it_expires(shared: Poller, account: Account) -> None:
    """A result that is about to expire ends the wait, although another result is missing."""
    account.finish("i", at=time.time() - 301)
    result = await within(shared.wait(watch("i", "j")))
    assert (result.ending, list(result.findings.found)) == ("slot", ["i"])


async def test_result_without_timestamp_ages_from_when_it_was_seen(shared: Poller, account: Account) -> None:
    """The age of a result without a timestamp is counted from when it was first seen."""
    account.finish("i")
    result = await within(shared.wait(watch("i", "j", collect_after=0.1)))
    assert result.ending == "slot"


async def test_first_request_keeps_the_interval_to_that_of_the_worker(account: Account) -> None:
    """A task that has just listed the notifications itself is followed by a request after the interval."""
    account.finish("i")
    began = time.monotonic()

    await within(Poller(account.connect, interval=0.5).wait(watch("i", listed_at=time.time())))

    assert account.polls[0] - began >= 0.4


async def test_clock_of_the_worker_may_be_ahead(account: Account) -> None:
    """A time of the worker that lies in the future delays the first request by one interval at most."""
    account.finish("i")

    await within(Poller(account.connect, interval=0.2).wait(watch("i", listed_at=time.time() + 3600)))


def test_event_loops_of_one_process_keep_the_interval_together(account: Account) -> None:
    """Waits that follow each other in event loops of their own keep the interval, as in ``DAG.test()``."""
    account.finish("i")

    async def wait() -> PollResult:
        account.polled = asyncio.Event()
        return await within(shared_poller("one account", account.connect, 0.3).wait(watch("i")))

    results = [asyncio.run(wait()) for _ in range(2)]

    assert account.polls[1] - account.polls[0] >= 0.3
    assert [result.listed_at for result in results] == sorted(result.listed_at for result in results)


async def test_poller_carries_no_context_of_the_first_task(account: Account) -> None:
    """The requests do not run in the context of the task that came first, nor do their log lines."""
    trigger: ContextVar[str] = ContextVar("trigger", default="none")
    contexts: list[str] = []

    async def connect() -> Any:
        contexts.append(trigger.get())
        return account

    trigger.set("first")
    account.finish("i")
    await within(Poller(connect, interval=0.01).wait(watch("i")))

    assert contexts == ["none"]


async def test_deleted_notification_is_not_forgotten(shared: Poller, account: Account) -> None:
    """A result whose notification is deleted during the wait is still returned."""
    account.finish("i")
    task = asyncio.create_task(shared.wait(watch("i", "j")))
    await account.next_polls(2)
    account.listed.clear()
    await account.next_polls(2)
    account.finish("j", 2)
    assert sorted((await within(task)).findings.found) == ["i", "j"]


async def test_error_without_ids_fails_no_task(shared: Poller, account: Account) -> None:
    """An error without ids does not fail the only task of this process, as others may run elsewhere."""
    account.fail()
    task = asyncio.create_task(shared.wait(watch("a")))
    await account.next_polls(3)
    assert not task.done()
    account.finish("a")
    findings = (await within(task)).findings
    assert (list(findings.found), findings.failed, findings.unnamed) == (["a"], {}, ["no reason given"])


class Filtering(Account):
    """An account whose server knows which request an error is about."""

    filters = True
    refuses = False

    async def list_notifications(self, *, id_task: str | None = None) -> list[PersonNotification]:
        listed = await super().list_notifications()
        if id_task is not None and self.refuses:
            raise PiktidInvalidRequestError("no such filter", status=422)
        return listed if id_task in (None, "task-b") or not self.filters else []


def sent(name: str) -> AwaitedGeneration:
    return replace(want(name), id_task=f"task-{name}")


async def test_error_without_ids_fails_the_request_that_piktid_shows_it_for() -> None:
    """An error without ids is attributed by asking for the errors of each request; the other request goes on."""
    account = Filtering()
    account.fail()
    poller = Poller(account.connect, interval=0.01)
    task = asyncio.create_task(poller.wait(PollRequest([sent("a"), sent("b")])))
    await account.next_polls(8)
    account.finish("a")
    findings = (await within(task)).findings

    assert (list(findings.found), list(findings.failed)) == (["a"], ["b"])
    assert 99 in findings.ids


@pytest.mark.parametrize("fault", ["ignores", "refuses"])
async def test_server_without_the_filter_is_not_believed(fault: str) -> None:
    """If the server ignores or refuses the filter, an error without ids is left to the deadline."""
    account = Filtering()
    account.filters, account.refuses = fault != "ignores", fault == "refuses"
    account.fail()
    poller = Poller(account.connect, interval=0.01)
    task = asyncio.create_task(poller.wait(PollRequest([sent("b")])))
    await account.next_polls(8)
    account.finish("b")
    findings = (await within(task)).findings

    assert (list(findings.found), findings.failed) == (["b"], {})


async def test_cancelled_wait_does_not_end_the_others(shared: Poller, account: Account) -> None:
    """A cancelled wait does not end the wait of another task."""
    first, second = (asyncio.create_task(shared.wait(watch(name))) for name in "ab")
    await account.next_polls(1)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    account.finish("b")
    assert (await within(second)).ending == "done"
