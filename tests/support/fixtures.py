# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that run operators against an emulator over a socket."""

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
    """Start an emulator with given settings; ``piktid_default`` leads to it. ``extra`` goes to the connection."""
    with ExitStack() as stack:

        def begin(*, extra: dict[str, Any] | None = None, **settings: Any) -> EmulatorServer:
            server = stack.enter_context(emulator(**settings))
            monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", connection_json(server.url, **(extra or {})))
            return server

        yield begin


@pytest.fixture
def server(start: Start) -> EmulatorServer:
    """An emulator with quick jobs and no rate limit, behind ``piktid_default``."""
    return start()
