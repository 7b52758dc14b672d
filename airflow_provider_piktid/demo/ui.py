# SPDX-License-Identifier: Apache-2.0
"""Start Airflow with its web interface, the emulator, a connection to it, and the example DAGs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from airflow_provider_piktid.demo.bucket import bucket_server
from airflow_provider_piktid.demo.environment import (
    CONNECTION_VARIABLE,
    DemoError,
    airflow,
    airflow_environment,
    has_own_service,
    service,
    stop_group,
)
from airflow_provider_piktid.demo.pictures import example_files
from airflow_provider_piktid.demo.progress import Step, step

HOME = Path(".piktid-ui")
#: Much longer than a start takes on a busy machine; the progress is shown, and Ctrl-C ends it.
START_SECONDS = 600
#: The parts whose health Airflow reports.
PARTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")
API = "http://127.0.0.1:{}/api/v2/{}"
#: So that all examples can be clicked at once; PiktID's own limits are 5 and 5.
LIMITS = {"jobs_per_minute": 60, "active_jobs": 20}


def run(dags: Path) -> int:
    """Run until interrupted; return the exit code of Airflow."""
    HOME.mkdir(exist_ok=True)
    files = example_files(HOME / "data").resolve()
    port = int(os.environ.get("PIKTID_UI_PORT") or _free_port())
    options = [f"--{name.replace('_', '-')}={number}" for name, number in LIMITS.items()]
    log = HOME / "airflow.log"
    log.unlink(missing_ok=True)
    with ExitStack() as stack:
        connections = stack.enter_context(service(*options, **LIMITS))
        bucket = stack.enter_context(bucket_server(files / "shoot"))
        environment = airflow_environment(HOME / "airflow", dags) | _web(port) | connections
        environment["PIKTID_EXAMPLE_DATA"] = str(files)
        if not has_own_service():
            environment["PIKTID_EXAMPLE_JOB_ID"] = _job_from_elsewhere(connections, files / "street.jpg")
        with step("airflow", f"preparing its database, log in {log}"):
            _prepare(environment, connections | bucket, log)
        process = _start(environment, log)
        stack.callback(stop_group, process)
        with step("airflow", "starting") as running:
            _wait_until_up(port, process, log, running)
        print(f"airflow:   http://127.0.0.1:{port} (no login needed)")
        print(
            "try:       trigger any example_piktid_... DAG, its parameters are set; its Docs say what to look at"
        )
        print(f"results:   {files}, and the bucket catalogue-swapped")
        print("stop:      Ctrl-C", flush=True)
        return process.wait()


def _job_from_elsewhere(connections: dict[str, str], image: Path) -> str:
    """Submit a job to the emulator, as PiktID's web application would, and return its id."""
    from airflow_provider_piktid.client import PiktidClient
    from airflow_provider_piktid.models.model_swap import ModelSwap

    connection = json.loads(connections[CONNECTION_VARIABLE])
    with PiktidClient(connection["password"], base_url=connection["host"]) as client:
        project = client.ensure_project("from-elsewhere")
        ticket = client.upload_image(image.name, image.read_bytes())
        swap = ModelSwap(identity_code="PiktidSummer", project_id=project.project_id)
        return client.create_job(swap, [ticket.file_id]).job_id


def _prepare(environment: dict[str, str], connections: dict[str, str], log: Path) -> None:
    """
    Create the database, and store the demo's connections in it, so that the web interface shows them.

    The user's own connection stays in the environment.
    """
    airflow(["db", "migrate"], environment, log)
    stored = {
        name: text for name, text in connections.items() if "PIKTID" not in name or not has_own_service()
    }
    for name in stored:
        # A variable would hide the connection of the database.
        environment.pop(name, None)
    file = HOME / "connections.json"
    by_id = {name.removeprefix("AIRFLOW_CONN_").lower(): json.loads(text) for name, text in stored.items()}
    file.write_text(json.dumps(by_id))
    airflow(["connections", "import", str(file), "--overwrite"], environment, log)


def _start(environment: dict[str, str], log: Path) -> subprocess.Popen[str]:
    with log.open("a") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "airflow", "standalone"],
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
            # In its own process group, so that all components stop together.
            start_new_session=True,
        )


def _web(port: int) -> dict[str, str]:
    address = f"http://127.0.0.1:{port}"
    database = (HOME / "airflow" / "airflow.db").resolve()
    return {
        # A writer that waits longer than SQLite's default of 5 s would fail on a busy machine.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}?timeout=60",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(Path(__file__).resolve().parent / "airflow_plugins"),
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


def _wait_until_up(port: int, process: subprocess.Popen[str], log: Path, running: Step) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        healthy = [
            part
            for part in PARTS
            if (_get(port, "monitor/health").get(part) or {}).get("status") == "healthy"
        ]
        running.note(
            f"{len(healthy)} of {len(PARTS)} parts are up" if healthy else "the web server is starting"
        )
        if len(healthy) == len(PARTS):
            running.note("reading the example DAGs")
            if _get(port, "dags?limit=1").get("total_entries"):
                return
        time.sleep(0.5)
    raise DemoError(f"Airflow did not start; see {log}")


def _get(port: int, path: str) -> dict[str, Any]:
    """Return an answer of Airflow's API, empty if there is none yet."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(API.format(port, path), timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
    except (OSError, ValueError):
        return {}
    return found


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
