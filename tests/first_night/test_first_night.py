# SPDX-License-Identifier: Apache-2.0
"""The commands of docs/first_night.md, as they are written there, with an emulator and a local S3 server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_provider_piktid.files import storage
from airflow_provider_piktid.refresh import read_rows
from airflow_provider_piktid.testing.pictures import write_pictures
from airflow_provider_piktid.testing.service import PiktidEmulator
from tests.conftest import REPOSITORY
from tests.support.s3 import connection_to, put, s3_server

pytest.importorskip("s3fs", reason="the DAG of the page reads a bucket")

PAGE = REPOSITORY / "docs" / "first_night.md"
TOKEN = "token-of-the-reader"
COMMANDS = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
OUTPUT = "s3://aws_default@shop-swapped/summer"

Shell = Callable[[str], str]

pytestmark = [pytest.mark.slow, pytest.mark.piktid_emulator(token=TOKEN, job_seconds=0.3)]


@pytest.fixture
def buckets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The connection to an S3 server with five photographs in the source and an empty bucket for outputs."""
    with s3_server() as endpoint:
        connection = json.dumps(connection_to(endpoint))
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", connection)
        root = storage.locate("s3://aws_default@shop/").fs
        for bucket in ("shop", "shop-swapped"):
            root.mkdir(bucket)
        for path in write_pictures(tmp_path / "in", *(f"{number}.jpg" for number in range(5))).iterdir():
            put(f"s3://aws_default@shop/photographs/{path.name}", path.read_bytes())
        yield connection


@pytest.fixture
def shell(piktid_emulator: PiktidEmulator, buckets: str, tmp_path: Path) -> Shell:
    """Run a command in the shell of the reader, with an Airflow of its own; return its output."""
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "nightly.py").write_text((Path(__file__).parent / "nightly.py").read_text())
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment = kept | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__PIKTID__STATE_PATH": str(tmp_path / "state"),
        "AIRFLOW_CONN_AWS_DEFAULT": buckets,
        "PIKTID_API_TOKEN": TOKEN,
        "COLUMNS": "400",
    }

    def run(command: str) -> str:
        result = subprocess.run(
            ["bash", "-ec", command],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert result.returncode == 0, result.stdout
        return result.stdout

    return run


def test_page_leads_to_the_first_night(shell: Shell, piktid_emulator: PiktidEmulator) -> None:
    """Every command of the page works, costs what the page says, and no image is bought twice."""
    install, connect, check, dry_run, three, unpause = COMMANDS
    shell("airflow db migrate")  # the reader has an Airflow

    assert "airflow-provider-piktid" in shell(install.partition("\n")[2])
    # The only difference: the reader's host is PiktID.
    shell(f"{connect.strip()} --conn-host {piktid_emulator.url}")
    assert piktid_emulator.url in shell(check)

    planned = shell(dry_run)
    assert re.search(r"5 sources: 5 to submit \(5 new, .*about 5 credits", planned)
    assert (piktid_emulator.bought_images, piktid_emulator.credits_spent) == ([], 0)

    swapped = shell(three)
    assert re.search(r"shop-swapped/summer/_piktid/contact_sheet/\w+\.html", swapped)
    assert piktid_emulator.credits_spent == 3
    assert [row["status"] for row in read_rows(OUTPUT)] == ["done"] * 3

    shell("airflow dags reserialize")  # the DAG processor of the reader's Airflow
    assert "nightly" in shell(unpause)
    shell(three)
    assert piktid_emulator.credits_spent == 5
    piktid_emulator.assert_nothing_bought_twice()
    assert [row["status"] for row in read_rows(OUTPUT)] == ["done"] * 5
