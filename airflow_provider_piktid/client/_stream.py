# SPDX-License-Identifier: Apache-2.0
"""Read the notification stream, frame by frame."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Literal

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError
from pydantic import ValidationError

from airflow_provider_piktid.client._build import Request
from airflow_provider_piktid.client._http import HttpSession, log
from airflow_provider_piktid.exceptions import PiktidResponseError
from airflow_provider_piktid.models import Notification

#: Largest frame in characters; documented frames have a few hundred.
MAX_FRAME: Final = 1024 * 1024
#: Seconds without a byte after which the stream counts as broken: three keepalives.
SILENCE: Final = 45.0


@dataclass(frozen=True)
class StreamFrame:
    """
    One frame of the stream.

    ``backfill`` is a replayed notification of the last ten minutes, ``backfill_complete`` (without notification)
    ends the replay, ``live`` is a new notification.
    """

    kind: Literal["backfill", "backfill_complete", "live"]
    notification: Notification | None = None


class FrameTooLarge(Exception):
    """A frame exceeds :data:`MAX_FRAME`."""


class _BoundedResponse:
    """The parts of a response that an EventSource reads, with a limit on the length of a frame."""

    def __init__(self, response: httpx.Response) -> None:
        # The format is always UTF-8, even if the header differs.
        response.encoding = "utf-8-sig"
        self._response = response
        self.headers = response.headers

    async def aiter_text(self) -> AsyncIterator[str]:
        pending, tail = 0, ""
        async for text in self._response.aiter_text():
            tail = (tail + text)[-(len(text) + 3) :].replace("\r\n", "\n").replace("\r", "\n")
            end = tail.rfind("\n\n")
            pending = pending + len(text) if end < 0 else len(tail) - end
            if pending > MAX_FRAME:
                raise FrameTooLarge
            tail = tail[-3:]
            yield text


def to_frame(event: ServerSentEvent) -> StreamFrame | None:
    """Return the frame for an event of the stream, None if it contains nothing usable."""
    if event.event == "backfill_complete":
        return StreamFrame("backfill_complete")
    try:
        value = json.loads(event.data)
        notification = Notification.model_validate(value) if isinstance(value, dict) and value else None
    except (ValueError, RecursionError, ValidationError):
        notification = None
    if notification is None:
        log.debug("Skipped a frame of the notification stream that is not a notification.")
        return None
    return StreamFrame("backfill" if event.event == "backfill" else "live", notification)


async def read_frames(session: HttpSession, request: Request, silence: float) -> AsyncIterator[StreamFrame]:
    """Yield the frames of one connection until it ends; other events are skipped."""
    async with session.stream(request, silence) as response:
        source = EventSource(_BoundedResponse(response))  # type: ignore[arg-type]
        events = source.aiter_sse()
        try:
            async for event in events:
                frame = to_frame(event)
                if frame is not None:
                    yield frame
        except SSEError:
            raise PiktidResponseError(
                f"{session.label}: GET {request.path} did not answer with an event stream.",
                status=response.status_code,
            ) from None
        except FrameTooLarge:
            raise PiktidResponseError(
                f"{session.label}: GET {request.path} sent a frame of more than {MAX_FRAME} characters."
            ) from None
        finally:
            await events.aclose()
