# SPDX-License-Identifier: Apache-2.0
"""Wrap the handler of an operation: count, delay, authorise, apply faults."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from .failing import WITHOUT_ANSWER, fail
from .state import State
from .wire import Refused

Handler = Callable[[Request, State], Awaitable[Response]]
Guard = Callable[[Request, State], None]


class Operation:
    """
    An ASGI endpoint around a handler.

    :param name: Name in statistics and of the fault queue.
    :param handler: Returns the response, or raises :class:`Refused`.
    :param guard: Raises :class:`Refused` for unauthorised requests; None allows all requests.
    """

    def __init__(self, name: str, handler: Handler, guard: Guard | None) -> None:
        self.name = name
        self._handler = handler
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state: State = scope["app"].state.emulator
        state.counters.begin(self.name)
        try:
            await self._serve(state, scope, receive, _counting(state, self.name, send))
        except ClientDisconnect:
            state.counters.status(self.name, 0)
        finally:
            state.counters.end()

    async def _serve(self, state: State, scope: Scope, receive: Receive, send: Send) -> None:
        if state.settings.latency:
            await asyncio.sleep(state.settings.latency)

        async def run(to: Send) -> None:
            request = Request(scope, receive)
            try:
                if self._guard is not None:
                    self._guard(request, state)
                response = await self._handler(request, state)
            except Refused as refusal:
                response = refusal.response()
            await response(scope, receive, to)

        fault = state.faults.take(self.name, scope["path"])
        if fault is None:
            await run(send)
        else:
            if fault.kind in WITHOUT_ANSWER:
                state.counters.status(self.name, 0)
            await fail(fault, run, scope, receive, send)


def route(method: str, path: str, name: str, handler: Handler, guard: Guard | None) -> Route:
    """Return the route of one operation."""
    return Route(path, Operation(name, handler, guard), methods=[method])


def _counting(state: State, name: str, send: Send) -> Send:
    async def counted(message: Message) -> None:
        if message["type"] == "http.response.start":
            state.counters.status(name, message["status"])
        elif message["type"] == "http.response.body":
            state.counters.transferred(out=len(message.get("body", b"")))
        await send(message)

    return counted
