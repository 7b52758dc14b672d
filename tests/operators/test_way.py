# SPDX-License-Identifier: Apache-2.0
"""The way of a model swap through the code, from the operator to the request on the wire, stays short."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from airflow.providers.common.compat.sdk import TaskDeferred

import airflow_provider_piktid
from airflow_provider_piktid.emulator import EmulatorServer
from tests.support.batch import swap_run

PACKAGE = Path(airflow_provider_piktid.__file__).parent


class Way:
    """Collects the files of the package in which a function runs, until a paid request is handed to httpx."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.ended = False

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "call" or self.ended:
            return
        path = Path(frame.f_code.co_filename)
        if path.parts[-2:] == ("httpx", "_client.py") and frame.f_code.co_name == "send":
            self.ended = frame.f_locals["request"].url.path == "/model-swap"
        elif PACKAGE in path.parents and "emulator" not in path.parts and frame.f_code.co_name != "<module>":
            self.files.add(path.relative_to(PACKAGE).as_posix())


def trace(server: EmulatorServer) -> Way:
    """Execute a swap of three images, without the free look-up of the identity before it."""
    task = swap_run(server, 3, deferrable=True, check_identity=False)
    operator = task.make()
    task.ti.try_number = 1
    way = Way()
    threading.setprofile(way)
    sys.setprofile(way)
    try:
        operator.execute(task.context)
    except TaskDeferred:
        pass
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return way


def test_swap_reaches_the_wire_through_at_most_twelve_files(server: EmulatorServer) -> None:
    """From `execute` to the paid request, functions of at most twelve files of the package run."""
    trace(server)  # Modules that are imported late are loaded by the first one.

    way = trace(server)

    assert way.ended
    assert len(way.files) <= 12, " ".join(sorted(way.files))
