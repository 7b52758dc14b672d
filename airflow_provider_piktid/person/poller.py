# SPDX-License-Identifier: Apache-2.0
"""
One poller of notifications for all tasks that wait on an account.

PiktID allows one request every 3 seconds for an account, for all tasks together. So there is one poller for each
account and event loop, and it polls as long as a task has outstanding generations. The pollers of all event loops of
this process keep the interval together; worker and triggerer hand the time of the last request to each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from airflow_provider_piktid.common.shared import PerLoop, end_shared, start_shared
from airflow_provider_piktid.exceptions import TRANSIENT_ERRORS, PiktidError
from airflow_provider_piktid.person.attribution import ErrorSearch
from airflow_provider_piktid.person.matching import AwaitedGeneration, Findings, match

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidV1Client, PiktidV1Client
    from airflow_provider_piktid.hooks.piktid import PiktidSettings
    from airflow_provider_piktid.models.v1 import PersonNotification

log = logging.getLogger(__name__)

#: Maximum pause while the service does not answer, as notifications expire after 600 s.
LONGEST_PAUSE = 30.0
#: Seconds that a wait has for its first list, also after its deadline: nobody may have waited until then.
FIRST_LOOK = 30.0

Ending = Literal["done", "slot", "timeout"]
Connect = Callable[[], Awaitable["AsyncPiktidV1Client"]]


@dataclass(frozen=True)
class PollRequest:
    """
    The wait of one task.

    :param awaited: The generations; if empty, wait only until ``resume_at``.
    :param used: Identities of notifications to skip. Default: none.
    :param resume_at: Epoch seconds at which the wait always ends, with ``slot``. Default: none, wait for all.
    :param end_time: Deadline, epoch seconds. A wait that begins late still lists the notifications once. Default: none.
    :param collect_after: Seconds after which a result is returned even if others are still outstanding, as its
        notification expires. Default: 300.
    :param listed_at: Epoch seconds at which the task itself listed the notifications; the next request keeps the
        interval to it. Default: 0, never.
    """

    awaited: Sequence[AwaitedGeneration]
    used: Collection[int | str] = ()
    resume_at: float | None = None
    end_time: float = float("inf")
    collect_after: float = 300.0
    listed_at: float = 0.0


@dataclass
class PollResult:
    """
    How a wait ended, and its findings.

    :param listed_at: Epoch seconds of the last request; the next one keeps the interval to it. 0: there was none.
    """

    ending: Ending
    findings: Findings
    listed_at: float = 0.0


@dataclass
class LastRequest:
    """The time of the last request of an account, ``time.monotonic()``."""

    at: float = float("-inf")


@dataclass(eq=False)
class _Waiter:
    request: PollRequest
    on_change: Callable[[Findings], None]
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    findings: Findings = field(default_factory=Findings)
    first_seen: dict[str, float] = field(default_factory=dict)
    #: Whether the notifications were listed for it, or could not be.
    looked: bool = False
    error: BaseException | None = None

    @property
    def complete(self) -> bool:
        return len(self.findings.settled) >= len(self.request.awaited)

    @property
    def unsettled(self) -> list[AwaitedGeneration]:
        return [item for item in self.request.awaited if item.name not in self.findings.settled]

    @property
    def open(self) -> int:
        return len(self.request.awaited) - len(self.findings.settled)

    def note_look(self) -> None:
        if not self.looked:
            self.looked = True
            self.changed.set()


class Poller:
    """
    Polls the notifications of an account while tasks wait.

    :param connect: Returns a client; called when the first task starts to wait, and after a failure.
    :param interval: Seconds from an answer to the next request.
    :param last: Shared with the other pollers of the account. Default: none, there are no others.
    :param first_look: Seconds that a wait has for its first list, also after its deadline. Default: 30.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        interval: float,
        last: LastRequest | None = None,
        clock: Callable[[], float] = time.time,
        first_look: float = FIRST_LOOK,
    ) -> None:
        self._connect = connect
        self._interval = interval
        self._clock = clock
        self._first_look = first_look
        self._waiters: list[_Waiter] = []
        self._task: asyncio.Task[None] | None = None
        self._last = last or LastRequest()
        self._failures = 0
        self._search = ErrorSearch()

    async def wait(
        self,
        request: PollRequest,
        *,
        connect: Connect | None = None,
        on_change: Callable[[Findings], None] | None = None,
    ) -> PollResult:
        """
        Return when all generations have ended, a result must be downloaded, or a deadline has passed.

        :param connect: Replaces that of the poller, as the newest task has the current connection. Default: none.
        :raises PiktidError: The service refuses for a reason that waiting does not resolve.
        """
        self._connect = connect or self._connect
        age = max(0.0, self._clock() - request.listed_at)
        self._last.at = max(self._last.at, time.monotonic() - age)
        waiter = _Waiter(request, on_change or (lambda findings: None))
        if request.awaited:
            self._waiters.append(waiter)
            if self._task is None or self._task.done():
                self._task = start_shared(self._run())
        try:
            ending = await self._until(waiter)
            listed_at = self._clock() - (time.monotonic() - self._last.at)
            return PollResult(ending, waiter.findings, max(0.0, listed_at))
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            await self._stop_if_idle()

    async def _until(self, waiter: _Waiter) -> Ending:
        request = waiter.request
        latest = max(request.end_time, self._clock() + self._first_look if request.awaited else 0.0)
        while True:
            now = self._clock()
            if waiter.error is not None:
                raise waiter.error
            if request.resume_at is not None and now >= request.resume_at:
                return "slot"
            if waiter.complete and request.resume_at is None:
                return "done"
            end_time = request.end_time if waiter.looked else latest
            if now >= end_time:
                return "timeout"
            due = self._due(waiter)
            if now >= due:
                return "slot"
            until = min(end_time, due, request.resume_at if request.resume_at is not None else float("inf"))
            waiter.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if until == float("inf") else until - now):
                    await waiter.changed.wait()

    def _due(self, waiter: _Waiter) -> float:
        """Return when the oldest result has to be returned."""
        return min(waiter.first_seen.values(), default=float("inf")) + waiter.request.collect_after

    async def _stop_if_idle(self) -> None:
        """Stop polling if no task waits."""
        if not self._waiters and self._task is not None:
            task, self._task = self._task, None
            await end_shared(task)

    async def _run(self) -> None:
        client: AsyncPiktidV1Client | None = None
        try:
            while True:
                await self._turn()
                if not any(waiter.open for waiter in self._waiters):
                    await asyncio.sleep(self._interval)
                    continue
                # Now and not only afterwards: another event loop must not send its request meanwhile.
                self._last.at = time.monotonic()
                try:
                    client = client or await self._connect()
                    await self._poll(client)
                    self._failures = 0
                except Exception as error:  # noqa: BLE001 - if the poller ends, all tasks wait forever
                    self._handle_failure(error)
                    if client is not None:
                        await client.aclose()
                    client = None
                finally:
                    self._last.at = time.monotonic()
        finally:
            if client is not None:
                await client.aclose()

    async def _turn(self) -> None:
        """Wait until the interval to the last request of the account has passed."""
        while (seconds := self._last.at + self._pause() - time.monotonic()) > 0:  # noqa: ASYNC110 - of any loop
            await asyncio.sleep(seconds)

    async def _poll(self, client: AsyncPiktidV1Client) -> None:
        """List the notifications, or ask which request an error without ids is about."""
        question = self._search.question()
        if question is not None:
            try:
                self._search.answer(question, await client.list_notifications(id_task=question))
            except TRANSIENT_ERRORS:
                raise
            except PiktidError:
                self._search.give_up()
            return
        listed = self._search.named(await client.list_notifications())
        self._distribute(listed)
        self._search.look_for(listed, [item for waiter in self._waiters for item in waiter.unsettled])

    def _pause(self) -> float:
        return min(self._interval * 2.0 ** min(self._failures, 8), max(LONGEST_PAUSE, self._interval))

    def _handle_failure(self, error: Exception) -> None:
        """Continue after a transient error; raise any other error in all waiting tasks."""
        self._failures += 1
        for waiter in self._waiters:
            waiter.note_look()
        if isinstance(error, PiktidError) and not isinstance(error, TRANSIENT_ERRORS):
            for waiter in self._waiters:
                waiter.error = error
                waiter.changed.set()
        elif self._failures == 1:
            # The text of another library's error may contain a signed URL, so only its type is logged.
            reason = str(error) if isinstance(error, PiktidError) else type(error).__name__
            log.warning("Could not list the notifications; will keep polling: %s", reason)

    def _distribute(self, notifications: list[PersonNotification]) -> None:
        now = self._clock()
        for waiter in self._waiters:
            findings = match(notifications, waiter.request.awaited, used=waiter.request.used)
            before, waiter.findings = waiter.findings, _merged(waiter.findings, findings)
            for name, item in waiter.findings.found.items():
                born = now if item.timestamp is None else min(now, item.timestamp)
                waiter.first_seen.setdefault(name, born)
            if waiter.findings.settled != before.settled:
                waiter.on_change(waiter.findings)
                waiter.changed.set()
            waiter.note_look()


def _merged(before: Findings, now: Findings) -> Findings:
    """Merge findings; earlier ones are kept, as their notifications may have been deleted."""
    return Findings(
        found={**now.found, **before.found},
        failed={
            name: text for name, text in {**now.failed, **before.failed}.items() if name not in before.found
        },
        ids=list(dict.fromkeys([*before.ids, *now.ids])),
        assumed=list(dict.fromkeys([*before.assumed, *now.assumed])),
        unnamed=list(dict.fromkeys([*before.unnamed, *now.unnamed])),
    )


_pollers: PerLoop[Poller] = PerLoop()
_last_requests: dict[Hashable, LastRequest] = {}


def shared_poller(account: Hashable, connect: Connect, interval: float) -> Poller:
    """
    Return the poller of an account on the running event loop.

    :param interval: Seconds from an answer to the next request; that of the first caller is used.
    """
    last = _last_requests.setdefault(account, LastRequest())
    return _pollers.get(account, lambda: Poller(connect, interval=interval, last=last))


def seconds_to_next(listed_at: float, interval: float) -> float:
    """Return the seconds until the next request; one interval at most, as the other machine's clock may be ahead."""
    return min(interval, max(0.0, listed_at + interval - time.time()))


def poll_here(client: PiktidV1Client, settings: PiktidSettings, request: PollRequest) -> PollResult:
    """Wait on this thread, with the same code as the trigger."""
    from airflow_provider_piktid.hooks.piktid import async_v1_client

    async def connect() -> AsyncPiktidV1Client:
        return async_v1_client(settings, patient=False)

    async def wait(_: AsyncPiktidV1Client) -> PollResult:
        return await shared_poller(settings.v1_account, connect, settings.v1_poll_interval).wait(request)

    return client.run(wait)
