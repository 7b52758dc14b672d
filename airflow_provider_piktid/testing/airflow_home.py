# SPDX-License-Identifier: Apache-2.0
"""An Airflow home for one pytest run, and DAG runs inside of this process."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest


def use_new_home(dags: Path) -> Callable[[], None]:
    """
    Point Airflow to a new temporary home with a database in it; return a function that removes the home.

    Whatever would lead to the developer's own database, DAGs or paid accounts is replaced or removed: settings,
    secrets backends and PiktID connections in the environment.

    :param dags: The DAGs folder. Airflow 3.3 runs only DAGs whose file is below it.
    :raises pytest.UsageError: The folder does not exist, or Airflow was imported before.
    """
    if not dags.is_dir():
        raise pytest.UsageError(
            f"piktid_dags: {dags} is not a folder. It is relative to the file that sets it."
        )
    if "airflow" in sys.modules:
        raise pytest.UsageError(
            "piktid_dags: another pytest plugin has imported Airflow before its home was set."
        )
    home = tempfile.TemporaryDirectory(prefix="piktid-airflow-", ignore_cleanup_errors=True)
    for name in [name for name, value in os.environ.items() if _is_piktid_connection(name, value)]:
        del os.environ[name]
    os.environ |= {
        "AIRFLOW_HOME": home.name,
        "AIRFLOW_CONFIG": f"{home.name}/airflow.cfg",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home.name}/airflow.db",
        "AIRFLOW__SECRETS__BACKEND": "",
    }
    return home.cleanup


def _is_piktid_connection(name: str, value: str) -> bool:
    return name.startswith("AIRFLOW_CONN_") and (value.startswith("piktid:") or '"piktid"' in value)


def migrate() -> None:
    """Create the tables of Airflow's database."""
    from airflow.utils.db import initdb

    with contextlib.redirect_stdout(io.StringIO()):
        initdb()


def run_dag(folder: Path, dag_id: str, params: dict[str, Any]) -> Any:
    """
    Run a DAG of a folder with ``dag.test()`` and return its DAG run.

    The DAG files are read at each call, so that a DAG sees what the test has set in the environment. Deferred tasks
    run their trigger in this process.

    :raises LookupError: No file defines the DAG; the message has the files that could not be imported.
    """
    bag = _dag_bag(folder)
    if dag_id not in bag.dags:
        broken = "".join(f"\n{path}: {error}" for path, error in bag.import_errors.items())
        raise LookupError(
            f"no DAG {dag_id!r} in {folder}; found: {', '.join(sorted(bag.dags)) or 'none'}{broken}"
        )
    return bag.dags[dag_id].test(run_conf=params)


def _dag_bag(folder: Path) -> Any:
    try:
        module = import_module("airflow.dag_processing.dagbag")
    except ImportError:  # before 3.2
        module = import_module("airflow.models.dagbag")
    return module.DagBag(str(folder))
