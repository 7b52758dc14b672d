# SPDX-License-Identifier: Apache-2.0
"""
The parent of Airflow's processes: ``python -m tests.cluster.parent HOME PORT PORT``.

It imports what every part needs, migrates the database, and forks the parts, which saves each of them some seconds of
imports. Like the supervisor of a real deployment it starts a part again that has ended, unless ``HOME/NAME.stopped``
exists. ``HOME/NAME.pid`` has the process id, ``HOME/NAME.ends`` a line for each end. It starts before the database is
there, and waits for ``HOME/database.ready``.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.settings import PARTS, STARTED, command_line, own_environment
from tests.support.forks import fork, import_airflow

#: Seconds from the end of a part to its next start, and between two looks.
RESTART_SECONDS = 1.0
LOOK_SECONDS = 0.1

#: What the parts need here beside the modules of a plain Airflow.
MODULES = (
    "airflow.providers.celery.cli.celery_command",
    "airflow.providers.celery.executors.celery_executor",
    "psycopg2",
)


class Parent:
    """
    The parts, as children of this process.

    :param home: Airflow's home, with the files that other processes read and write.
    :param ports: Ports of the API servers.
    """

    def __init__(self, home: Path, ports: list[int]) -> None:
        self.home, self.ports = home, ports
        self.running: dict[int, str] = {}
        self.not_before: dict[str, float] = dict.fromkeys(PARTS, 0.0)

    def prepare(self) -> None:
        """Import, and migrate the database in a child."""
        import_airflow(*MODULES)
        while not (self.home / "database.ready").exists():
            time.sleep(LOOK_SECONDS)
        child = self.fork("migrate", ["db", "migrate"], {})
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code:
            raise RuntimeError(f"airflow db migrate failed with code {code}; see {self.home / 'migrate.log'}")

    def supervise(self) -> None:
        """Start what should run, forever."""
        while True:
            for part, code in self.ended():
                with (self.home / f"{part}.ends").open("a") as ends:
                    ends.write(f"{time.time():.3f} {code}\n")
                self.not_before[part] = time.monotonic() + RESTART_SECONDS
            for part in PARTS:
                if part not in self.running.values() and self.is_due(part):
                    self.start(part)
            time.sleep(LOOK_SECONDS)

    def ended(self) -> Iterator[tuple[str, int]]:
        """Yield the parts that have ended, with their exit codes; negative for a signal."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid in self.running:
                    yield self.running.pop(pid), os.waitstatus_to_exitcode(status)

    def is_due(self, part: str) -> bool:
        return time.monotonic() >= self.not_before[part] and not (self.home / f"{part}.stopped").exists()

    def start(self, part: str) -> None:
        # A worker that was killed leaves it, and then refuses to start.
        (self.home / f"{part}.celery").unlink(missing_ok=True)
        pid = self.fork(part, command_line(part, self.home, self.ports), own_environment(part, self.ports))
        self.running[pid] = part
        fresh = self.home / f"{part}.pid.new"
        fresh.write_text(str(pid))
        fresh.replace(self.home / f"{part}.pid")

    def fork(self, name: str, arguments: list[str], environment: dict[str, str]) -> int:
        """Run ``airflow ARGUMENTS`` in a child with a session and a log of its own; return its process id."""
        return fork(arguments, environment, self.home / f"{name}.log", heading=STARTED)


if __name__ == "__main__":
    parent = Parent(Path(sys.argv[1]), [int(port) for port in sys.argv[2:]])
    parent.prepare()
    parent.supervise()
