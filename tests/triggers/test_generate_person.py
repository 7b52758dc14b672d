# SPDX-License-Identifier: Apache-2.0
"""The person trigger: serialization and its events."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_piktid.client._login import TOKENS
from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.triggers.generate_person import PiktidGeneratePersonTrigger
from tests.support.fixtures import start
from tests.support.person import account_json
from tests.support.tasks import fire, rebuild

__all__ = ["start"]

Serve = Callable[..., EmulatorServer]


@pytest.fixture
def serve(start: Serve, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Start an emulator with a login and poll quickly."""
    TOKENS.clear()

    def begin(**settings: Any) -> EmulatorServer:
        server = start(**settings)
        monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", account_json(server.url))
        return server

    return begin


def wanted(image: str = "img", person: int = 0) -> dict[str, Any]:
    return {
        "name": f"{image} {person}",
        "id_image": image,
        "id_person": person,
        "keyword": ["location", "africa"],
        "since": time.time() - 1,
        "id_task": None,
    }


def finish(server: EmulatorServer, image: str = "img", person: int = 0) -> int:
    data = {
        "address": image,
        "id_person": person,
        "keyword": '{"Location": "Africa"}',
        "links": [{"l": "http://x/s"}],
    }
    return server.state.v1.notifications.publish("edit_generate", data).id


def test_trigger_is_restored_from_json() -> None:
    """A trigger that is restored from its JSON serializes to the same JSON."""
    trigger = PiktidGeneratePersonTrigger(
        [wanted()],
        "conn",
        used=[3, "~a"],
        resume_at=1.0,
        end_time=2.0,
        collect_after=3.0,
        resume_state={"record": {}},
    )
    assert rebuild(trigger).serialize() == trigger.serialize()


def test_done_event_contains_no_links(serve: Serve) -> None:
    """The event contains names, notification ids, ``resume_state`` and the time of the last request, and no links."""
    server = serve()
    number = finish(server)
    began = time.time()
    event = fire(PiktidGeneratePersonTrigger([wanted()], resume_state={"record": 1}))
    assert (event["status"], event["ended"], event["notification_ids"]) == (
        "done",
        {"img 0": "completed"},
        [number],
    )
    listed_at = event["resume_state"].pop("listed_at")
    assert began <= listed_at <= time.time()
    assert event["resume_state"] == {"record": 1}
    assert "http://x/s" not in json.dumps(event)


def test_trigger_only_reads(serve: Serve) -> None:
    """The trigger buys nothing and deletes no notification; two runs return the same event."""
    server = serve()
    finish(server)
    trigger = PiktidGeneratePersonTrigger([wanted()])
    first, second = fire(trigger), fire(trigger)
    assert first["ended"] == second["ended"] == {"img 0": "completed"}
    assert len(server.state.v1.notifications.current()) == 1
    assert server.state.generations() == []


def test_event_contains_the_reason_of_a_failure(serve: Serve) -> None:
    """The event contains the reason of a failed generation."""
    server = serve()
    server.state.v1.notifications.publish(
        "error", {"tasks": "edit_generate", "msg": "too dark", "address": "img"}
    )
    event = fire(PiktidGeneratePersonTrigger([wanted()]))
    assert event["ended"] == {"img 0": "failed: too dark"}


def test_deadline_yields_a_timeout_event(serve: Serve) -> None:
    """At ``end_time`` the trigger yields a ``timeout`` event."""
    serve()
    event = fire(PiktidGeneratePersonTrigger([wanted()], end_time=time.time() + 0.2))
    assert (event["status"], event["ended"]) == ("timeout", {})


def test_wait_without_generations_needs_no_connection(serve: Serve) -> None:
    """Without generations the trigger waits until ``resume_at`` and does not use the connection."""
    event = fire(PiktidGeneratePersonTrigger([], "no_such_connection", resume_at=time.time() + 0.1))
    assert event["status"] == "slot"


def test_restarted_trigger_finds_the_result(serve: Serve) -> None:
    """A restarted trigger finds a result that arrived 500 seconds before."""
    server = serve()
    trigger = PiktidGeneratePersonTrigger([wanted()])

    async def vanish() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(trigger.run()), 0.2)

    asyncio.run(vanish())
    finish(server)
    server.state.clock.advance(500)
    assert fire(trigger)["ended"] == {"img 0": "completed"}


def test_wrong_password_yields_a_permanent_error_event(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password yields a permanent error event that names the connection, not the password."""
    server = serve()
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", account_json(server.url, password="wr0ng-one"))
    event = fire(PiktidGeneratePersonTrigger([wanted()]))
    assert (event["status"], event["permanent"]) == ("error", True)
    assert "piktid_default" in event["message"]
    assert "wr0ng-one" not in json.dumps(event)


def test_corrected_connection_is_used(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a refused login the connection is looked up again, and a corrected password is used."""
    server = serve()
    finish(server)
    good = account_json(server.url)
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", account_json(server.url, password="wr0ng-one"))
    genuine = PiktidGeneratePersonTrigger._settings

    async def settings(self: PiktidGeneratePersonTrigger) -> Any:
        found = await genuine(self)
        monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", good)
        return found

    monkeypatch.setattr(PiktidGeneratePersonTrigger, "_settings", settings)
    assert fire(PiktidGeneratePersonTrigger([wanted()]))["status"] == "done"


def test_unknown_connection_yields_an_error_event(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown connection yields an error event that names it."""
    monkeypatch.setattr("airflow_provider_piktid.triggers.generate_person.LOOKUP_PAUSE", 0.01)
    event = fire(PiktidGeneratePersonTrigger([wanted()], "no_such_connection"))
    assert event["status"] == "error"
    assert "no_such_connection" in event["message"]


def test_triggers_of_one_account_share_polls_and_login(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty triggers with two connections of one account share the polls and the login."""
    server = serve()
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", account_json(server.url, v1_poll_interval=0.2))
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_TWIN", account_json(server.url))
    for person in range(20):
        finish(server, person=person)

    async def all_of_them() -> list[Any]:
        triggers = [
            PiktidGeneratePersonTrigger(
                [wanted(person=person)], ("piktid_default", "piktid_twin")[person % 2]
            )
            for person in range(20)
        ]
        return await asyncio.gather(*(anext(trigger.run()) for trigger in triggers))

    events = asyncio.run(all_of_them())
    assert {event.payload["status"] for event in events} == {"done"}
    counts = server.state.v1.counters.as_dict()
    assert counts["polls"] <= 2
    assert counts["logins"] == 1
