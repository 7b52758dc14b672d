# SPDX-License-Identifier: Apache-2.0
"""Apply a fault to an HTTP response."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from .faults import Fault

#: Key in the ASGI scope of a function that closes the socket of the connection.
CUT = "piktid.emulator.cut"
Run = Callable[[Send], Awaitable[None]]
PAGE = (
    "<!DOCTYPE html><html><head><title>Maintenance</title></head><body><h1>Be right back</h1></body></html>"
)


class ConnectionCut(ConnectionResetError):
    """Raised to an in-process caller, which has no socket to close."""


async def cut_connection(scope: Scope, receive: Receive) -> None:
    """
    Close the socket of this request without a response.

    :raises ConnectionCut: The caller is in-process and has no socket.
    """
    cut = scope.get(CUT)
    if cut is None:
        raise ConnectionCut("The emulator cut the connection because of a fault")
    cut()
    await until_disconnect(receive, 5.0)


async def until_disconnect(receive: Receive, seconds: float) -> None:
    """Return when the client disconnects, or after ``seconds``."""

    async def drain() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(drain(), seconds)


class _Captured:
    """A response that is kept instead of sent."""

    def __init__(self) -> None:
        self.start: Message = {"type": "http.response.start", "status": 200, "headers": []}
        self.body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")

    async def forward(self, send: Send, body: bytes, *, length: int, more: bool = False) -> None:
        """Send the captured headers with another Content-Length and body."""
        headers = [
            (name, value) for name, value in self.start["headers"] if name.lower() != b"content-length"
        ]
        await send({**self.start, "headers": [*headers, (b"content-length", str(length).encode())]})
        await send({"type": "http.response.body", "body": body, "more_body": more})


async def fail(fault: Fault, run: Run, scope: Scope, receive: Receive, send: Send) -> None:
    """
    Answer a request as the fault says.

    :param run: Handles the request and passes the response to the given function.
    """
    if fault.kind == "delay":
        await asyncio.sleep(float(fault.get("seconds", 1.0)))
        await run(send)
    elif fault.kind in _CHANGED:
        await _changed(fault, run, scope, receive, send)
    else:
        if fault.done:
            await run(_Captured().send)
        await _replaced(fault, scope, receive, send)


async def _replaced(fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
    if fault.kind == "hang":
        await until_disconnect(receive, float(fault.get("seconds", 3600.0)))
        await cut_connection(scope, receive)
    elif fault.kind in WITHOUT_ANSWER:
        await cut_connection(scope, receive)
    else:
        await _answer(fault)(scope, receive, send)


def _answer(fault: Fault) -> Response:
    if fault.kind == "html":
        return HTMLResponse(PAGE)
    if fault.kind == "garbage_json":
        return Response('{"job_id": "abc", "status": ', media_type="application/json")
    if fault.kind == "redirect":
        location = str(fault.get("url", "http://127.0.0.1:9/"))
        return Response(status_code=int(fault.get("code", 307)), headers={"Location": location})
    body, headers = fault.get("body", None), {k: str(v) for k, v in fault.get("headers", {}).items()}
    code = int(fault.get("code", 503))
    if isinstance(body, (dict, list)):
        return JSONResponse(body, code, headers)
    return Response(body, code, headers)


async def _changed(fault: Fault, run: Run, scope: Scope, receive: Receive, send: Send) -> None:
    captured = _Captured()
    await run(captured.send)
    keep = captured.body[: int(len(captured.body) * float(fault.get("keep", 0.5)))]
    if fault.kind == "truncate":
        await captured.forward(send, keep, length=len(captured.body), more=True)
        await cut_connection(scope, receive)
        return
    if fault.kind == "truncate_silent":
        body = keep
    elif fault.kind == "flip":
        body = _with_flipped_byte(captured.body, float(fault.get("at", 0.5)))
    elif fault.kind == "wrong_types":
        body = json.dumps(_other_types(json.loads(captured.body or b"null"))).encode()
    else:
        body = json.dumps(_more_fields(json.loads(captured.body or b"null"))).encode()
    await captured.forward(send, body, length=len(body))


WITHOUT_ANSWER = ("drop", "drop_before", "drop_after", "hang")
_CHANGED = ("truncate", "truncate_silent", "flip", "wrong_types", "extra_fields")


def _with_flipped_byte(body: bytes, share: float) -> bytes:
    position = min(int(len(body) * share), len(body) - 1)
    return body[:position] + bytes([body[position] ^ 0xFF]) + body[position + 1 :]


def _other_types(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _other_type(item) for key, item in value.items()}
    return _other_type(value)


def _other_type(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return {"unexpected": [value]}
    if isinstance(value, str):
        return [value]
    return "unexpected"


def _more_fields(value: Any) -> Any:
    if isinstance(value, dict):
        return {**{key: _more_fields(item) for key, item in value.items()}, "x_new_field": {"since": 2027}}
    if isinstance(value, list):
        return [_more_fields(item) for item in value]
    return value
