# SPDX-License-Identifier: Apache-2.0
"""What a demo has started does not outlive it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from airflow_provider_piktid.demo.environment import stop_group

CHILD = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""
#: Starts a process that ignores SIGTERM, prints its id, and ends at once or waits.
PARENT = """
import signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
if sys.argv[2] == "waits":
    signal.pause()
"""


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """The parents that a test starts; their groups are killed after it."""
    parents: list[subprocess.Popen[str]] = []
    yield parents
    for parent in parents:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)


@pytest.mark.parametrize("then", ["waits", "ends"])
def test_process_that_outlives_its_parent_is_killed(started: list[subprocess.Popen[str]], then: str) -> None:
    """Whether the parent still runs or has ended, as ``airflow standalone`` may before its scheduler."""
    command = [sys.executable, "-c", PARENT, CHILD, then]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    started.append(parent)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    if then == "ends":
        parent.wait()

    stop_group(parent, seconds=2)

    assert parent.returncode is not None
    assert not runs(child)


def runs(pid: int) -> bool:
    """Whether a process runs; one that has ended is listed until its parent asks how."""
    command = ["ps", "-o", "stat=", "-p", str(pid)]
    state = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    return state[:1] not in ("", "Z")
