# SPDX-License-Identifier: Apache-2.0
"""
Runs of a small DAG in a process of its own, which can end at any step; see :mod:`tests.support.nights`.

What Airflow keeps between tries, the XCom of tasks that ended, is in a file.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.support.nights import ENDED, Steps
from tests.support.processes import _FORKS

#: Exit code of a process whose task raised what the test allows.
RAISED = 7


@dataclass
class Job:
    """
    What the process runs: the tasks in order, each with its class and its arguments.

    ``{"xcom": [task, key]}`` as an argument stands for the XCom of a task before it.
    """

    connection: str
    tasks: list[tuple[str, str, dict[str, Any]]]
    xcom: str
    run_id: str = "manual__1"
    try_number: int = 1


@dataclass
class Tries:
    """
    All tries of a DAG of some tasks.

    :param folder: For XCom and the names of the steps.
    :param tasks: Task id, import path of the operator, arguments.
    """

    folder: Path
    connection: str
    tasks: list[tuple[str, str, dict[str, Any]]]
    runs: int = 1
    tries: int = 0
    error: str = ""
    steps: list[str] = field(default_factory=list)

    def run(self, *, end_at: int | None = None) -> bool:
        """
        Run the tasks that have not ended; return whether the process was killed.

        ``steps`` are the names of its steps, ``error`` is the class of the exception it raised.
        """
        self.tries += 1
        log, raised = self.folder / "steps.json", self.folder / "error.txt"
        raised.unlink(missing_ok=True)
        job = Job(self.connection, self.tasks, str(self._xcom), f"manual__{self.runs}", self.tries)
        process = _FORKS.Process(target=_run, args=(job, str(log), str(raised), end_at))
        process.start()
        process.join(60)
        assert process.exitcode in (0, ENDED, RAISED), process.exitcode
        self.steps = json.loads(log.read_text())
        self.error = raised.read_text() if raised.exists() else ""
        return process.exitcode == ENDED

    def clear(self) -> None:
        """Let all tasks run again in the same DAG run."""
        self._xcom.unlink(missing_ok=True)

    def new_run(self) -> None:
        """Begin another DAG run, of which Airflow knows nothing."""
        self.clear()
        self.runs, self.tries = self.runs + 1, 0

    @property
    def _xcom(self) -> Path:
        return self.folder / f"xcom-{self.runs}.json"


def _run(job: Job, log: str, raised: str, end_at: int | None) -> None:
    os.environ["AIRFLOW_CONN_PIKTID_DEFAULT"] = job.connection
    steps = Steps(Path(log), end_at)
    with (
        Path(os.devnull).open("w") as quiet,
        contextlib.redirect_stdout(quiet),
        contextlib.redirect_stderr(quiet),
    ):
        steps.arm()
        error = _tasks(job)
    steps.write()
    if error is not None:
        Path(raised).write_text(f"{type(error.__cause__ or error).__name__}: {error}")
        os._exit(RAISED)


def _tasks(job: Job) -> Exception | None:
    from tests.support.tasks import TaskInstance, TaskRun

    place = Path(job.xcom)
    xcom: dict[str, Any] = json.loads(place.read_text()) if place.exists() else {}
    for task_id, path, arguments in job.tasks:
        if task_id in xcom:
            continue
        module, _, name = path.rpartition(".")
        given = {
            key: xcom[value["xcom"][0]][value["xcom"][1]]
            if isinstance(value, dict) and "xcom" in value
            else value
            for key, value in arguments.items()
        }
        operator = getattr(import_module(module), name)
        ti = TaskInstance(task_id=task_id, run_id=job.run_id, try_number=job.try_number - 1)
        run = TaskRun(partial(operator, task_id=task_id, **given), None, ti)
        try:
            result = run.run()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            return error
        xcom[task_id] = {"return_value": result, **(result if isinstance(result, dict) else {}), **ti.xcom}
        place.write_text(json.dumps(xcom))
    return None
