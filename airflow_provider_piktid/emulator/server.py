# SPDX-License-Identifier: Apache-2.0
"""Serve the emulator on a socket, in a thread or in the main thread."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from .app import create_app
from .failing import CUT
from .faults import Faults
from .settings import Settings
from .state import State

START_SECONDS = 10.0
END_SECONDS = 0.5


class SocketAccess:
    """
    Let faults close a connection.

    ASGI has no message for this; ``send`` is a method of uvicorn's request cycle, which has the transport.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport: Any = getattr(getattr(send, "__self__", None), "transport", None)
        if transport is not None:
            scope[CUT] = transport.close
        await self._app(scope, receive, send)


class _Server(uvicorn.Server):
    """A server that stops immediately, even with open connections."""

    _loop: asyncio.AbstractEventLoop | None = None
    _wake: asyncio.Event

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    def stop(self) -> None:
        """Stop the server. Safe to call from any thread after startup."""
        self.handle_exit(0, None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def main_loop(self) -> None:
        counter = 0
        while not await self.on_tick(counter):
            counter = (counter + 1) % 864000
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), 0.1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listening in sockets or []:
            listening.close()
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.close()
        tasks = set(self.server_state.tasks)
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=END_SECONDS)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)


def open_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 picks a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=1024)


def url_of(listening: socket.socket) -> str:
    """Return the base URL of a listening socket."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - only compared
    return f"http://{host}:{port}"


def make_server(app: ASGIApp) -> _Server:
    """Return a uvicorn server that is not started yet."""
    config = uvicorn.Config(
        SocketAccess(app),
        lifespan="off",
        log_level="critical",
        access_log=False,
        timeout_keep_alive=75,
        ws="none",
    )
    return _Server(config)


class EmulatorServer:
    """
    Run an emulator on a loopback port in a thread of this process; use it as a context manager.

    ``state`` and ``faults`` belong to the running emulator: tests can call them directly instead of the
    endpoints under ``/_emulator/``.

    :param settings: Default: ``Settings()``.
    :param host: Address to listen on.
    :param port: Port; 0, the default, picks a free one.
    """

    def __init__(self, settings: Settings | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        app = create_app(settings)
        self.state: State = app.state.emulator
        self.settings = self.state.settings
        self._socket = open_socket(host, port)
        self.url = url_of(self._socket)
        self._server = make_server(app)
        self._thread = threading.Thread(target=self._run, name="piktid-emulator-server", daemon=True)

    @property
    def faults(self) -> Faults:
        """The planned faults."""
        return self.state.faults

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    def start(self) -> Self:
        """
        Start serving.

        :raises RuntimeError: The server did not start in time.
        """
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("The emulator did not start")
            time.sleep(0.005)
        return self

    def stop(self) -> None:
        """Close all connections, including open streams, and stop."""
        if self._thread.is_alive():
            self._server.stop()
            self._thread.join(timeout=10)
        self.state.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
