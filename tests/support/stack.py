# SPDX-License-Identifier: Apache-2.0
"""
A running Airflow 3 in separate processes, each of which can be killed and started again.

It uses SQLite, LocalExecutor, one folder and its own ports. Intervals are shortened: a task resumes some
tenths of a second after its event, and the triggers of a dead triggerer are reassigned after 4 s.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from tests.cluster.processes import is_alive, kill_group
from tests.support.forks import Forks
from tests.support.rest import ENDED, AirflowRest, StackError, quoted, send
from tests.support.suspend import suspended

__all__ = ["ENDED", "AirflowStack", "StackError", "emulator_call", "emulator_process", "free_port", "quoted"]

REPOSITORY = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 150.0
PARTS = {
    "api-server": ["api-server"],
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}
#: The name of each part in the response of the health endpoint.
HEALTH = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}


class AirflowStack(AirflowRest):
    """
    A running Airflow; a context manager.

    :param home: Folder for database, logs and DAG files; the caller removes it.
    :param dags: DAG files to serve; they are copied.
    :param parallelism: Worker slots.
    :param environment: Additional environment variables for all processes.
    """

    def __init__(
        self,
        home: Path,
        dags: list[Path],
        *,
        parallelism: int = 2,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home
        super().__init__(f"http://127.0.0.1:{free_port()}")
        #: Process ids by name; each process leads a group with its children.
        self.processes: dict[str, int] = {}
        self._environment = _environment(home, self.url, parallelism) | dict(environment or {})
        (home / "dags").mkdir(parents=True)
        for path in dags:
            shutil.copy(path, home / "dags" / path.name)
        self._dag_count = len(dags)

    # -- processes ------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._forks = Forks(self._environment, self.home / "forks.log")
        try:
            if self._forks.run(["db", "migrate"], self.home / "migrate.log"):
                raise StackError(f"airflow db migrate failed:\n{self.tail('migrate')}")
            for part in PARTS:
                self.start(part)
            self.wait_until_healthy()
            self.wait(lambda: len(self.get("dags")["dags"]) >= self._dag_count, "the DAGs to be there")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, part: str, name: str | None = None, *options: str) -> int:
        """Start a part, or a second one under another ``name`` and with more options; return its process id."""
        name = name or part
        pid = self._forks.start([*PARTS[part], *options], self.home / f"{name}.log")
        self.processes[name] = pid
        return pid

    def kill(self, name: str) -> None:
        """Kill a part and all its children with SIGKILL."""
        kill_group(self.processes.pop(name))

    @contextlib.contextmanager
    def held(self, name: str, *, children: bool = True) -> Iterator[None]:
        """Let a part, with its children or without, do nothing within the block; what reaches it waits."""
        with suspended(self.home / "airflow.db", self.processes[name], group=children):
            yield

    def stop(self) -> None:
        """Stop all processes."""
        for pid in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGTERM)
        deadline = time.monotonic() + 10
        while any(map(is_alive, self.processes.values())) and time.monotonic() < deadline:
            time.sleep(0.05)
        for name in list(self.processes):
            self.kill(name)
        self._forks.close()

    def wait_until_healthy(self, *parts: str) -> None:
        """Wait until the given parts, by default all, are healthy."""
        names = [HEALTH[part] for part in parts or HEALTH]

        def healthy() -> bool:
            health = self.get("monitor/health")
            return all((health.get(name) or {}).get("status") == "healthy" for name in names)

        self.wait(healthy, f"{names} to be healthy", seconds=START_SECONDS, tolerant=True)

    def check(self) -> None:
        """Raise if a part has ended by itself."""
        for name, pid in self.processes.items():
            if not is_alive(pid):
                raise StackError(f"{name} ended by itself:\n{self.tail(name)}")

    def explain(self) -> str:
        return self.tail("scheduler")

    # -- logs -----------------------------------------------------------------------------------------------

    def tail(self, name: str, lines: int = 25) -> str:
        path = self.home / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def task_logs(self) -> dict[Path, str]:
        """The text of all task and trigger logs, by path."""
        return {
            path: path.read_text(errors="replace")
            for path in (self.home / "logs").rglob("*.log*")
            if path.is_file()
        }

    def all_logs(self) -> dict[Path, str]:
        """The task logs and the output of the processes."""
        return self.task_logs() | {path: path.read_text(errors="replace") for path in self.home.glob("*.log")}


@contextlib.contextmanager
def emulator_process(*options: str) -> Iterator[str]:
    """Run an emulator process on a free port; yield its base URL."""
    command = [sys.executable, "-m", "airflow_provider_piktid.emulator", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        assert url.startswith("http"), "the emulator did not start"
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def emulator_call(url: str, path: str, body: Any = None) -> Any:
    """Send a request to the emulator's control API; return the decoded response."""
    return send("GET" if body is None else "POST", f"{url}/_emulator/{path}", body)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _environment(home: Path, url: str, parallelism: int) -> dict[str, str]:
    # The developer's Airflow settings are removed: a connection in the environment would hide the database's.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PIKTID_"))}
    return kept | {
        "AIRFLOW_HOME": str(home),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(parallelism),
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "100",
        "AIRFLOW__CORE__FERNET_KEY": "cGlrdGlkLXByb3ZpZGVyLXRlc3RzLWZlcm5ldC1rZXk=",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": url.rpartition(":")[2],
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": "piktid-provider-tests-" * 4,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "4",
        # A lost worker is detected by its missing heartbeat.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    }
