# SPDX-License-Identifier: Apache-2.0
"""Suspend processes that share a SQLite database, so that the others can go on writing to it."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

#: How long another process may keep the database locked before the suspended one is taken for the one that does.
LOCKED_SECONDS = 1.0


@contextlib.contextmanager
def suspended(database: Path, pid: int, *, group: bool = False, seconds: float = 60) -> Iterator[None]:
    """
    Suspend a process within the block, at a moment at which it does not lock the database.

    A process that is stopped within a transaction keeps its lock, and the others fail after their timeout.

    :param database: The SQLite file.
    :param pid: The process.
    :param group: Suspend its whole group. Default: the process alone.
    :param seconds: After this long the block is not entered.
    """
    send = os.killpg if group else os.kill
    deadline = time.monotonic() + seconds
    try:
        send(pid, signal.SIGSTOP)
        while not _can_be_written(database):
            send(pid, signal.SIGCONT)
            assert time.monotonic() < deadline, f"process {pid} was within a transaction each time"
            time.sleep(0.05)
            send(pid, signal.SIGSTOP)
        yield
    finally:
        send(pid, signal.SIGCONT)


def _can_be_written(database: Path) -> bool:
    connection = sqlite3.connect(database, isolation_level=None, timeout=LOCKED_SECONDS)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True
