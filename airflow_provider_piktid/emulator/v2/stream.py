# SPDX-License-Identifier: Apache-2.0
"""The notification stream of one reader, with its faults."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..failing import cut_connection, until_disconnect
from ..faults import Fault
from .entities import Notification
from .notification_store import NotificationFilter, Subscription, V2Notifications


class _Over(Exception):
    """The stream must be cut now."""


class EventStream(Response):
    """The stream of one reader, with its faults."""

    media_type = "text/event-stream"

    def __init__(
        self,
        notices: V2Notifications,
        wanted: NotificationFilter,
        faults: dict[str, Fault],
        keepalive_seconds: float,
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-cache"})
        del self.headers["content-length"]
        self._notices = notices
        self._wanted = wanted
        self._faults = faults
        self._keepalive_seconds = keepalive_seconds
        self._eol = "\r\n" if "crlf" in faults else "\n"
        self._sent = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        backfill, subscription = self._notices.subscribe()
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
            self._notices.unsubscribe(subscription)

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
                await asyncio.wait_for(subscription.wait(), self._keepalive_seconds)
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
