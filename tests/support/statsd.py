# SPDX-License-Identifier: Apache-2.0
"""A statsd server on a UDP socket, and the settings that send Airflow's metrics to it."""

from __future__ import annotations

import socket
import time
from types import TracebackType
from typing import Self


class Statsd:
    """Receives metrics: counters are summed up, the values of timers are kept in milliseconds."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.counters: dict[str, float] = {}
        self.timers: dict[str, list[float]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    @property
    def settings(self) -> dict[str, str]:
        """Environment variables for Airflow."""
        return {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(self._socket.getsockname()[1]),
        }

    def wait_for(self, name: str, seconds: float = 60.0) -> None:
        """Read until a metric of this name has come, and what else is there."""
        end = time.monotonic() + seconds
        while name not in self.counters and name not in self.timers:
            self._socket.settimeout(max(0.01, end - time.monotonic()))
            self._take(self._socket.recv(65536))
        self.read()

    def read(self) -> None:
        """Read what is there."""
        self._socket.settimeout(0.0)
        try:
            while True:
                self._take(self._socket.recv(65536))
        except BlockingIOError:
            return

    def _take(self, packet: bytes) -> None:
        for line in packet.decode().splitlines():
            name, _, rest = line.partition(":")
            value, _, kind = rest.partition("|")
            if not name.startswith("airflow.piktid."):
                continue
            name = name.removeprefix("airflow.piktid.")
            if kind.startswith("c"):
                self.counters[name] = self.counters.get(name, 0) + float(value)
            else:
                self.timers.setdefault(name, []).append(float(value))
