# SPDX-License-Identifier: Apache-2.0
"""
Run an operator as Airflow does, without Airflow's processes: execute, defer, trigger, resume, retry.

Only the state between processes is imitated, as strictly as in Airflow: arguments and events are converted
to JSON, every resume and every try uses a new operator, and a retry clears XCom. ``tests/system`` uses the
real scheduler and triggerer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, cast

from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.triggers.base import BaseTrigger, TriggerEvent


class StateStore:
    """Replaces the task state store: JSON values by key, kept between tries."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.fail_reads = False
        self.fail_writes = False

    def get(self, key: str, default: Any = None) -> Any:
        if self.fail_reads:
            raise RuntimeError("the store is away")
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any) -> None:
        if self.fail_writes:
            raise RuntimeError("the store is away")
        check_json(value)
        self.values[key] = json.dumps(value)


def check_json(value: Any) -> None:
    """Refuse what Airflow's store refuses: tuples, sets and objects, which JSON would convert silently."""
    if isinstance(value, dict):
        for key, item in value.items():
            assert isinstance(key, str), f"{key!r} is no text"
            check_json(item)
    elif isinstance(value, list):
        for item in value:
            check_json(item)
    else:
        assert value is None or isinstance(value, str | int | float | bool), (
            f"{type(value).__name__} is no JSON"
        )


@dataclass
class TaskInstance:
    """The parts of a task instance that the operators use."""

    dag_id: str = "dag"
    task_id: str = "task"
    run_id: str = "manual__1"
    map_index: int = -1
    #: Airflow 3.4: the iteration of a loop, or the map index.
    region_index: int | None = None
    try_number: int = 0
    xcom: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        check_json(value)
        self.xcom[key] = json.loads(json.dumps(value))


@dataclass
class TaskRun:
    """
    One task instance with all its tries.

    :param make: Returns a new operator, as each process creates one.
    :param store: The task state store; None imitates an Airflow older than 3.3.
    """

    make: Callable[[], Any]
    store: StateStore | None = field(default_factory=StateStore)
    ti: TaskInstance = field(default_factory=TaskInstance)
    events: list[dict[str, Any]] = field(default_factory=list)
    deferrals: int = 0
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def context(self) -> dict[str, Any]:
        context: dict[str, Any] = {"ti": self.ti, "task_instance": self.ti, "logical_date": self.began}
        if self.store is not None:
            context["task_state_store"] = self.store
        return context

    def run(self, *, limit: int = 200) -> Any:
        """Run one try to its end; return the operator's return value."""
        self.ti.try_number += 1
        self.ti.xcom.clear()
        method = "execute"
        arguments: dict[str, Any] = {}
        for _ in range(limit):
            try:
                return getattr(self.make(), method)(self.context, **arguments)
            except TaskDeferred as deferral:
                self.deferrals += 1
                method = deferral.method_name
                arguments = json.loads(json.dumps(deferral.kwargs or {}))
                event = fire(deferral.trigger)
                self.events.append(event)
                arguments["event"] = event
        raise AssertionError(f"deferred {limit} times without an end")


def rebuild(trigger: BaseTrigger) -> BaseTrigger:
    """Create the trigger from its serialized form, through JSON, as the triggerer does."""
    path, kwargs = trigger.serialize()
    module, _, name = path.rpartition(".")
    made: BaseTrigger = getattr(import_module(module), name)(**json.loads(json.dumps(kwargs)))
    return made


def fire(trigger: BaseTrigger) -> dict[str, Any]:
    """Run a trigger until its first event; return the payload after a round trip through JSON."""

    payload: dict[str, Any] = json.loads(json.dumps(asyncio.run(first_event(rebuild(trigger)))))
    return payload


async def first_event(trigger: BaseTrigger) -> Any:
    """Return the payload of a trigger's first event, and close the trigger."""
    async with aclosing(cast("AsyncGenerator[TriggerEvent]", trigger.run())) as events:
        return (await anext(events)).payload
