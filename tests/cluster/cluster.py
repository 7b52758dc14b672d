# SPDX-License-Identifier: Apache-2.0
"""Start, stop, kill and watch the parts of a cluster. What is known of it is in files below its folder."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from tests.cluster.needs import missing
from tests.cluster.processes import is_alive, kill_group
from tests.cluster.services import (
    ClusterError,
    create_postgres,
    detached,
    free_ports,
    start_emulator,
    start_postgres,
    start_redis,
    stop_postgres,
)
from tests.cluster.settings import PARTS, REPOSITORY, STARTED, airflow_environment
from tests.support.rest import OPENER, AirflowRest, StackError

START_SECONDS = 150.0
#: Another text after each start of the machine.
BOOT = Path("/proc/sys/kernel/random/boot_id")
HEALTH = ("metadatabase", "scheduler", "dag_processor", "triggerer")

Say = Callable[[str], None]


class Cluster(AirflowRest):
    """
    A distributed Airflow.

    :param home: Folder for logs and state.
    """

    def __init__(self, home: Path) -> None:
        self.home = home.resolve()
        self._file = self.home / "cluster.json"
        self.state: dict[str, Any] = json.loads(self._file.read_text()) if self._file.exists() else {}
        if self.state.get("boot") != BOOT.read_text():
            # Process ids of an earlier boot belong to others now.
            self.state = {}
        super().__init__(self.url_of("api-1") if self.state else "")

    def url_of(self, part: str) -> str:
        """Return the base URL of an API server."""
        return f"http://127.0.0.1:{self.state['ports'][int(part[-1]) - 1]}"

    # -- from nothing to healthy, and back -------------------------------------------------------------------

    @classmethod
    @contextlib.contextmanager
    def running(cls, home: Path, dags: Path) -> Iterator[Self]:
        """Yield a healthy cluster that serves a folder of DAG files; it is stopped at the end."""
        cluster = cls(home)
        cluster.up(dags)
        try:
            yield cluster
        finally:
            cluster.down()

    def up(self, dags: Path, environment: Mapping[str, str] | None = None, say: Say = lambda _: None) -> None:
        """
        Start everything and wait until it is healthy and the DAGs are there.

        :param environment: More variables of Airflow's processes. Default: none.
        :param say: Called with each step.
        :raises ClusterError: Something is missing on this machine, or a cluster runs in this folder already.
        """
        if told := missing():
            raise ClusterError("\n".join(told))
        if self.state:
            raise ClusterError(f"there is a cluster in {self.home} already: stop it with `make cluster-down`")
        try:
            self._begin(dags.resolve(), environment or {})
            say("Postgres and Redis run")
            self.start(*PARTS)
            say("database migrated, all parts started")
            self.wait_until_healthy()
            self.wait(lambda: self.get("dags?limit=1")["total_entries"] > 0, "the DAGs to be there")
        except BaseException:
            self.down()
            raise

    def _begin(self, dags: Path, environment: Mapping[str, str]) -> None:
        """Start the parent of Airflow's processes, and meanwhile Postgres and Redis."""
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir(parents=True)
        database, redis, *ports = free_ports(4)
        self._remember(boot=BOOT.read_text(), database=database, redis=redis, ports=ports)
        self.url = self.url_of("api-1")
        shared = airflow_environment(self.home, dags, database=database, redis=redis, ports=ports)
        command = [sys.executable, "-m", "tests.cluster.parent", str(self.home), *map(str, ports)]
        self._remember(parent=detached(command, {**shared, **environment}, self.home / "parent.log"))
        self._remember(data=str(create_postgres(database)))
        self._remember(redis_pid=start_redis(redis, self.home / "redis.log"))
        (self.home / "database.ready").touch()

    def down(self) -> None:
        """Kill all processes and remove the database, if there is a cluster. Logs stay until the next start."""
        state, self.state = self.state, {}
        if not state:
            return
        kill_group(state.get("parent"))
        for part in PARTS:
            kill_group(self.pid(part))
        kill_group(state.get("redis_pid"))
        kill_group(state.get("emulator_pid"))
        if "data" in state:
            with contextlib.suppress(ClusterError):
                stop_postgres(Path(state["data"]))
            shutil.rmtree(state["data"], ignore_errors=True)
        self._file.unlink(missing_ok=True)

    def emulator(self) -> str:
        """Start an emulator beside the cluster; return its URL."""
        (port,) = free_ports(1)
        self._remember(emulator_pid=start_emulator(port, self.home / "emulator.log"))
        return f"http://127.0.0.1:{port}"

    def _remember(self, **facts: Any) -> None:
        self.state |= facts
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(self.state, indent=1))
        fresh.replace(self._file)

    # -- parts ----------------------------------------------------------------------------------------------

    def pid(self, part: str) -> int | None:
        """Return the process id of a part; None if it does not run."""
        path = self.home / f"{part}.pid"
        pid = int(path.read_text()) if path.exists() else 0
        return pid if pid and is_alive(pid) else None

    def kill(self, *parts: str, restart: bool = False) -> None:
        """
        Kill parts and all their processes with SIGKILL, one part right after the other.

        :param restart: Let the supervisor start them again after a second. Default: no, see :meth:`start`.
        """
        if not restart:
            for part in parts:
                (self.home / f"{part}.stopped").touch()
        pids = [self.pid(part) for part in parts]
        for pid in pids:
            kill_group(pid)

    def start(self, *parts: str) -> None:
        """Let the supervisor start parts that were killed, and wait until their processes are there."""
        for part in parts:
            (self.home / f"{part}.stopped").unlink(missing_ok=True)
        self.wait(lambda: all(self.pid(part) for part in parts), f"{parts} to start", seconds=START_SECONDS)

    def ends(self, part: str) -> list[tuple[float, int]]:
        """Return when a part ended, epoch seconds, each with its exit code; negative for a signal."""
        path = self.home / f"{part}.ends"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(float(when), int(code)) for when, code in map(str.split, lines)]

    def kill_redis(self) -> None:
        kill_group(self.state["redis_pid"])

    def start_redis(self) -> None:
        self._remember(redis_pid=start_redis(self.state["redis"], self.home / "redis.log"))

    def restart_postgres(self) -> None:
        """Stop Postgres at once, and start it again; all connections break."""
        stop_postgres(Path(self.state["data"]))
        start_postgres(Path(self.state["data"]), self.state["database"])

    # -- health ---------------------------------------------------------------------------------------------

    def wait_until_healthy(self) -> None:
        """Wait until every part works, not only one of each kind."""
        self.wait(
            lambda: not self.unhealthy(), "all parts to be healthy", seconds=START_SECONDS, tolerant=True
        )

    def unhealthy(self) -> list[str]:
        """Return what does not work yet: names of parts and of the entries of Airflow's health page."""
        found = [part for part in PARTS if not self.pid(part)]
        for part in ("api-1", "api-2"):
            found += self._sick(part)
        alive = self.get("jobs?job_type=TriggererJob&is_alive=true&limit=20")["jobs"]
        hosts = {job["hostname"] for job in alive}
        found += [part for part in PARTS if part.startswith("triggerer") and part not in hosts]
        return found + [part for part in PARTS if part.startswith("worker") and not self._is_ready(part)]

    def _sick(self, api: str) -> list[str]:
        try:
            with OPENER.open(f"{self.url_of(api)}/api/v2/monitor/health", timeout=5) as answer:
                health = json.load(answer)
        except (OSError, ValueError):
            return [api]
        return [f"{name} at {api}" for name in HEALTH if (health.get(name) or {}).get("status") != "healthy"]

    def _is_ready(self, worker: str) -> bool:
        """Whether a worker has said, since its last start, that it takes tasks."""
        text = (self.home / f"{worker}.log").read_text(errors="replace")
        return f"{worker}@localhost ready" in text.rpartition(STARTED)[2]

    def check(self) -> None:
        """Raise if the parent of all parts has ended."""
        parent = self.state.get("parent")
        if parent and not is_alive(parent):
            raise StackError(f"the parent of all parts ended:\n{self.tail('parent')}")

    def explain(self) -> str:
        return f"{self.tail('scheduler')}\n{self.tail('parent')}"

    def tail(self, name: str, lines: int = 25) -> str:
        path = self.home / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""


def example_dags() -> Path:
    return REPOSITORY / "example_dags"
