# SPDX-License-Identifier: Apache-2.0
"""
One notification stream for all who wait on an account, in one process and event loop.

A stream for each waiting task costs a connection and about 70 kB; here all share one stream and one client:

    async with subscribe(hook.aget_settings, on_hint=remember, on_live=note) as subscription:
        job = await subscription.get_job("job-1")

Notifications are hints: they may be lost, repeated or late. Get the status before acting on one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Hashable
from contextlib import aclosing
from typing import TYPE_CHECKING, Self, TypeVar, cast

from airflow_provider_piktid.common.shared import PerLoop, end_shared, start_shared
from airflow_provider_piktid.exceptions import TRANSIENT_ERRORS, PiktidAPIError, PiktidError
from airflow_provider_piktid.jobs.recent import RecentNotifications

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_provider_piktid.client import AsyncPiktidClient, StreamFrame
    from airflow_provider_piktid.hooks.settings import PiktidSettings
    from airflow_provider_piktid.models.v2 import Job, Notification

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Connect = Callable[[], Awaitable["PiktidSettings"]]

#: Connection lookups of an event loop at once. Airflow answers one after the other in any case, and a thousand that
#: have begun take more memory than a thousand waiters.
LOOKUPS_AT_ONCE = 8
#: Requests of all waiters of an account at once.
REQUESTS_AT_ONCE = 8
#: Timeout of one request in seconds: as many hung requests as run at once delay the others by no more.
REQUEST_SECONDS = 10.0
#: Requests a second of all waiters together, if nothing says which of them is urgent.
SPREAD_RATE = 20.0
#: Frames after which other tasks of the event loop get their turn.
FRAMES_AT_ONCE = 50


def subscribe(
    connect: Connect,
    *,
    job_ids: Collection[str] | None = None,
    on_hint: Callable[[Notification], None],
    on_live: Callable[[bool], None],
    stream: bool = True,
) -> Subscription:
    """
    Return a subscription to the notifications of an account, to be entered with ``async with``.

    Entering it looks up the connection and takes part in the stream of its account; the first subscription opens the
    stream, the last one closes it. The callbacks run on the event loop and must not block: set a flag or an
    ``asyncio.Event``, and do the work in the waiting task. They may be called before ``async with`` returns, and are
    not called after it has been left.

    If a request raises ``PiktidAuthError``, or :attr:`Subscription.failure` is one, the token was refused. It may have
    been replaced in the connection: leave the subscription and enter a new one, which looks the connection up again.

    :param connect: Looks up the connection, as ``PiktidHook.aget_settings`` does. Called once; its errors are raised.
    :param job_ids: The jobs to hear of. Default: none, hear of everything in the account; the notifications of the last
        ten minutes come first, each of them once.
    :param on_hint: Called with each new notification of these jobs, and with each that has no job id
        (``notification.job_id is None``), as it may be about any job. One that the stream repeats is passed once, if it
        has an id.
    :param on_live: Called with True when the stream is open and what PiktID still knows has been passed to ``on_hint``;
        at once if it is so already. Called with False when the stream breaks, and after each failed attempt to open it,
        until True follows: events of the time between may be missing if it is longer than ten minutes.
    :param stream: False if only :meth:`Subscription.request` is needed: no stream is opened for it. Default: True.
    """
    named = None if job_ids is None else tuple(dict.fromkeys(job_ids))
    return Subscription(connect, named, on_hint, on_live, stream)


class Subscription:
    """Takes part in the stream and the client of an account; see :func:`subscribe`."""

    __slots__ = ("_connect", "_hub", "_label", "_on_hint", "_on_live", "job_ids", "stream")

    def __init__(
        self,
        connect: Connect,
        job_ids: tuple[str, ...] | None,
        on_hint: Callable[[Notification], None],
        on_live: Callable[[bool], None],
        stream: bool,
    ) -> None:
        self.job_ids = job_ids
        self.stream = stream
        self._connect = connect
        self._on_hint = on_hint
        self._on_live = on_live
        self._label = ""
        self._hub: Hub | None = None

    async def __aenter__(self) -> Self:
        await self.enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.leave()

    async def enter(self) -> None:
        """Look up the connection and take part; :meth:`leave` must follow, then it may be entered again."""
        async with _lookups.get("lookups", lambda: asyncio.Semaphore(LOOKUPS_AT_ONCE)):
            settings = await self._connect()
        self._label = settings.conn_id
        account = settings.v2_account
        self._hub = _hubs.get(account, lambda: Hub(account, settings))
        self._hub.join(self)

    async def leave(self) -> None:
        """End it; what the last subscription of an account leaves is closed."""
        hub, self._hub = self._entered(), None
        await hub.leave(self)

    @property
    def live(self) -> bool:
        """Whether the stream is open and complete."""
        return bool(self._entered().live)

    @property
    def failure(self) -> PiktidError | None:
        """Why the stream is not open, as far as it is known."""
        return self._entered().failure

    @property
    def spread(self) -> float:
        """Seconds over which all waiters spread what has no hurry: 20 requests a second for the account."""
        return self._entered().watched / SPREAD_RATE

    async def request(self, call: Callable[[AsyncPiktidClient], Awaitable[Result]]) -> Result:
        """
        Send a short request with the shared client; at most 8 of an account run at once, the others wait.

        Nothing is retried. A request times out after 10 s, or the connection's ``timeout`` if that is shorter.

        :raises PiktidAuthError: The token is refused; see :func:`subscribe`.
        """
        hub = self._entered()
        try:
            async with hub.gate:
                return await call(hub.client)
        except PiktidError as error:
            _rename(error, hub.client.label, self._label)
            raise

    def get_job(self, job_id: str) -> Awaitable[Job]:
        """Get the status of a job; see :meth:`request`."""
        return self.request(lambda client: client.get_job(job_id))

    def hint(self, notification: Notification) -> None:
        """Pass a notification to the waiter."""
        _call(self._on_hint, notification)

    def tell_live(self, live: bool) -> None:
        """Tell the waiter whether the stream is open and complete."""
        _call(self._on_live, live)

    def _entered(self) -> Hub:
        if self._hub is None:
            raise RuntimeError("The subscription is not entered: use it with `async with`.")
        return self._hub


class Hub:
    """
    The stream, the client and the waiters of an account on one event loop.

    :param account: Base URL and digest of the token.
    :param settings: The connection of the first waiter, for the client.
    """

    def __init__(self, account: Hashable, settings: PiktidSettings) -> None:
        from airflow_provider_piktid.hooks.piktid import async_client

        short = dataclasses.replace(settings, timeout=min(settings.timeout, REQUEST_SECONDS))
        self.client = async_client(short, patient=False)
        self.gate = asyncio.Semaphore(REQUESTS_AT_ONCE)
        #: None until the first attempt to open the stream has ended.
        self.live: bool | None = None
        self.failure: PiktidError | None = None
        #: Jobs of all waiters; one that several wait for counts several times.
        self.watched = 0
        self._account = account
        self._users = 0
        #: Who takes part in the stream; by job id; and those who want everything.
        self._listeners: dict[Subscription, None] = {}
        self._by_job: dict[str, list[Subscription]] = {}
        self._for_all: dict[Subscription, None] = {}
        self._recent = RecentNotifications()
        self._task: asyncio.Task[None] | None = None

    def join(self, waiter: Subscription) -> None:
        """Add a waiter, and open the stream for the first one. Awaits nothing, so that no hub closes meanwhile."""
        self._users += 1
        self.watched += len(waiter.job_ids or ())
        if not waiter.stream:
            return
        self._listeners[waiter] = None
        for job_id in waiter.job_ids or ():
            self._by_job.setdefault(job_id, []).append(waiter)
        if self._task is None:
            self._task = start_shared(self._listen())
        if waiter.job_ids is None:
            self._for_all[waiter] = None
            for notification in self._recent:
                waiter.hint(notification)
        if self.live is not None:
            waiter.tell_live(self.live)

    async def leave(self, waiter: Subscription) -> None:
        """Remove a waiter; the last one closes the stream."""
        self._users -= 1
        self.watched -= len(waiter.job_ids or ())
        self._listeners.pop(waiter, None)
        self._for_all.pop(waiter, None)
        for job_id in waiter.job_ids or () if waiter.stream else ():
            self._by_job[job_id].remove(waiter)
            if not self._by_job[job_id]:
                del self._by_job[job_id]
        if not self._users:
            # Before anything is awaited: who comes while this hub closes needs another one.
            _hubs.evict(self._account, self)
            await self._close()

    async def _close(self) -> None:
        if self._task is None:
            await self.client.aclose()
        else:
            await end_shared(self._task)

    async def _listen(self) -> None:
        """Keep the stream open until the last waiter leaves; reconnect with increasing delays."""
        failures = 0
        try:
            while True:
                opened = time.monotonic()
                await self._attempt()
                self._set_live(False)
                failures = 0 if time.monotonic() - opened > 30 else failures + 1
                if isinstance(self.failure, PiktidAPIError) and not isinstance(
                    self.failure, TRANSIENT_ERRORS
                ):
                    failures = max(failures, 6)
                await asyncio.sleep(min(60.0, 2.0 ** min(failures, 6)) * random.uniform(0.5, 1.0))
        except asyncio.CancelledError:
            # Here and not where the last waiter leaves, which may be cancelled meanwhile.
            await self.client.aclose()
            raise

    async def _attempt(self) -> None:
        """Open the stream and read it until it ends or breaks."""
        try:
            await self._read()
            self.failure = None
        except PiktidError as error:
            log.debug("Notification stream: %s", error)
            self.failure = error
        except Exception as error:  # noqa: BLE001 - if this task ends, no waiter ever hears of anything
            log.warning("The notification stream broke (%s); opening it again.", type(error).__name__)
            self.failure = None

    async def _read(self) -> None:
        """Pass the frames of one connection to the waiters."""
        frames = cast("AsyncGenerator[StreamFrame]", self.client.stream_notifications())
        async with aclosing(frames):
            number = 0
            async for frame in frames:
                if frame.notification is not None and self._recent.add(frame.notification):
                    self._distribute(frame.notification)
                if frame.kind != "backfill":
                    self._set_live(True)
                number += 1
                if number % FRAMES_AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _distribute(self, notification: Notification) -> None:
        job_id = notification.job_id
        # Without a job id it may be about any job.
        named = list(self._listeners) if job_id is None else self._by_job.get(job_id, [])
        for waiter in dict.fromkeys([*named, *self._for_all]):
            waiter.hint(notification)

    def _set_live(self, live: bool) -> None:
        if live and self.live:
            return
        self.live = live
        if live:
            self.failure = None
        for waiter in list(self._listeners):
            waiter.tell_live(live)


def _call(callback: Callable[[Result], None], value: Result) -> None:
    """Call a waiter; its error must not end the stream of the others."""
    try:
        callback(value)
    except Exception as error:  # noqa: BLE001 - of any waiter
        log.warning("A waiter of the notification stream failed (%s).", type(error).__name__)


def _rename(error: PiktidError, shared: str, own: str) -> None:
    """Name the waiter's own connection in an error of a client that several connections of the account share."""
    text = str(error)
    if own != shared and text.startswith(f"{shared}: "):
        error.args = (own + text.removeprefix(shared), *error.args[1:])


_hubs: PerLoop[Hub] = PerLoop()
_lookups: PerLoop[asyncio.Semaphore] = PerLoop()
