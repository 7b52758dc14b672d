# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that run operators against an emulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from tests.support.service import connection_json, emulator

Start = Callable[..., EmulatorServer]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start emulators with the given settings and ``extra``; ``piktid_default`` points to the latest."""
    with ExitStack() as stack:

        def begin(*, extra: dict[str, Any] | None = None, **settings: Any) -> EmulatorServer:
            server = stack.enter_context(emulator(**settings))
            monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", connection_json(server.url, **(extra or {})))
            return server

        yield begin


@pytest.fixture
def server(start: Start) -> EmulatorServer:
    """An emulator with short jobs and without a rate limit; ``piktid_default`` points to it."""
    return start()


@pytest.fixture
def read_log(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Return what was logged since the last call. Airflow 3 prints it; Airflow 2 may use another test's stream."""

    def read() -> str:
        text = caplog.text + "".join(capsys.readouterr())
        caplog.clear()
        return text

    return read
