# SPDX-License-Identifier: Apache-2.0
"""What the demos run in: an emulator, a separate Airflow home, the example DAGs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airflow_provider_piktid.demo.progress import step

CONNECTION_VARIABLE = "AIRFLOW_CONN_PIKTID_DEFAULT"
#: The connection of generated persons: PiktID's v1 API has accounts of its own.
V1_VARIABLE = "AIRFLOW_CONN_PIKTID_V1"
#: Photographs, logs and the temporary Airflow homes, in the current folder.
WORK = Path(".piktid-demo")


class DemoError(Exception):
    """The demo cannot continue; the message says why."""


def has_own_service() -> bool:
    """Return whether the user's own connection is set, so that the demo spends credits."""
    return bool(os.environ.get(CONNECTION_VARIABLE))


@contextlib.contextmanager
def service(*options: str, **extra: int) -> Iterator[dict[str, str]]:
    """
    Yield the variables of the connections, one for each API, to a new emulator, which stops with the context.

    If the user's own connection is set already, only that of the v1 API is added, with the same content.

    :param options: Options of the emulator.
    :param extra: Fields of the v2 connection's extra.
    """
    if has_own_service():
        print(f"service:   the one in {CONNECTION_VARIABLE} (this costs credits)", flush=True)
        yield {V1_VARIABLE: os.environ.get(V1_VARIABLE) or os.environ[CONNECTION_VARIABLE]}
        return
    with emulator(*options) as url:
        print(f"service:   emulator at {url} (open it in a browser while it runs)", flush=True)
        shared = {"conn_type": "piktid", "host": url, "password": "piktid-emulator"}
        yield {
            CONNECTION_VARIABLE: json.dumps({**shared, "extra": extra}),
            V1_VARIABLE: json.dumps({**shared, "login": "demo@example.com"}),
        }


@contextlib.contextmanager
def emulator(*options: str) -> Iterator[str]:
    """Start the emulator on a free port and yield its base URL."""
    command = [sys.executable, "-m", "airflow_provider_piktid.emulator", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline().strip() if process.stdout else ""
        if not url.startswith("http"):
            raise DemoError("the emulator did not start; try `python -m airflow_provider_piktid.emulator`")
        yield url
    finally:
        stop(process)


def example_dags() -> Path:
    """Return the folder of the example DAGs: inside the package of a wheel, at the top of a clone."""
    folder = Path(__file__).resolve().parent
    bundled = folder / "example_dags"
    return bundled if bundled.is_dir() else folder.parents[1] / "example_dags"


def airflow_environment(home: Path, dags: Path) -> dict[str, str]:
    """Return an environment in which Airflow loads only these DAGs and keeps its files in ``home``."""
    if not dags.is_dir():
        raise DemoError(f"DAG folder not found: {dags}. Name the folder of the example DAGs with --dags.")
    home.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")}
    return kept | {
        "AIRFLOW_HOME": str(home.resolve()),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags.resolve()),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        # Requests to this machine must not go through a proxy.
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "PYTHONUNBUFFERED": "1",
        # `airflow standalone` looks its components up by the name of the command.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    }


class DagRunner:
    """
    Runs DAGs in a process with a new Airflow home; use :func:`dag_runner`.

    :param log: Where Airflow logs to.
    """

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log

    def run(self, dag_id: str, params: dict[str, Any]) -> dict[str, Any]:
        """
        Run a DAG to its end; return the summaries that its tasks pushed to XCom, by task id.

        :raises DemoError: The run failed. The message is the task's own error if the log has one.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps([dag_id, params]) + "\n")
            self._process.stdin.flush()
        state, summaries = json.loads(self._process.stdout.readline() or '["died", {}]')
        if state.rpartition(".")[2].lower() == "success":
            found: dict[str, Any] = summaries
            return found
        reason = task_error(self._log)
        if reason is None:
            print_end(self._log)
        raise DemoError(f"{reason or f'the run of {dag_id} failed'} (log: {self._log})")


@contextlib.contextmanager
def dag_runner(dags: Path, variables: dict[str, str], log: Path) -> Iterator[DagRunner]:
    """
    Yield a runner of DAGs; its Airflow home is removed at the end.

    :param variables: Environment variables of the connections.
    """
    with tempfile.TemporaryDirectory(prefix="airflow-", dir=WORK) as home, log.open("w") as output:
        environment = airflow_environment(Path(home), dags) | variables
        process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "airflow_provider_piktid.demo.dag_process",
                str(dags.resolve()),
            ],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
        try:
            yield DagRunner(process, log)
        finally:
            stop(process)


def run_dag(dag_id: str, params: dict[str, Any], dags: Path, variables: dict[str, str], log: Path) -> None:
    """
    Run one DAG to its end in a new Airflow home.

    :raises DemoError: The run failed.
    """
    log.unlink(missing_ok=True)
    with (
        step("airflow", f"running {dag_id}, log in {log}", log),
        dag_runner(dags, variables, log) as runner,
    ):
        runner.run(dag_id, params)


def airflow(arguments: list[str], environment: dict[str, str], log: Path) -> None:
    """
    Run one Airflow command and append its output to ``log``.

    :raises DemoError: The command failed.
    """
    with log.open("a") as file:
        command = [sys.executable, "-m", "airflow", *arguments]
        code = subprocess.run(
            command, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False
        ).returncode
    if code:
        print_end(log)
        raise DemoError(f"`airflow {' '.join(arguments[:2])}` failed with code {code} (log: {log})")


def task_error(log: Path) -> str | None:
    """Return the last error of this package in a log."""
    text = log.read_text(errors="replace")
    found = re.findall(r"^[\w.]*(?:AirflowFailException|Piktid\w+): (.+)$", text, re.MULTILINE)
    return found[-1] if found else None


def print_end(log: Path) -> None:
    """Print the last lines of a log."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    print("\n".join(["...", *lines[-25:]]), file=sys.stderr)


def stop(process: subprocess.Popen[str]) -> None:
    """Terminate a process, and kill it if it still runs ten seconds later."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def stop_group(process: subprocess.Popen[str], *, seconds: float = 20.0) -> None:
    """
    Terminate a process and all others of its group, and kill those that still run after some time.

    :param seconds: How long the process may take to end; the others get a quarter more.
    """
    # Also if the process has ended: Airflow's scheduler may outlive the command that has started it.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        deadline = time.monotonic() + seconds / 4
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
