# SPDX-License-Identifier: Apache-2.0
"""A slow line on loopback: a TCP proxy with a round trip time and a bandwidth that can stall and break."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

#: Bytes that one connection sends before the next one has its turn.
BLOCK = 64 * 1024


class _Direction:
    """One direction of the line, shared by all connections."""

    def __init__(self, bandwidth: float | None) -> None:
        self._bandwidth = bandwidth
        self._free_at = 0.0
        #: Bytes that were sent.
        self.carried = 0
        #: The next connection that has carried more bytes than this carries no more of them.
        self.stall_after: int | None = None

    def take(self, size: int, now: float) -> float:
        """Occupy the line with a block; return the time at which its last byte is on the line."""
        self.carried += size
        self._free_at = max(self._free_at, now) + (size / self._bandwidth if self._bandwidth else 0.0)
        return self._free_at


class SlowLine:
    """
    Forward connections to a server over a line of its own; a context manager.

    :param target: URL of the server.
    :param round_trip: Seconds; opening a connection takes one, too.
    :param bandwidth: Bytes per second and direction, shared by all connections. Default: no limit.
    """

    def __init__(self, target: str, *, round_trip: float = 0.0, bandwidth: float | None = None) -> None:
        parts = urlsplit(target)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._delay = round_trip / 2
        self.up, self.down = _Direction(bandwidth), _Direction(bandwidth)
        self._own_port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="slow-line", daemon=True)
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        #: Connections that the client has opened.
        self.opened = 0
        #: Set when a connection has stalled.
        self.stalled = threading.Event()
        self._is_up = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._own_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self.restore()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Break all connections, and refuse new ones until :meth:`restore`."""
        self._call(self._cut)

    def silence(self) -> None:
        """Carry nothing until :meth:`restore`, without breaking a connection."""
        self._loop.call_soon_threadsafe(self._is_up.clear)

    def restore(self) -> None:
        """End a cut or a silence."""
        self._call(self._restore)

    def _call(self, function: Callable[[], Awaitable[T]]) -> T:
        async def call() -> T:
            return await function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(30)

    async def _restore(self) -> None:
        self._is_up.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._own_port)
            self._own_port = self._server.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        task = asyncio.ensure_future(self._connect(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far: asyncio.StreamWriter | None = None
        try:
            await asyncio.sleep(2 * self._delay)
            answers, far = await asyncio.open_connection(self._host, self._port)
            await asyncio.gather(self._carry(reader, far, self.up), self._carry(answers, writer, self.down))
        except OSError:
            pass
        finally:
            for end in (writer, far):
                if end is not None:
                    end.transport.abort()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: _Direction
    ) -> None:
        """Carry the bytes of one direction of a connection until its end."""
        blocks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        delivery = asyncio.ensure_future(self._deliver(blocks, writer))
        carried = 0
        try:
            while block := await reader.read(BLOCK):
                if line.stall_after is not None and carried + len(block) > line.stall_after:
                    line.stall_after = None
                    self.stalled.set()
                    await asyncio.Event().wait()
                carried += len(block)
                await self._is_up.wait()
                now = self._loop.time()
                sent = line.take(len(block), now)
                blocks.put_nowait((sent + self._delay, block))
                await asyncio.sleep(sent - now)
            blocks.put_nowait((self._loop.time() + self._delay, b""))
            await delivery
        finally:
            delivery.cancel()

    async def _deliver(
        self, blocks: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        while True:
            due, block = await blocks.get()
            await asyncio.sleep(due - self._loop.time())
            await self._is_up.wait()
            if not block:
                with contextlib.suppress(OSError):
                    writer.write_eof()
                return
            writer.write(block)
            await writer.drain()
