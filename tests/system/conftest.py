# SPDX-License-Identifier: Apache-2.0
"""A running Airflow for the whole session, and an emulator for each test."""

from __future__ import annotations

import json
import re
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import EXAMPLE_DAGS
from tests.support.fixtures import server, start
from tests.support.rest import AirflowRest
from tests.support.stack import AirflowStack, emulator_process

__all__ = ["server", "start"]

TOKEN = "emulator-token-5f1c9e"
DAGS = Path(__file__).parent / "dags"


@pytest.fixture(scope="session")
def running_airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:
    """Scheduler, triggerer, DAG processor and API server; the start takes half a minute."""
    home = tmp_path_factory.mktemp("stack") / "airflow"
    nightly = unscheduled(EXAMPLE_DAGS / "example_refresh.py", home.parent)
    downstream = EXAMPLE_DAGS / "example_refresh_downstream.py"
    dags = [EXAMPLE_DAGS / "example_model_swap.py", nightly, downstream, *sorted(DAGS.glob("*.py"))]
    with AirflowStack(home, dags) as stack:
        yield stack


def unscheduled(example: Path, folder: Path) -> Path:
    """Copy an example DAG without its schedule, so that no scheduled run delays the tests."""
    text, count = re.subn(r'schedule="[^"]+"', "schedule=None", example.read_text())
    assert count == 1
    copy = folder / example.name
    copy.write_text(text)
    return copy


@pytest.fixture
def airflow(running_airflow: AirflowStack) -> AirflowStack:
    """The running Airflow; parts that an earlier test killed are started again."""
    for part in ("scheduler", "triggerer"):
        if part not in running_airflow.processes:
            running_airflow.start(part)
    running_airflow.wait_until_healthy()
    return running_airflow


Emulate = Callable[..., str]


@pytest.fixture
def emulate(airflow: AirflowStack) -> Iterator[Emulate]:
    """Start an emulator process, store the connection ``piktid_default``, and return the URL."""
    with ExitStack() as stack:

        def begin(*options: str, **extra: Any) -> str:
            url = stack.enter_context(emulator_process("--token", TOKEN, *options))
            connect(airflow, url, extra)
            return url

        yield begin


def connect(airflow: AirflowRest, url: str, extra: dict[str, Any]) -> None:
    body = {"conn_type": "piktid", "host": url, "password": TOKEN, "extra": json.dumps(extra)}
    store_connection(airflow, "piktid_default", body)


def store_connection(airflow: AirflowRest, connection_id: str, body: dict[str, Any]) -> None:
    """Store a connection in the metadata database, or replace it."""
    body = {"connection_id": connection_id, **body}
    try:
        airflow.call("POST", "connections", body)
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise
        airflow.call("PATCH", f"connections/{connection_id}", body)
