# SPDX-License-Identifier: Apache-2.0
"""
The pytest plugin: fixtures for tests of DAGs. ``-p no:piktid`` leaves it out.

Every pytest run of an environment loads this file, also those that have nothing to do with PiktID. So it imports
only pytest at the top, and does nothing unless a fixture or the option ``piktid_dags`` asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow_provider_piktid.testing.service import PiktidEmulator

MARKER = "piktid_emulator(**settings): settings of the emulator of this test, such as credits=3"
DAGS = "folder of the DAGs under test; the run gets an Airflow home and database of its own"
#: Limits of the connection that would make a test wait: the emulator has no limit of submissions.
EXTRA = {"jobs_per_minute": 1000, "v1_poll_interval": 0.1}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ini option ``piktid_dags``."""
    parser.addini("piktid_dags", DAGS)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Prepare Airflow's environment before a conftest can import Airflow, which reads it once."""
    folder = _dags_folder(early_config)
    if folder is not None:
        from airflow_provider_piktid.testing.airflow_home import use_new_home

        early_config.add_cleanup(use_new_home(folder))


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, for ``--strict-markers``."""
    config.addinivalue_line("markers", MARKER)


def _dags_folder(config: pytest.Config) -> Path | None:
    value = str(config.getini("piktid_dags") or "").strip()
    base = config.inipath.parent if config.inipath else config.rootpath
    return (base / value).resolve() if value else None


@pytest.fixture
def piktid_emulator(request: pytest.FixtureRequest) -> Iterator[PiktidEmulator]:
    """
    A new PiktID for this test on a free loopback port: short jobs, no rate limit, outputs equal to inputs.

    The marker ``piktid_emulator`` changes its settings: ``@pytest.mark.piktid_emulator(credits=3)``.
    """
    try:
        from airflow_provider_piktid.testing.service import PiktidEmulator
    except ImportError as error:
        pytest.fail(
            f"piktid_emulator needs the extra `emulator` ({error}): "
            "pip install 'airflow-provider-piktid[emulator]'",
            pytrace=False,
        )
    markers = reversed(list(request.node.iter_markers("piktid_emulator")))
    with PiktidEmulator(
        **{name: value for marker in markers for name, value in marker.kwargs.items()}
    ) as server:
        yield server


@pytest.fixture
def piktid_connection(
    piktid_emulator: PiktidEmulator, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """
    The connection ``piktid_default`` to this test's emulator, for both APIs, in the environment.

    Call it for another id, or with other fields of the extra: ``piktid_connection("piktid_eu", images_per_job=2)``.
    """

    def connect(conn_id: str = "piktid_default", **extra: Any) -> None:
        settings = piktid_emulator.settings
        connection = {"conn_type": "piktid", "host": piktid_emulator.url, "password": settings.token}
        value = json.dumps({**connection, "extra": EXTRA | extra})
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", value)

    connect()
    return connect


@pytest.fixture(scope="session")
def _piktid_database(pytestconfig: pytest.Config) -> Path:
    """The folder of the DAGs under test; Airflow's database is migrated, which takes some seconds."""
    folder = _dags_folder(pytestconfig)
    if folder is None:
        pytest.fail(
            "piktid_run_dag needs the folder of your DAGs: set `piktid_dags` in the pytest section of pyproject.toml "
            'or in pytest.ini, for example piktid_dags = "dags".',
            pytrace=False,
        )
    from airflow_provider_piktid.testing.airflow_home import migrate

    migrate()
    return folder


@pytest.fixture
def piktid_run_dag(_piktid_database: Path, piktid_connection: Callable[..., None]) -> Callable[..., Any]:
    """
    Run a DAG of the folder ``piktid_dags`` to its end in this process.

    Call it with the id of the DAG and its params: ``piktid_run_dag("spring", images="/data/shoot")``. It returns
    Airflow's DAG run; look at its ``state``.
    """
    from airflow_provider_piktid.testing.airflow_home import run_dag

    return lambda dag_id, **params: run_dag(_piktid_database, dag_id, params)
