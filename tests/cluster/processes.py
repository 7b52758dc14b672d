# SPDX-License-Identifier: Apache-2.0
"""Processes of the cluster, which are not children of the one who looks: by their ids, from /proc."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not reaped yet does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def kill_group(pid: int | None) -> None:
    """Kill a process and all of its session with SIGKILL; wait until it is gone."""
    if not pid:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    while is_alive(pid):
        time.sleep(0.01)


def children_of(pid: int) -> list[int]:
    """Return the ids of a process' children; none if it has ended."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def family_of(pid: int) -> list[int]:
    """Return the id of a process and those of all that descend from it."""
    return [pid, *(member for child in children_of(pid) for member in family_of(child))]


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process and all that descend from it, those that have ended included."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    own = sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")
    return own + sum(processor_seconds(child) for child in children_of(pid))


def memory(pid: int) -> int:
    """Return the proportional memory of a process and all that descend from it, bytes."""
    total = 0
    for member in family_of(pid):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def command_of(pid: int) -> str:
    """Return what a process shows as its command line; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""
