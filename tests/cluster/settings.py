# SPDX-License-Identifier: Apache-2.0
"""The parts of the cluster, how each is started, and Airflow's settings."""

from __future__ import annotations

import os
import socket
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent

#: Tells a process which part it belongs to.
PART = "PIKTID_CLUSTER_PART"

#: First line of a part in its log, at each start.
STARTED = "--- started by the cluster"

PARTS = (
    "scheduler",
    "dag-processor",
    "triggerer-1",
    "triggerer-2",
    "worker-1",
    "worker-2",
    "api-1",
    "api-2",
)

#: Seconds. Without a sign of life for this long, Airflow takes a triggerer, or a task, for dead.
TRIGGERER_THRESHOLD = 15
TASK_HEARTBEAT_TIMEOUT = 15
#: Seconds. A task that no worker has started is sent again: its message was lost with a worker or Redis.
TASK_QUEUED_TIMEOUT = 40


def part_name() -> str:
    """Return the name of the part that this process belongs to; Airflow stores it as the host name."""
    return os.environ.get(PART) or socket.gethostname()


def command_line(part: str, home: Path, ports: list[int]) -> list[str]:
    """Return the arguments of ``airflow`` that start a part."""
    kind = part.partition("-")[0]
    # Workers on one machine need a name and a file of their own. Their logs are files that all parts can read.
    worker = ["celery", "worker", "-H", f"{part}@localhost", "--pid", str(home / f"{part}.celery")]
    lines = {
        "api": ["api-server", "--host", "127.0.0.1", "--port", str(_port(part, ports))],
        "scheduler": ["scheduler", "--skip-serve-logs"],
        "dag": ["dag-processor"],
        "triggerer": ["triggerer", "--skip-serve-logs"],
        "worker": [*worker, "--skip-serve-logs", "--without-mingle", "--without-gossip"],
    }
    return lines[kind]


def own_environment(part: str, ports: list[int]) -> dict[str, str]:
    """
    Return the variables that only this part has.

    There is no load balancer: each worker uses one of the API servers.
    """
    url = f"http://127.0.0.1:{_port(part, ports)}"
    return {PART: part, "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/"}


def _port(part: str, ports: list[int]) -> int:
    """Return the port of the API server that a part is, or uses."""
    number = part.partition("-")[2]
    return ports[int(number) - 1] if number.isdigit() else ports[0]


def airflow_environment(
    home: Path, dags: Path, *, database: int, redis: int, ports: list[int]
) -> dict[str, str]:
    """
    Return the variables that all parts have. Ports are on loopback.

    :param ports: Ports of the API servers.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PIKTID_"))}
    sql = f"postgresql+psycopg2://airflow@127.0.0.1:{database}/airflow"
    places = {
        "AIRFLOW_HOME": str(home),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": sql,
        "AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{redis}/0",
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{sql}",
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{ports[0]}",
    }
    return kept | places | _FIXED


_FIXED = {
    "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
    "AIRFLOW__CORE__HOSTNAME_CALLABLE": "tests.cluster.settings.part_name",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__CORE__PARALLELISM": "16",
    "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "100",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    "AIRFLOW__CORE__FERNET_KEY": "cGlrdGlkLXByb3ZpZGVyLXRlc3RzLWZlcm5ldC1rZXk=",
    "AIRFLOW__API_AUTH__JWT_SECRET": "piktid-provider-tests-" * 4,
    "AIRFLOW__API__WORKERS": "1",
    "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
    # All parts share the cores of one machine, so none looks too often.
    "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": str(TRIGGERER_THRESHOLD),
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(TASK_HEARTBEAT_TIMEOUT),
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": str(TASK_QUEUED_TIMEOUT),
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}
