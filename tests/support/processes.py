# SPDX-License-Identifier: Apache-2.0
"""
Run execute, trigger and resume of a task in separate processes that can be killed.

The steps share only files. This works on every Airflow version, and a step takes some tenths of a second,
because the processes are forked from one that has imported everything.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

Records = Literal["state_path", "task state store", "nowhere"]

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.support.warm"])


class StepKilled(Exception):
    """The process of a step was killed before it wrote its result."""


class StepFailed(Exception):
    """A step raised; the message starts with the name of the exception's class."""


@dataclass(frozen=True)
class Death:
    """Where a step kills itself, see :func:`tests.support.crash.arm`."""

    point: str
    marker: str
    submission: int = -1
    #: State key of the record at which it dies; None: any.
    kind: str | None = None


@dataclass
class ProcessTask:
    """
    One task instance with all its tries.

    :param operator: Import path of the operator's class.
    :param arguments: Its arguments.
    :param connection: ``piktid_default`` as JSON.
    :param folder: For files that outlive a process.
    :param records: Where submitted jobs are recorded. The task state store is a file here.
    """

    operator: str
    arguments: dict[str, Any]
    connection: str
    folder: Path
    records: Records = "state_path"
    death: Death | None = None
    tries: int = 0
    steps: int = 0

    def run(self) -> Any:
        """Run one try to its end; return the operator's return value."""
        self.tries += 1
        answer = self.finish(*self.start("execute", {}))
        while "trigger" in answer:
            event = self.finish(*self.start("trigger", {"trigger": answer["trigger"]}))["event"]
            answer = self.finish(*self.start(answer["method"], {**answer["kwargs"], "event": event}))
        return answer["result"]

    def start(self, method: str, arguments: dict[str, Any]) -> tuple[BaseProcess, Path]:
        """Start one step; the method ``trigger`` runs a trigger."""
        self.steps += 1
        answer = self.folder / f"step-{self.steps}.json"
        process = _FORKS.Process(target=_step, args=(self, method, arguments, answer))
        process.start()
        return process, answer

    def finish(self, process: BaseProcess, answer: Path, *, seconds: float = 60) -> dict[str, Any]:
        """
        Wait for a step and return its result.

        :raises StepKilled: It was killed.
        :raises StepFailed: It raised.
        """
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise AssertionError(f"A step had not ended after {seconds:g} s")
        if not answer.exists():
            raise StepKilled(f"exit code {process.exitcode}")
        told: dict[str, Any] = json.loads(answer.read_text())
        if "error" in told:
            raise StepFailed(told["error"])
        return told

    def kill_when(self, condition: Callable[[], bool], method: str = "execute", **arguments: Any) -> None:
        """Start a step and kill it as soon as a condition holds."""
        self.tries += method == "execute"
        process, answer = self.start(method, arguments)
        deadline = time.monotonic() + 30
        while not condition():
            assert process.is_alive(), f"the step ended too early: {_text(answer)}"
            assert time.monotonic() < deadline, "the step never came to where it should be killed"
            time.sleep(0.01)
        process.kill()
        process.join()

    def context(self) -> dict[str, Any]:
        from tests.support.tasks import TaskInstance

        ti = TaskInstance(try_number=self.tries)
        store = FileStateStore(self.folder / "task-state.json")
        return {
            "ti": ti,
            "task_instance": ti,
            **({"task_state_store": store} if self.records == "task state store" else {}),
        }

    def make(self) -> Any:
        from airflow_provider_piktid.operators.base import PaidOperator

        module, _, name = self.operator.rpartition(".")
        kept = {"state_path": str(self.folder / "records")} if self.records == "state_path" else {}
        operator = getattr(import_module(module), name)
        takes = kept if issubclass(operator, PaidOperator) else {}
        return operator(task_id="task", **takes, **self.arguments)


class FileStateStore:
    """Replaces the task state store: JSON values by key, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, key: str, default: Any = None) -> Any:
        return self._all().get(key, default)

    def set(self, key: str, value: Any) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps({**self._all(), key: value}))
        fresh.replace(self._path)

    def _all(self) -> dict[str, Any]:
        return json.loads(self._path.read_text()) if self._path.exists() else {}


def _step(task: ProcessTask, method: str, arguments: dict[str, Any], answer: Path) -> None:
    """Run a step; called in the new process."""
    os.environ["AIRFLOW_CONN_PIKTID_DEFAULT"] = task.connection
    with (
        (task.folder / "steps.log").open("a") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        told = _told(task, method, arguments)
    fresh = answer.with_suffix(".new")
    fresh.write_text(json.dumps(told))
    fresh.replace(answer)


def _told(task: ProcessTask, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
    from airflow.providers.common.compat.sdk import TaskDeferred

    from tests.support import crash
    from tests.support.tasks import fire

    if task.death:
        death = task.death
        crash.arm(death.point, Path(death.marker), death.submission, death.kind)
    try:
        if method == "trigger":
            return {"event": fire(_trigger(*arguments["trigger"]))}
        return {"result": getattr(task.make(), method)(task.context(), **arguments)}
    except TaskDeferred as deferral:
        path, kwargs = deferral.trigger.serialize()
        return {"method": deferral.method_name, "kwargs": deferral.kwargs or {}, "trigger": [path, kwargs]}
    except Exception as error:  # noqa: BLE001 - raised again by the parent
        return {"error": f"{type(error.__cause__ or error).__name__}: {error}"}


def _trigger(path: str, kwargs: dict[str, Any]) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)(**kwargs)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else "without an answer"


@contextlib.contextmanager
def ended_at_last(*processes: BaseProcess) -> Iterator[None]:
    """Kill processes that a failed test left running."""
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()
