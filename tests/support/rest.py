# SPDX-License-Identifier: Apache-2.0
"""Airflow's REST API, and waiting for a state that it shows."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

ENDED = ("success", "failed")


#: For loopback, whatever proxy the environment names.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class StackError(AssertionError):
    """Airflow did not reach a state in time."""


class AirflowRest:
    """
    A running Airflow, as its REST API shows it.

    :param url: Base URL of an API server that asks for no login.
    """

    request_timeout: float = 30.0

    def __init__(self, url: str) -> None:
        self.url = url

    def check(self) -> None:
        """Called at every look of :meth:`wait`; raises if waiting is in vain. Default: nothing."""

    def explain(self) -> str:
        """Return what belongs into the error of a wait in vain. Default: nothing."""
        return ""

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request to the REST API; return the decoded response."""
        return send(method, f"{self.url}/api/v2/{path}", body, timeout=self.request_timeout)

    def get(self, path: str) -> Any:
        return self.call("GET", path)

    def trigger(self, dag_id: str, **conf: Any) -> str:
        """Start a DAG run with these params; return its run id."""
        answer = self.call("POST", f"dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})
        return str(answer["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        return str(self.get(f"dags/{dag_id}/dagRuns/{quoted(run_id)}")["state"])

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """All task instances of a run, including mapped ones."""
        rows = self.get(f"dags/{dag_id}/dagRuns/{quoted(run_id)}/taskInstances?limit=500")["task_instances"]
        return list(rows)

    def task_states(self, dag_id: str, run_id: str, task_id: str) -> list[str | None]:
        return [row["state"] for row in self.tasks(dag_id, run_id) if row["task_id"] == task_id]

    def progress(self, dag_id: str, run_id: str) -> Any:
        """Return what changes as long as a run goes on: the state and try of each task."""
        rows = self.tasks(dag_id, run_id)
        return sorted(
            (row["task_id"], row["map_index"], str(row["state"]), row["try_number"]) for row in rows
        )

    def wait_for_state(
        self, dag_id: str, run_id: str, task_id: str, state: str, *, seconds: float = 60
    ) -> None:
        """Wait until all instances of a task are in a state."""

        def reached() -> bool:
            states = self.task_states(dag_id, run_id, task_id)
            return bool(states) and set(states) == {state}

        what = f"{dag_id}.{task_id} to be {state}"
        self.wait(reached, what, seconds=seconds, progress=lambda: self.progress(dag_id, run_id))

    def wait_for_run(self, dag_id: str, run_id: str, *, seconds: float = 120) -> str:
        """Wait until a run has ended; return its state."""
        self.wait(
            lambda: self.run_state(dag_id, run_id) in ENDED,
            f"the run of {dag_id} to end",
            seconds=seconds,
            progress=lambda: self.progress(dag_id, run_id),
        )
        return self.run_state(dag_id, run_id)

    def wait(
        self,
        condition: Callable[[], bool],
        what: str,
        *,
        seconds: float = 60,
        tolerant: bool = False,
        interval: float = 0.25,
        progress: Callable[[], object] | None = None,
    ) -> None:
        """
        Poll until a condition holds.

        :param seconds: After this long it is given up; counted from the last progress, if that is known.
        :param tolerant: Treat a failed request as a condition that does not hold yet.
        :param progress: Returns what differs if there was progress. Default: nobody knows.
        """
        deadline = time.monotonic() + seconds
        known: object = None
        while True:
            if _answer(condition, tolerant):
                return
            self.check()
            if time.monotonic() > deadline:
                seen = progress and _answer(progress, tolerant)
                if seen != known:
                    known, deadline = seen, time.monotonic() + seconds
                    continue
                raise StackError(f"Waited {seconds:g} s for {what} in vain.\n{self.explain()}")
            time.sleep(interval)


def send(method: str, url: str, body: Any = None, *, timeout: float = 30.0) -> Any:
    """Send a request with a JSON body; return the decoded answer."""
    request = urllib.request.Request(
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with OPENER.open(request, timeout=timeout) as answer:
        content = answer.read()
    return json.loads(content) if content else None


def _answer(question: Callable[[], object], tolerant: bool) -> object:
    try:
        return question()
    except (OSError, ValueError):
        if not tolerant:
            raise
        return None


def quoted(run_id: str) -> str:
    return urllib.parse.quote(run_id, safe="")
