# SPDX-License-Identifier: Apache-2.0
"""The trigger of a watcher: serialization, odd arguments, and events until it is cancelled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

import pytest
from airflow.triggers.base import TriggerEvent

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.triggers.job_event import PiktidJobEventTrigger
from tests.support.batch import buy
from tests.support.tasks import first_event, rebuild
from tests.support.watching import until

ODD: list[Any] = [
    pytest.param({"statuses": "completed"}, id="statuses as text"),
    pytest.param({"statuses": None}, id="no statuses"),
    pytest.param({"statuses": {"a": [1]}}, id="statuses as object"),
    pytest.param({"job_types": 5}, id="types as number"),
    pytest.param({"projects": [[]]}, id="project is a list"),
    pytest.param({"gather": "soon"}, id="gather as text"),
    pytest.param({"gather": -1}, id="gather below 0"),
    pytest.param({"gather": 10**400}, id="gather without end"),
    pytest.param({"gather": True}, id="gather as boolean"),
    pytest.param({"piktid_conn_id": None}, id="no connection"),
    pytest.param({"piktid_conn_id": 7}, id="connection is a number"),
]


def test_trigger_is_rebuilt_from_its_serialized_form() -> None:
    """Serializing what was rebuilt gives the same: Airflow compares it to tell whether a trigger has changed."""
    trigger = PiktidJobEventTrigger("swaps", "piktid_eu", ("completed", "failed"), ["model_swap"], None, 2.5)

    assert rebuild(trigger).serialize() == trigger.serialize()
    assert json.loads(json.dumps(trigger.serialize()[1])) == trigger.serialize()[1]


def test_arguments_of_airflow_are_passed_on() -> None:
    """Airflow 3.4 passes more arguments to triggers."""
    trigger = PiktidJobEventTrigger("swaps", queue="gpu")
    assert trigger.serialize()[1]["queue"] == "gpu"


def test_triggers_of_two_assets_differ() -> None:
    """Equal arguments would make two assets of one DAG file share one trigger."""
    assert PiktidJobEventTrigger("a").serialize() != PiktidJobEventTrigger("b").serialize()


@pytest.mark.parametrize("arguments", ODD)
def test_odd_arguments_neither_raise_nor_end_the_trigger(
    arguments: dict[str, Any], server: EmulatorServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The constructor takes anything; the trigger logs once what is wrong and stays, without an event."""
    trigger = cast("PiktidJobEventTrigger", rebuild(PiktidJobEventTrigger("swaps", **arguments)))

    async def run() -> None:
        running = asyncio.create_task(first_event(trigger))
        await until(lambda: bool(caplog.records))
        await asyncio.sleep(0.05)
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "swaps" in record.getMessage()
    assert next(iter(arguments)) in record.getMessage()


def test_each_end_is_an_event(server: EmulatorServer) -> None:
    """The trigger goes on after an event, and the payload is JSON with a version."""

    async def run() -> list[Any]:
        trigger = rebuild(PiktidJobEventTrigger("swaps", gather=0))
        payloads = []
        async with aclosing(cast("AsyncGenerator[TriggerEvent]", trigger.run())) as events:
            for _ in range(2):
                server.state.complete_job(await asyncio.to_thread(buy, server))
                async with asyncio.timeout(60):
                    payloads.append((await anext(events)).payload)
        return payloads

    payloads = asyncio.run(run())
    assert [(len(p["jobs"]), p["version"]) for p in payloads] == [(1, 1), (1, 1)]
    assert set(payloads[0]["jobs"][0]) == {"job_id", "status", "job_type", "project", "notification_id"}
    assert json.loads(json.dumps(payloads)) == payloads


def test_cancelled_trigger_closes_its_stream(server: EmulatorServer) -> None:
    """Nothing is left at the server when the triggerer cancels the trigger."""

    async def run() -> None:
        running = asyncio.create_task(first_event(PiktidJobEventTrigger("swaps")))
        await until(lambda: bool(server.state.v2.notifications.streams))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await until(lambda: not server.state.v2.notifications.streams)

    asyncio.run(run())
