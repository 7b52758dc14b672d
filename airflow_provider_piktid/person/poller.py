# SPDX-License-Identifier: Apache-2.0
"""
One list of notifications for all waits on an account.

PiktID allows one request every 3 seconds for an account, however many tasks wait. So there is one poller for each
account and event loop, and it polls as long as any task has something outstanding.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import weakref
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from airflow_provider_piktid.exceptions import TRANSIENT_ERRORS, PiktidError
from airflow_provider_piktid.person.matching import AwaitedGeneration, Findings, match

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidV1Client
    from airflow_provider_piktid.models.v1 import PersonNotification

log = logging.getLogger(__name__)

#: The longest pause while the service does not answer: notifications live 600 s.
LONGEST_PAUSE = 30.0

Ending = Literal["done", "slot", "timeout"]
Connect = Callable[[], Awaitable["AsyncPiktidV1Client"]]


@dataclass(frozen=True)
class PollRequest:
    """
    What somebody waits for.

    :param awaited: The generations; none means: only until ``resume_at``.
    :param used: Notifications to pass over, by identity.
    :param resume_at: Epoch seconds at which the wait ends in any case, with ``slot``; None: when all are in.
    :param end_time: Deadline, epoch seconds.
    :param collect_after: Seconds after which a result that was seen is handed over, even if others are still
        out: its notification will not live for ever.
    """

    awaited: Sequence[AwaitedGeneration]
    used: Collection[int | str] = ()
    resume_at: float | None = None
    end_time: float = float("inf")
    collect_after: float = 300.0


@dataclass
class PollResult:
    """How a wait ended, and what was found until then."""

    ending: Ending
    findings: Findings


@dataclass(eq=False)
class _Waiter:
    request: PollRequest
    on_change: Callable[[Findings], None]
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    findings: Findings = field(default_factory=Findings)
    first_seen: dict[str, float] = field(default_factory=dict)
    error: BaseException | None = None

    @property
    def complete(self) -> bool:
        return len(self.findings.settled) >= len(self.request.awaited)

    @property
    def open(self) -> int:
        return len(self.request.awaited) - len(self.findings.settled)


class Poller:
    """
    Asks for an account's notifications while somebody waits.

    :param connect: Makes a client; called when the first one starts to wait, and after a failure.
    :param interval: Seconds from an answer to the next request.
    """

    def __init__(self, connect: Connect, *, interval: float, clock: Callable[[], float] = time.time) -> None:
        self._connect = connect
        self._interval = interval
        self._clock = clock
        self._waiters: list[_Waiter] = []
        self._task: asyncio.Task[None] | None = None
        self._asked_at = float("-inf")
        self._failures = 0

    async def wait(
        self,
        request: PollRequest,
        *,
        connect: Connect | None = None,
        on_change: Callable[[Findings], None] | None = None,
    ) -> PollResult:
        """
        Return when everything is in, something must be fetched, or a time has come.

        :param connect: Takes the place of the poller's: the newest to come knows the connection best.
        :raises PiktidError: The service refuses to answer for a reason that waiting does not mend.
        """
        self._connect = connect or self._connect
        waiter = _Waiter(request, on_change or (lambda findings: None))
        if request.awaited:
            self._waiters.append(waiter)
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run())
        try:
            return await self._until(waiter)
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            await self._rest()

    async def _until(self, waiter: _Waiter) -> PollResult:
        request = waiter.request
        while True:
            now = self._clock()
            if waiter.error is not None:
                raise waiter.error
            if request.resume_at is not None and now >= request.resume_at:
                return PollResult("slot", waiter.findings)
            if waiter.complete and request.resume_at is None:
                return PollResult("done", waiter.findings)
            if now >= request.end_time:
                return PollResult("timeout", waiter.findings)
            due = self._due(waiter)
            if now >= due:
                return PollResult("slot", waiter.findings)
            until = min(
                request.end_time, due, request.resume_at if request.resume_at is not None else float("inf")
            )
            waiter.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if until == float("inf") else until - now):
                    await waiter.changed.wait()

    def _due(self, waiter: _Waiter) -> float:
        """When the oldest result that was seen has to be handed over."""
        return min(waiter.first_seen.values(), default=float("inf")) + waiter.request.collect_after

    async def _rest(self) -> None:
        """End the polling when nobody waits any more."""
        if not self._waiters and self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        client: AsyncPiktidV1Client | None = None
        try:
            while True:
                await asyncio.sleep(max(0.0, self._asked_at + self._pause() - time.monotonic()))
                if not any(waiter.open for waiter in self._waiters):
                    self._asked_at = time.monotonic()
                    continue
                try:
                    client = client or await self._connect()
                    self._distribute(await client.list_notifications())
                    self._failures = 0
                except Exception as error:  # noqa: BLE001 - a poller that dies leaves everybody waiting
                    self._failed(error)
                    if client is not None:
                        await client.aclose()
                    client = None
                finally:
                    self._asked_at = time.monotonic()
        finally:
            if client is not None:
                await client.aclose()

    def _pause(self) -> float:
        return min(self._interval * 2.0 ** min(self._failures, 8), max(LONGEST_PAUSE, self._interval))

    def _failed(self, error: Exception) -> None:
        """Go on after what passes by itself; tell all who wait of what does not."""
        self._failures += 1
        if isinstance(error, PiktidError) and not isinstance(error, TRANSIENT_ERRORS):
            for waiter in self._waiters:
                waiter.error = error
                waiter.changed.set()
        elif self._failures == 1:
            # The text of a foreign error may hold an address with a signature: the type must do.
            said = str(error) if isinstance(error, PiktidError) else type(error).__name__
            log.warning("Could not list the notifications; will keep polling: %s", said)

    def _distribute(self, notifications: list[PersonNotification]) -> None:
        in_flight = sum(waiter.open for waiter in self._waiters)
        now = self._clock()
        for waiter in self._waiters:
            # Whatever else is in flight in this process may be what an error without ids is about.
            alone = in_flight == waiter.open
            findings = match(notifications, waiter.request.awaited, used=waiter.request.used, alone=alone)
            before, waiter.findings = waiter.findings, _merged(waiter.findings, findings)
            for name, item in waiter.findings.found.items():
                born = now if item.timestamp is None else min(now, item.timestamp)
                waiter.first_seen.setdefault(name, born)
            if waiter.findings.settled != before.settled:
                waiter.on_change(waiter.findings)
                waiter.changed.set()


def _merged(before: Findings, now: Findings) -> Findings:
    """What was seen once stays seen, also when somebody deletes it."""
    return Findings(
        found={**now.found, **before.found},
        failed={
            name: text for name, text in {**now.failed, **before.failed}.items() if name not in before.found
        },
        ids=list(dict.fromkeys([*before.ids, *now.ids])),
        assumed=list(dict.fromkeys([*before.assumed, *now.assumed])),
    )


_pollers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, Poller]] = (
    weakref.WeakKeyDictionary()
)


def shared_poller(account: Hashable, connect: Connect, interval: float) -> Poller:
    """
    Return the poller of an account on the running event loop.

    :param interval: Seconds from an answer to the next request; the first caller's counts.
    """
    loop_pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    found = loop_pollers.get(account)
    if found is None:
        found = loop_pollers[account] = Poller(connect, interval=interval)
    return found
