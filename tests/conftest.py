# SPDX-License-Identifier: Apache-2.0
"""
Shared fixtures: a temporary Airflow home and a migrated database.

Airflow reads its configuration when it is first imported, so the environment is set before anything else.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import os
import tempfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
EXAMPLE_DAGS = REPOSITORY / "example_dags"

# Not by its entry point, which `-p no:piktid` blocks: that would load it before coverage starts.
pytest_plugins = ["airflow_provider_piktid.testing.plugin"]

_HOME = tempfile.TemporaryDirectory(prefix="piktid-airflow-", ignore_cleanup_errors=True)

# Remove the developer's Airflow settings, in particular real connections.
for _name in [name for name in os.environ if name.startswith(("AIRFLOW_", "AIRFLOW__", "PIKTID_"))]:
    del os.environ[_name]

os.environ.update(
    {
        "AIRFLOW_HOME": _HOME.name,
        "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLE_DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__CORE__FERNET_KEY": "cGlrdGlkLXByb3ZpZGVyLXRlc3RzLWZlcm5ldC1rZXk=",
        "AIRFLOW__API_AUTH__JWT_SECRET": "piktid-provider-tests-" * 4,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME.name}/airflow.db",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }
)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root folder of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """The Airflow home of this run; removed at its end."""
    return Path(_HOME.name)


@pytest.fixture(scope="session")
def one_execution_api() -> None:
    """Let ``dag.test()`` of 3.0 to 3.2 keep its API server, as 3.3 does: they build it for each task, in seconds."""
    if importlib.util.find_spec("airflow.sdk") is not None:
        from airflow.sdk.execution_time import supervisor

        if not hasattr(supervisor.in_process_api_server, "cache_info"):
            supervisor.in_process_api_server = functools.cache(supervisor.in_process_api_server)


@pytest.fixture(scope="session")
def airflow_db(airflow_home: Path, one_execution_api: None) -> Path:
    """A migrated SQLite database in the Airflow home, for `dag.test()`. Created once, in some seconds."""
    from airflow.utils.db import initdb

    with contextlib.redirect_stdout(io.StringIO()):
        initdb()
    return airflow_home / "airflow.db"


@pytest.fixture
def anyio_backend() -> str:
    """Tests marked `anyio` run on asyncio, as the triggerer does."""
    return "asyncio"
