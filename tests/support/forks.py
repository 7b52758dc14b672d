# SPDX-License-Identifier: Apache-2.0
"""
A process that imports Airflow once and forks its commands, which saves each of them seconds of imports.

``python -m tests.support.forks`` reads requests from its standard input, a JSON object a line: ``arguments`` of
``airflow``, ``log`` (a path) and ``wait``. It answers each with a line: the id of the child, or with ``wait`` its exit
code when it has ended. It ends at the end of its input; the children stay.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

#: None of these starts a thread or opens a connection, so that the process can be forked.
MODULES = (
    "airflow.cli.cli_parser",
    "airflow.api_fastapi.main",
    "airflow.jobs.dag_processor_job_runner",
    "airflow.jobs.scheduler_job_runner",
    "airflow.jobs.triggerer_job_runner",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.serialization.serialized_objects",
    "httpx",
    "uvicorn",
)


def import_airflow(*more: str) -> None:
    """Import what Airflow's processes need, and these modules."""
    for name in (*MODULES, *more):
        import_module(name)
    from airflow.providers_manager import ProvidersManager

    ProvidersManager().initialize_providers_list()
    if threading.active_count() > 1:
        raise RuntimeError(f"threads at the fork: {threading.enumerate()}")


def fork(arguments: Sequence[str], environment: Mapping[str, str], log: Path, heading: str = "") -> int:
    """
    Run ``airflow ARGUMENTS`` in a child with a session of its own; return its process id.

    :param heading: First line in the log. Default: none.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        output = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if heading:
            print(heading, flush=True)
        os.environ.update(environment)
        code = _airflow(arguments)
    except BaseException:  # noqa: BLE001 - written to the log; the child must not go on as the parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _airflow(arguments: Sequence[str]) -> int:
    from airflow.__main__ import main

    sys.argv = ["airflow", *arguments]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    return 0


class Forks:
    """
    The process that forks, as its parent sees it.

    :param environment: Environment of all commands.
    :param log: Where it writes what goes wrong.
    """

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.forks"],
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )

    def start(self, arguments: Sequence[str], log: Path) -> int:
        """
        Start a command; return the id of its process, which leads a group.

        :param arguments: Defaults of options are those of the environment of the first process, read at its import.
        """
        return self._ask(arguments=arguments, log=log, wait=False)

    def run(self, arguments: Sequence[str], log: Path) -> int:
        """Run a command to its end; return its exit code."""
        return self._ask(arguments=arguments, log=log, wait=True)

    def close(self) -> None:
        """End the process; its children stay."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _ask(self, **request: Any) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request, default=str), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, f"Airflow cannot be imported:\n{self._log.read_text()}"
        return int(answer)


def _serve() -> None:
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    # Airflow may print while it is imported; that must not be read as an answer.
    os.dup2(2, 1)
    import_airflow()
    while True:
        # Children that have ended are looked for between requests: without that, they would stay in the table.
        ready, _, _ = select.select([requests], [], [], 0.2)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not ready:
            continue
        line = requests.readline()
        if not line:
            return
        request = json.loads(line)
        pid = fork(request["arguments"], {}, Path(request["log"]))
        print(
            os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if request["wait"] else pid,
            file=answers,
            flush=True,
        )


if __name__ == "__main__":
    _serve()
