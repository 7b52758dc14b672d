# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin, in pytest runs of their own, as in the project of a user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = "airflow_provider_piktid.testing.plugin"
PROJECT = Path(__file__).parent / "project"
REPOSITORY = PROJECT.parents[2]


def run_pytest(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """
    Run pytest in a folder; return its exit code and its output.

    The plugin is named, not found by its entry point: an environment installed before it was declared has none.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW_", "PYTEST_", "COV_"))
    }
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:piktid", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=kept | {"PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
    )
    return result.returncode, result.stdout + result.stderr


def write_test(folder: Path, code: str, ini: str = "") -> Path:
    """Write a project with one test; return its folder."""
    (folder / "pytest.ini").write_text(f"[pytest]\n{ini}\n")
    (folder / "test_it.py").write_text(code)
    return folder


def test_project_of_a_user_runs_its_dag(tmp_path: Path) -> None:
    """A DAG in a project of its own runs to its end with plain pytest, in an Airflow home of the run."""
    project = shutil.copytree(PROJECT, tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__"))
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    code, output = run_pytest(
        project, "-p", PLUGIN, "--strict-markers", HOME=str(tmp_path), TMPDIR=str(temporary)
    )

    assert (code, "2 passed" in output) == (0, True), output
    assert not (tmp_path / "airflow").exists()
    assert [path.name for path in temporary.iterdir() if path.name.startswith("piktid")] == []


def test_plugin_imports_nothing_heavy() -> None:
    """A pytest run that has nothing to do with PiktID loads three small modules and no library."""
    code = (
        f"import sys, pytest; before = set(sys.modules); import {PLUGIN};"
        "print(sorted(name for name in set(sys.modules) - before))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == str(
        ["airflow_provider_piktid", "airflow_provider_piktid.testing", PLUGIN]
    )


def test_plugin_is_inactive_unless_asked_for(tmp_path: Path) -> None:
    """Without a fixture and without the option, neither Airflow nor the emulator is imported."""
    code = """
import os, sys
def test_it():
    assert not {"airflow", "uvicorn", "httpx", "PIL"} & sys.modules.keys()
    assert "AIRFLOW_HOME" not in os.environ
"""
    code_of_run, output = run_pytest(write_test(tmp_path, code), "-p", PLUGIN)
    assert code_of_run == 0, output


def test_missing_extra_is_named(tmp_path: Path) -> None:
    """Without the extra the fixture says what to install."""
    (tmp_path / "conftest.py").write_text("import sys; sys.modules['uvicorn'] = None")
    code, output = run_pytest(write_test(tmp_path, "def test_it(piktid_emulator): pass"), "-p", PLUGIN)
    assert code == 1
    assert "pip install 'airflow-provider-piktid[emulator]'" in output


@pytest.mark.parametrize(
    ("ini", "conftest", "expected"),
    [
        pytest.param("piktid_dags = nowhere", "", "nowhere is not a folder", id="folder missing"),
        pytest.param("", "", "set `piktid_dags`", id="option missing"),
    ],
)
def test_wrong_option_is_named(tmp_path: Path, ini: str, conftest: str, expected: str) -> None:
    """A run of a DAG without a usable folder says what to set."""
    code, output = run_pytest(write_test(tmp_path, "def test_it(piktid_run_dag): pass", ini), "-p", PLUGIN)
    assert code != 0
    assert expected in output


def test_unknown_dag_lists_what_there_is(tmp_path: Path) -> None:
    """A DAG id with a typing error is answered with the ids in the folder and the files that cannot be imported."""
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "broken.py").write_text("from airflow import nothing_like_this  # DAG")
    shutil.copy(PROJECT / "dags" / "spring.py", tmp_path / "dags")
    write_test(tmp_path, "def test_it(piktid_run_dag): piktid_run_dag('sprin')", "piktid_dags = dags")
    code, output = run_pytest(tmp_path, "-p", PLUGIN)
    assert code == 1
    assert "no DAG 'sprin'" in output
    assert "found: spring" in output
    assert "nothing_like_this" in output


def test_own_accounts_of_the_developer_are_out_of_reach(tmp_path: Path) -> None:
    """PiktID connections and the database in the developer's environment are not used by a run of DAGs."""
    (tmp_path / "dags").mkdir()
    code = """
import os
def test_it():
    assert sorted(name for name in os.environ if name.startswith("AIRFLOW_CONN_")) == ["AIRFLOW_CONN_MINIO"]
    assert "production" not in os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
"""
    code_of_run, output = run_pytest(
        write_test(tmp_path, code, "piktid_dags = dags"),
        "-p",
        PLUGIN,
        AIRFLOW_CONN_PIKTID_DEFAULT='{"conn_type": "piktid", "password": "real"}',
        AIRFLOW_CONN_PIKTID_EU="piktid://:real@",
        AIRFLOW_CONN_MINIO="aws://",
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="postgresql://production",
    )
    assert code_of_run == 0, output


def test_plugin_can_be_left_out(tmp_path: Path) -> None:
    """Blocked by its name, the plugin has no fixtures."""
    code, output = run_pytest(write_test(tmp_path, "def test_it(piktid_emulator): pass"))
    assert code == 1
    assert "fixture 'piktid_emulator' not found" in output
