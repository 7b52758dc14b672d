# SPDX-License-Identifier: Apache-2.0
"""The command ``probe``: what it says before it begins, what it asks, and where it takes its token from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from tests.cli.conftest import Run
from tests.support.service import picture

SHORT = ("--stream-seconds", "3")


def test_probe_says_what_it_leaves_behind(server: EmulatorServer, run: Run) -> None:
    """It is free, and its report goes to stdout alone."""
    done = run("probe", *SHORT, "--json")
    assert (done.code, done.document["credits"]) == (0, 0.0)
    assert "leaves behind one project" in done.err
    assert server.state.ledger() == []


def test_probe_shows_tables_for_people(server: EmulatorServer, run: Run) -> None:
    """What is known, what is not and why, and how much was used."""
    out = run("probe", *SHORT).out
    for text in ("Status of a validation error", "Not known:", "facts known;", "0 credits."):
        assert text in out


@pytest.mark.parametrize("paid", ["--spend", "--person"])
def test_probe_pays_only_if_it_was_told_to(
    server: EmulatorServer, run: Run, tmp_path: Path, paid: str
) -> None:
    """Where nobody can be asked, nothing is sent without --yes; the price is shown."""
    done = run("probe", paid, "--picture", str(picture(tmp_path / "person.jpg")))
    assert (done.code, server.state.ledger()) == (2, [])
    assert "It costs one" in done.err
    assert "Pass --yes" in done.err


def test_probe_spends_after_yes(server: EmulatorServer, run: Run) -> None:
    """One job of one picture with one variation."""
    done = run("probe", "--spend", "--yes", *SHORT, "--json")
    assert done.document["credits"] == 1.0
    (job,) = server.state.ledger()
    assert len(job["images"]) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("--person", "--yes"),
        ("--picture", "/none.jpg"),
        ("--base-url", "http://127.0.0.1:1"),
        ("--base-url", "nowhere"),
    ],
    ids=" ".join,
)
def test_probe_refuses_arguments_that_cannot_work(
    server: EmulatorServer, run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """The message says what is missing; nothing is sent."""
    if "nowhere" in arguments:
        monkeypatch.setenv("PIKTID_TOKEN", "piktid-emulator")
    assert run("probe", *arguments).code == 2


def test_probe_that_is_refused_says_so(server: EmulatorServer, run: Run) -> None:
    """A wrong token ends it early, with a report and exit code 1."""
    server.state.faults.add("any", "status", times=None, code=401)
    done = run("probe", *SHORT, "--json")
    assert (done.code, done.document["decided"]) == (1, 0)
    assert "HTTP 401" in done.document["ended_early"]


@pytest.mark.slow
def test_probe_needs_no_airflow(server: EmulatorServer, repository: Path) -> None:
    """With --base-url and a token in the environment neither Airflow nor a connection is loaded."""
    code = (
        "import sys; from airflow_provider_piktid.cli.main import main;"
        f"code = main(['probe', '--base-url', '{server.url}', '--stream-seconds', '3', '--json']);"
        "print([m for m in sys.modules if m == 'airflow'], file=sys.stderr); sys.exit(code)"
    )
    environment = os.environ | {"PIKTID_TOKEN": "piktid-emulator", "PYTHONPATH": str(repository)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "[]"), done.stderr
    assert json.loads(done.stdout)["decided"] > 10
