# SPDX-License-Identifier: Apache-2.0
"""The commands: one definition, two ways to run them, exit codes, and what they print."""

from __future__ import annotations

import argparse
import ast
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_piktid.cli.definition import PACKAGE, ROOT, Command, Node
from airflow_provider_piktid.cli.main import parser
from airflow_provider_piktid.cli.output import printable
from airflow_provider_piktid.cli.runner import code_of
from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import (
    PiktidAuthError,
    PiktidConfigError,
    PiktidConnectionError,
    PiktidError,
    PiktidRecordError,
    PiktidServerError,
)
from tests.cli.conftest import Run
from tests.support.batch import buy
from tests.support.service import connection_json


def has_provider_commands() -> bool:
    """Whether this Airflow takes commands of providers: 3.2 and newer."""
    spec = find_spec("airflow")
    assert spec is not None
    assert spec.origin is not None
    return '"cli"' in (Path(spec.origin).parent / "provider_info.schema.json").read_text()


AIRFLOW_COMMANDS = pytest.mark.skipif(not has_provider_commands(), reason="needs Airflow 3.2")


def leaves(node: Node, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Command]]:
    """Yield each command with its words."""
    if isinstance(node, Command):
        yield path, node
    else:
        for each in node.commands:
            yield from leaves(each, (*path, each.name))


def options(of: argparse.ArgumentParser) -> set[str]:
    """The names of the arguments of a parser, and of those below it."""
    found: set[str] = set()
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {
                f"{name} {option}" for name, child in action.choices.items() for option in options(child)
            }
        elif action.dest != "help":
            found.add(action.dest)
    return found


COMMANDS = dict(leaves(ROOT))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_command_has_a_module(path: tuple[str, ...]) -> None:
    """Each command of the definition is there, and takes ``--json``."""
    command = COMMANDS[path]
    assert find_spec(f"{PACKAGE}.{command.module}") is not None
    assert "--json" in {flag for argument in command.arguments for flag in argument.flags}


@AIRFLOW_COMMANDS
def test_both_ways_take_the_same_arguments() -> None:
    """``airflow piktid`` and ``python -m`` are made from one definition."""
    from airflow.cli.cli_parser import _add_command

    from airflow_provider_piktid.cli.airflow_commands import get_cli_commands

    airflow = argparse.ArgumentParser()
    (group,) = get_cli_commands()
    _add_command(airflow.add_subparsers(), group)
    assert options(airflow) == {f"piktid {option}" for option in options(parser())}


def test_definition_imports_nothing_of_the_client() -> None:
    """Airflow reads the commands at every start of its command line."""
    code = (
        "import sys; before = set(sys.modules); import airflow_provider_piktid.cli.airflow_commands;"
        "print([m for m in set(sys.modules) - before if m.split('.')[0] in ('airflow', 'httpx', 'pydantic', 'rich')"
        " or m.startswith('airflow_provider_piktid.') and '.cli' not in m])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ast.literal_eval(result.stdout) == []


def process(*command: str, url: str, repository: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a process, with this package and ``piktid_default``."""
    environment = os.environ | {
        "AIRFLOW_CONN_PIKTID_DEFAULT": connection_json(url),
        "PYTHONPATH": str(repository),
        "PYTHONWARNINGS": "ignore",
        **more,
    }
    return subprocess.run([sys.executable, "-m", *command], env=environment, capture_output=True, text=True)


@AIRFLOW_COMMANDS
@pytest.mark.slow
def test_airflow_runs_the_command(server: EmulatorServer, airflow_db: object, repository: Path) -> None:
    """``airflow piktid check`` prints JSON alone on stdout, and ends with the code of the command."""
    good = process("airflow", "piktid", "check", "--json", url=server.url, repository=repository)
    assert good.returncode == 0, good.stderr
    assert json.loads(good.stdout)["base_url"] == server.url
    bad = process("airflow", "piktid", "check", "--conn-id", "none", url=server.url, repository=repository)
    assert (bad.returncode, bad.stdout) == (2, "")


@pytest.mark.slow
def test_python_runs_the_command(server: EmulatorServer, airflow_db: object, repository: Path) -> None:
    """``python -m airflow_provider_piktid`` does the same on every Airflow."""
    done = process("airflow_provider_piktid", "check", "--json", url=server.url, repository=repository)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["connection"] == "piktid_default"


def test_check_shows_limits_credits_and_running_jobs(server: EmulatorServer, run: Run) -> None:
    """One row for each: connection, limits, records, running jobs, credits used, webhook."""
    buy(server)
    done = run("check", "--json")
    rows = {row["name"]: row["text"] for row in done.document["checks"]}
    assert {"connection", "limits", "records", "running jobs", "credits used", "webhook"} <= set(rows)
    assert rows["credits used"].startswith("1 (model_swap 1)")
    assert "5 jobs in 60 s, 5 active jobs, 10 images" in rows["limits"]


def test_command_leaves_the_process_as_it_was(server: EmulatorServer, run: Run) -> None:
    """A program that calls a command logs afterwards as before, and looks connections up as before."""
    before = dict(os.environ), logging.getLogger("airflow_provider_piktid").level
    run("check")
    assert (dict(os.environ), logging.getLogger("airflow_provider_piktid").level) == before


def test_check_of_a_login_uses_v1(server: EmulatorServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection with a login is for persons: v2 is not asked."""
    told = json.loads(connection_json(server.url)) | {"login": "demo@example.com"}
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", json.dumps(told))
    done = run("check", "--json")
    names = {row["name"]: row["ok"] for row in done.document["checks"]}
    assert names["connection"] is True
    assert "webhook" not in names


@pytest.mark.parametrize(
    ("arguments", "fault", "code"),
    [
        pytest.param(("jobs",), None, 0, id="done"),
        pytest.param(("check",), {"code": 401}, 1, id="check of a refused token"),
        pytest.param(("jobs",), {"code": 401}, 3, id="refused token"),
        pytest.param(("jobs", "--conn-id", "none"), None, 2, id="no connection"),
        pytest.param(("jobs", "--limit", "0"), None, 2, id="wrong argument"),
        pytest.param(("rescue", "none", "--to", "/dev/null/x"), None, 2, id="path that cannot be written"),
        pytest.param(("webhook", "test"), None, 1, id="no webhook to test"),
    ],
)
def test_exit_code_says_how_it_ended(
    server: EmulatorServer, run: Run, arguments: tuple[str, ...], fault: Any, code: int
) -> None:
    """Programs need not read the text; what is wrong stands on stderr, or in the output of a check."""
    if fault:
        server.state.faults.add("any", "status", times=None, **fault)
    done = run(*arguments)
    assert done.code == code, done.err
    assert bool(done.err) == (code > 1)
    assert "piktid-emulator" not in done.out + done.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PiktidAuthError("no", status=401), 3),
        (PiktidConfigError("no"), 2),
        (PiktidServerError("no", status=503), 4),
        (PiktidConnectionError("no"), 4),
        (PiktidRecordError("no"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_error_has_an_exit_code(error: PiktidError, code: int) -> None:
    """What a person would do about an error decides its code."""
    assert code_of(error) == code


def test_text_for_people_has_no_control_characters() -> None:
    """A server cannot move the cursor of the terminal."""
    assert printable("a\x1b[2Jb\rc\nd") == "a [2Jb c\nd"


def test_connection_of_the_metadata_database_is_found(
    server: EmulatorServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command runs beside Airflow: it reads the connections that the web interface shows."""
    from airflow.models import Connection
    from airflow.utils.session import create_session

    told = json.loads(connection_json(server.url))
    told["extra"] = json.dumps(told["extra"])
    with create_session() as session:
        session.add(Connection(conn_id="piktid_stored", **told))
    try:
        assert run("jobs", "--conn-id", "piktid_stored").code == 0
    finally:
        with create_session() as session:
            session.query(Connection).filter(Connection.conn_id == "piktid_stored").delete()
