# SPDX-License-Identifier: Apache-2.0
"""Notifications: as a stream, as a list, deleted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from ..failing import cut_connection, until_disconnect
from ..faults import STREAM_KINDS, Fault
from ..state import State
from ..wire import Check, Refused, read_json
from .checks import body_check, finish
from .entities import Notification
from .login import guard
from .notification_store import Subscription


def guard_stream(request: Request, state: State) -> None:
    """Refuse a stream without a good token in header or query."""
    token = request.query_params.get("token")
    if token is None or not state.v2.tokens.is_good(token):
        guard(request, state)


def values_of(given: Iterable[str]) -> set[str]:
    """Return the values of a list in a query: repeated, with commas, or as a JSON list."""
    found: set[str] = set()
    for text in given:
        try:
            decoded = json.loads(text)
        except ValueError:
            decoded = None
        items = decoded if isinstance(decoded, list) else text.split(",")
        found.update(str(item).strip() for item in items)
    return found - {""}


class Wanted:
    """Which notifications a reader asked for; empty means all."""

    def __init__(self, jobs: set[str], images: set[str], names: set[str]) -> None:
        self._jobs, self._images, self._names = jobs, images, names

    def __call__(self, notification: Notification) -> bool:
        data = notification.data
        if self._names and notification.name not in self._names:
            return False
        if self._jobs and not self._jobs & {data.get("id_task"), data.get("job_id")}:
            return False
        return not self._images or data.get("id_image") in self._images


def _in_query(request: Request, name: str) -> set[str]:
    query = request.query_params
    return values_of([*query.getlist(name), *query.getlist(f"{name}[]")])


async def stream_events(request: Request, state: State) -> Response:
    """``GET /notifications/events``."""
    faults = state.faults.take_each("events", STREAM_KINDS)
    if "no_stream" in faults:
        raise Refused(503, {"error": "Streaming is not available"})
    wanted = Wanted(*(_in_query(request, name) for name in ("id_task", "id_image", "name_list")))
    return EventStream(state, wanted, faults)


class _Over(Exception):
    """The stream is to be cut now."""


class EventStream(Response):
    """The stream of one reader, with whatever was planned to go wrong."""

    media_type = "text/event-stream"

    def __init__(self, state: State, wanted: Wanted, faults: dict[str, Fault]) -> None:
        super().__init__(headers={"Cache-Control": "no-cache"})
        del self.headers["content-length"]
        self._state = state
        self._wanted = wanted
        self._faults = faults
        self._eol = "\r\n" if "crlf" in faults else "\n"
        self._sent = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        backfill, subscription = self._state.v2.notices.subscribe()
        self._send = send
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._write("")
            reader = asyncio.ensure_future(until_disconnect(receive, 10.0**7))
            writer = asyncio.ensure_future(self._limited(backfill, subscription))
            await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
            gone = reader.done()
            for task in (reader, writer):
                task.cancel()
            results = await asyncio.gather(reader, writer, return_exceptions=True)
            if isinstance(results[1], _Over):
                await cut_connection(scope, receive)
            elif not gone:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._state.v2.notices.unsubscribe(subscription)

    async def _limited(self, backfill: list[Notification], subscription: Subscription) -> None:
        cut = self._faults.get("cut_after")
        seconds = cut.get("seconds", None) if cut else None
        try:
            await asyncio.wait_for(self._write_all(backfill, subscription), seconds)
        except TimeoutError:
            raise _Over from None

    async def _write_all(self, backfill: list[Notification], subscription: Subscription) -> None:
        if "silent" in self._faults:
            while not subscription.closed:
                subscription.waiting.clear()
                await subscription.wait()
            return
        await self._backfill(backfill)
        while True:
            try:
                await asyncio.wait_for(subscription.wait(), self._state.settings.keepalive_seconds)
            except TimeoutError:
                await self._write(f":keepalive{self._eol}{self._eol}")
                continue
            if subscription.closed:
                return
            await self._live(subscription)

    async def _backfill(self, backfill: list[Notification]) -> None:
        found = [notification for notification in backfill if self._wanted(notification)]
        if "reorder" in self._faults:
            found.reverse()
        foreign = self._faults.get("foreign")
        if foreign is not None:
            found = [*_foreign(int(foreign.get("n", 1000))), *found]
        for notification in found:
            await self._frame(notification.as_dict(), event="backfill")
        await self._frame({}, event="backfill_complete")

    async def _live(self, subscription: Subscription) -> None:
        if "reorder" in self._faults and len(subscription.waiting) == 1:
            await asyncio.sleep(0.05)
        batch = []
        while subscription.waiting:
            batch.append(subscription.waiting.popleft())
        if "reorder" in self._faults:
            batch.reverse()
        if "no_live" in self._faults:
            return
        for notification in batch:
            if self._wanted(notification):
                await self._frame(notification.as_dict())

    async def _frame(self, value: Any, event: str | None = None) -> None:
        await self._noise()
        eol = self._eol
        head = f"event: {event}{eol}" if event else ""
        text = f"{head}data: {json.dumps(value)}{eol}{eol}"
        half = self._faults.get("half")
        if half is not None and self._sent >= int(half.get("frames", 1)):
            await self._write(text[: len(text) // 2])
            raise _Over
        await self._write(text * (2 if "double" in self._faults else 1))
        self._sent += 1
        cut = self._faults.get("cut_after")
        if (
            cut is not None
            and cut.get("frames", None) is not None
            and self._sent >= int(cut.get("frames", 0))
        ):
            raise _Over

    async def _noise(self) -> None:
        eol = self._eol
        if "junk" in self._faults:
            junk = (
                "data: {not json",
                "data: [1, 2",
                "event: weird",
                "nonsense",
                "data: 17",
                'data: "text"',
                "id: 5",
                "data",
            )
            await self._write("".join(f"{line}{eol}{eol}" for line in junk))
        if "null_data" in self._faults:
            await self._write(f'data: null{eol}{eol}data: {{"id": 0, "name": null, "data": null}}{eol}{eol}')

    async def _write(self, text: str) -> None:
        await self._send({"type": "http.response.body", "body": text.encode(), "more_body": True})


def _foreign(count: int) -> list[Notification]:
    return [
        Notification(
            10**9 + number,
            "batch_edit",
            {"id_task": f"job_foreign{number}", "job_id": f"job_foreign{number}", "status": "completed"},
            0.0,
        )
        for number in range(count)
    ]


async def delete_notification(request: Request, state: State) -> Response:
    """``DELETE /notifications/{id}``."""
    if not state.v2.notices.delete(request.path_params["id"]):
        raise Refused(404, {"error": "Notification not found"})
    return JSONResponse({"success": True})


def _list_of(check: Check, field: str, *, required: bool = False) -> set[str]:
    value = check.take(field, required=required)
    if value is None:
        return set()
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        check.wrong(field, "Input should be a string or a list of strings")
        return set()
    return values_of(items)


async def list_notifications(request: Request, state: State) -> Response:
    """``POST /notifications``: a bare list."""
    if state.variants["notifications_post"] == "404":
        raise Refused(404)
    check = body_check(state, await read_json(request))
    jobs = _list_of(check, "id_task")
    names = _list_of(check, "name_list", required=True)
    finish(state, check)
    wanted = Wanted(jobs, set(), names)
    return JSONResponse([n.as_dict() for n in state.v2.notices.current() if wanted(n)])
