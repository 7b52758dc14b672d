# SPDX-License-Identifier: Apache-2.0
"""Start Airflow with its web interface, the emulator, a connection to it, and the example DAGs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from airflow_provider_piktid.demo.environment import DemoError, airflow, airflow_environment, service
from airflow_provider_piktid.demo.pictures import photographs

HOME = Path(".piktid-ui")
START_SECONDS = 180


def run(dags: Path) -> int:
    """Run until interrupted; return the exit code of Airflow."""
    HOME.mkdir(exist_ok=True)
    shoot = photographs(HOME / "photographs").resolve()
    port = int(os.environ.get("PIKTID_UI_PORT") or _free_port())
    with service() as connection:
        environment = airflow_environment(HOME / "airflow", dags) | _web(port)
        environment["PIKTID_EXAMPLE_IMAGES"] = str(shoot)
        environment["PIKTID_EXAMPLE_OUTPUT"] = str((HOME / "output").resolve())
        log = HOME / "airflow.log"
        log.unlink(missing_ok=True)
        print("airflow:   starting, this takes about half a minute ...", flush=True)
        _prepare(environment, connection, log)
        with log.open("a") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", "standalone"],
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
                # In its own process group, so that all components stop together.
                start_new_session=True,
            )
        try:
            _wait_until_up(port, process, log)
            print(f"airflow:   http://127.0.0.1:{port} (no login needed; log in {log})")
            print("try:       trigger example_piktid_model_swap; its parameters are already set")
            print(f"results:   {HOME / 'output'}")
            print("stop:      Ctrl-C", flush=True)
            return process.wait()
        finally:
            _end_group(process)


def _prepare(environment: dict[str, str], connection: dict[str, str], log: Path) -> None:
    """Create the database and store the connection in it, so that the web interface shows it."""
    airflow(["db", "migrate"], environment, log)
    for described in connection.values():
        with contextlib.suppress(DemoError), contextlib.redirect_stderr(io.StringIO()):
            airflow(["connections", "delete", "piktid_default"], environment, log)
        airflow(["connections", "add", "piktid_default", "--conn-json", described], environment, log)


def _web(port: int) -> dict[str, str]:
    address = f"http://127.0.0.1:{port}"
    return {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
    }


def _wait_until_up(port: int, process: subprocess.Popen[str], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    address = f"http://127.0.0.1:{port}/api/v2/monitor/health"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with opener.open(address, timeout=5) as answer:
                health = json.load(answer)
            if all(
                (health.get(part) or {}).get("status") == "healthy" for part in ("scheduler", "triggerer")
            ):
                return
        except (OSError, ValueError):
            pass
        time.sleep(1)
    raise DemoError(f"Airflow did not start; see {log}")


def _end_group(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
