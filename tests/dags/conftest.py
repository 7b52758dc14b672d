# SPDX-License-Identifier: Apache-2.0
"""An emulator for the example DAGs, images, and the connection in the environment or the database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from tests.support.fixtures import server, start
from tests.support.service import connection_json, picture

__all__ = ["server", "start"]


@pytest.fixture(params=["environment", "database"])
def connected(
    request: pytest.FixtureRequest, server: EmulatorServer, airflow_db: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EmulatorServer]:
    """
    An emulator with ``piktid_default`` in the environment or in the metadata database.

    With an environment variable triggers and workers do not look the connection up in the database.
    """
    if request.param == "environment":
        yield server
        return
    from airflow.models import Connection
    from airflow.utils.session import create_session

    monkeypatch.delenv("AIRFLOW_CONN_PIKTID_DEFAULT")
    told = json.loads(connection_json(server.url))
    told["extra"] = json.dumps(told["extra"])
    with create_session() as session:
        session.add(Connection(conn_id="piktid_default", **told))
    yield server
    with create_session() as session:
        session.query(Connection).filter(Connection.conn_id == "piktid_default").delete()


@pytest.fixture
def shoot(tmp_path: Path) -> Callable[..., Path]:
    """Create folders of small images, all different: ``shoot("shirts", "dresses")``."""

    def make(*names: str) -> Path:
        for number, name in enumerate(names):
            picture(tmp_path / "in" / name / "front.jpg", color=f"rgb(250, 160, {40 * number})")
            picture(tmp_path / "in" / name / "back.jpg", color=f"rgb(0, 120, {40 * number})")
        return tmp_path / "in"

    return make
