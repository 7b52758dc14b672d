# SPDX-License-Identifier: Apache-2.0
"""Fixtures: an emulator that listens on a socket, and a small refresh."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_piktid.common import paid
from airflow_provider_piktid.emulator import EmulatorServer
from tests.support.fixtures import read_log, server, start
from tests.support.refresh import Nights
from tests.support.service import pictures

__all__ = ["read_log", "server", "start"]


@pytest.fixture
def fast_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``poll_interval`` be shorter than what PiktID asks for."""
    monkeypatch.setattr(paid, "MIN_POLL_INTERVAL", 0.2)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two images of different content."""
    return pictures(tmp_path / "in", "a.jpg", "b.jpg")


@pytest.fixture
def nights(server: EmulatorServer, source: Path, tmp_path: Path) -> Nights:
    """A refresh of the images, two in each batch."""
    return Nights(str(source), str(tmp_path / "out"), images_per_batch=2)
