# SPDX-License-Identifier: Apache-2.0
"""An emulator that listens on a socket, and the commands against it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_provider_piktid.cli.main import main
from tests.support.fixtures import server, start

__all__ = ["Ran", "Run", "server", "start"]


@dataclass
class Ran:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], airflow_db: object) -> Run:
    """Run a command with these arguments, as ``python -m`` does."""

    def call(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main(arguments)
        return Ran(code, *capsys.readouterr())

    return call
