# SPDX-License-Identifier: Apache-2.0
"""The local S3 server of `make ui`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

#: Serve until the process is interrupted, as `make ui` does.
SERVE = """
import signal, sys
from pathlib import Path
from airflow_provider_piktid.demo.bucket import bucket_server

signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
with bucket_server(Path(sys.argv[1])):
    print("serving", flush=True)
    sys.stdin.read()
"""


def test_interrupt_ends_it_without_a_traceback(tmp_path: Path) -> None:
    """Ctrl-C in a terminal reaches all processes of its group; nothing but the command itself answers."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "serving\n"

    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    assert (process.returncode, errors) == (0, "")
