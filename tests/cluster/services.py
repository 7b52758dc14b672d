# SPDX-License-Identifier: Apache-2.0
"""Postgres, Redis and the emulator as processes that outlive the command which starts them."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.needs import postgres_program

START_SECONDS = 60.0
#: Nothing in this database outlives the cluster, so nothing waits for the disk.
UNSAFE = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200"


class ClusterError(Exception):
    """The cluster is not in the state that was asked for; the message says why."""


def create_postgres(port: int) -> Path:
    """
    Create and start a Postgres with a database ``airflow``; return its folder.

    The folder is a temporary one: the user postgres may not enter the folders of the one who calls this.
    """
    data = Path(tempfile.mkdtemp(prefix="piktid-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(data, "postgres", "postgres")
    _postgres("initdb", "-D", data, "-A", "trust", "-U", "airflow", "-E", "UTF8", "--no-sync")
    start_postgres(data, port)
    _postgres("createdb", "-h", "127.0.0.1", "-p", port, "-U", "airflow", "airflow")
    return data


def start_postgres(data: Path, port: int) -> None:
    options = f"-p {port} -h 127.0.0.1 -k {data} {UNSAFE}"
    _postgres("pg_ctl", "-D", data, "-w", "-l", data / "log", "-o", options, "start")


def stop_postgres(data: Path) -> None:
    """Stop Postgres at once; open connections break."""
    _postgres("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")


def _postgres(program: str, *arguments: object) -> None:
    """Run one of Postgres' programs; as the user postgres if this is root, which Postgres refuses."""
    path = postgres_program(program)
    user = []
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        user = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    done = subprocess.run(
        [*user, str(path), *map(str, arguments)],
        # Not a pipe: the server keeps it open.
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    if done.returncode:
        raise ClusterError(f"{program} failed with code {done.returncode}")


def start_redis(port: int, log: Path) -> int:
    """Start Redis without a file, so that it forgets everything when it ends; return its process id."""
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    pid = detached(["redis-server", *options], os.environ, log)
    wait_for_port(port, "Redis", log)
    return pid


def start_emulator(port: int, log: Path) -> int:
    """Start the emulator; return its process id."""
    command = [sys.executable, "-m", "airflow_provider_piktid.emulator", "--port", str(port)]
    return detached(command, os.environ, log)


def detached(command: list[str], environment: Mapping[str, str], log: Path) -> int:
    """Start a process in a session of its own; return its process id."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    # It is not waited for: whoever asks later is another process.
    process.returncode = 0
    return process.pid


def wait_for_port(port: int, what: str, log: Path) -> None:
    """Wait until something listens on a port."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise ClusterError(f"{what} did not start; see {log}")


def free_ports(count: int) -> list[int]:
    """Return ports on loopback that are free, each another one."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(listener.getsockname()[1]) for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
