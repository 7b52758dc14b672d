# SPDX-License-Identifier: Apache-2.0
"""Read a notification stream for some seconds and note its order, names and keys."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from airflow_provider_piktid.probe.findings import word
from airflow_provider_piktid.probe.session import Session

#: Events of the stream itself.
KNOWN_EVENTS = frozenset({"", "message", "backfill", "backfill_complete"})


@dataclass
class StreamRead:
    """
    What came.

    :param complete_at: When ``backfill_complete`` came, ``time.monotonic()``.
    :param keepalive_after: Seconds from the last frame to the first comment.
    :param notifications: Live notifications, and those of the backfill.
    """

    status: int = 0
    frames: int = 0
    complete_at: float | None = None
    live_before_complete: bool = False
    keepalive_after: float | None = None
    odd_events: list[str] = field(default_factory=list)
    notifications: list[dict[str, Any]] = field(default_factory=list)
    ready: threading.Event = field(default_factory=threading.Event)


def read_stream(
    session: Session,
    seconds: float,
    *,
    until_keepalive: bool = False,
    into: StreamRead | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> StreamRead:
    """
    Read the stream of the account.

    :param seconds: At most so long; also the longest silence.
    :param into: Filled while reading, for another thread. Default: a new one.
    """
    read = into or StreamRead()
    try:
        answer, response = session.stream("read the notification stream", "/notifications/events", seconds)
        read.status = answer.status
        with contextlib.closing(response):
            if answer.ok:
                _read(response, read, time.monotonic() + seconds, until_keepalive, stop)
    finally:
        read.ready.set()
    return read


def _read(
    response: httpx.Response, read: StreamRead, end: float, until_keepalive: bool, stop: Callable[[], bool]
) -> None:
    event, data, last = "", "", time.monotonic()
    for line in _lines(response):
        now = time.monotonic()
        if line.startswith(":"):
            read.keepalive_after = read.keepalive_after or now - last
            if until_keepalive and read.complete_at:
                return
        elif line.startswith("event:"):
            event = line[6:].strip()
        elif line.startswith("data:"):
            data += line[5:].strip()
        elif not line and (event or data):
            _frame(read, event, data, now)
            event, data, last = "", "", now
        if now > end or stop():
            return


def _lines(response: httpx.Response) -> Iterator[str]:
    try:
        yield from response.iter_lines()
    except httpx.HTTPError:
        # Silence, or a lost connection: what came before counts.
        return


def _frame(read: StreamRead, event: str, data: str, now: float) -> None:
    read.frames += 1
    if event == "backfill_complete":
        read.complete_at = now
        read.ready.set()
    elif event not in KNOWN_EVENTS:
        read.odd_events.append(word(event))
    elif event != "backfill" and read.complete_at is None:
        read.live_before_complete = True
    try:
        value = json.loads(data)
    except ValueError:
        return
    if isinstance(value, dict) and value.get("name"):
        read.notifications.append(value)
