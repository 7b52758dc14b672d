# SPDX-License-Identifier: Apache-2.0
"""A part of Airflow that a test suspends does not keep the database locked."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from tests.support.suspend import suspended

WRITER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
connection.execute("CREATE TABLE rows (number INTEGER)")
for number in range(10_000):
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO rows VALUES (?)", [number])
    print(number, flush=True)
    time.sleep(0.4)
    connection.execute("COMMIT")
    time.sleep(0.1)
"""


def test_process_is_suspended_between_its_transactions(tmp_path: Path) -> None:
    """Also one that is within a transaction most of the time; afterwards it goes on."""
    database = tmp_path / "airflow.db"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(database)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    try:
        assert writer.stdout.readline() == "0\n"
        with suspended(database, writer.pid):
            other = sqlite3.connect(database, isolation_level=None, timeout=0)
            other.execute("BEGIN IMMEDIATE")
            (written,) = other.execute("SELECT max(number) FROM rows").fetchone()
            other.close()
        assert any(int(line) > written for line in writer.stdout)
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()
