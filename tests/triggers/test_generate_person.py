# SPDX-License-Identifier: Apache-2.0
"""The trigger of generated persons: what it is rebuilt from, and its one event on every path."""

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
    """Start an emulator behind a login; polls come quickly."""
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
    return server.state.v1.notices.publish("edit_generate", data).id


def test_trigger_is_rebuilt_from_json() -> None:
    """What it serializes to is JSON and gives the same trigger, on whichever machine."""
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


def test_done_names_what_ended_without_links(serve: Serve) -> None:
    """The event is stored in the database: names and notification ids, no link; `resume_state` comes back."""
    server = serve()
    number = finish(server)
    event = fire(PiktidGeneratePersonTrigger([wanted()], resume_state={"record": 1}))
    assert (event["status"], event["ended"], event["notification_ids"]) == (
        "done",
        {"img 0": "completed"},
        [number],
    )
    assert event["resume_state"] == {"record": 1}
    assert "http://x/s" not in json.dumps(event)


def test_trigger_deletes_and_pays_nothing(serve: Serve) -> None:
    """It may run twice at once and may vanish: two of it give the same event, and the list stays as it is."""
    server = serve()
    finish(server)
    trigger = PiktidGeneratePersonTrigger([wanted()])
    assert fire(trigger) == fire(trigger)
    assert len(server.state.v1.notices.current()) == 1
    assert server.state.generations() == []


def test_failure_is_named_with_its_reason(serve: Serve) -> None:
    """The worker need not find the error notification again."""
    server = serve()
    server.state.v1.notices.publish("error", {"tasks": "edit_generate", "msg": "too dark", "address": "img"})
    event = fire(PiktidGeneratePersonTrigger([wanted()]))
    assert event["ended"] == {"img 0": "failed: too dark"}


def test_deadline_gives_an_event(serve: Serve) -> None:
    """Airflow's own time-out would skip the resume method: ours comes first."""
    serve()
    event = fire(PiktidGeneratePersonTrigger([wanted()], end_time=time.time() + 0.2))
    assert (event["status"], event["ended"]) == ("timeout", {})


def test_mere_wait_asks_nobody(serve: Serve) -> None:
    """With nothing outstanding it sleeps until its time, without a connection or a request."""
    event = fire(PiktidGeneratePersonTrigger([], "no_such_connection", resume_at=time.time() + 0.1))
    assert event["status"] == "slot"


def test_restart_within_the_life_of_a_notification_loses_nothing(serve: Serve) -> None:
    """A triggerer vanishes, the result comes meanwhile, another triggerer sees it."""
    server = serve()
    trigger = PiktidGeneratePersonTrigger([wanted()])

    async def vanish() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(trigger.run()), 0.2)

    asyncio.run(vanish())
    finish(server)
    server.state.clock.advance(500)
    assert fire(trigger)["ended"] == {"img 0": "completed"}


def test_wrong_login_is_an_event_not_a_silence(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is permanent, names the connection, and holds no password."""
    server = serve()
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", account_json(server.url, password="wr0ng-one"))
    event = fire(PiktidGeneratePersonTrigger([wanted()]))
    assert (event["status"], event["permanent"]) == ("error", True)
    assert "piktid_default" in event["message"]
    assert "wr0ng-one" not in json.dumps(event)


def test_connection_mended_during_the_wait_is_used(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused account is looked up once more before the wait is given up."""
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


def test_unknown_connection_is_an_event(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lookup is tried some times, then the wait ends with an error that names the kind."""
    monkeypatch.setattr("airflow_provider_piktid.triggers.generate_person.LOOKUP_PAUSE", 0.01)
    event = fire(PiktidGeneratePersonTrigger([wanted()], "no_such_connection"))
    assert event["status"] == "error"
    assert "no_such_connection" in event["message"]


def test_waiting_tasks_of_one_account_share_the_polls(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty triggers, under two connection ids of one account, are one poller at the service."""
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
    counts = server.state.v1.counts.as_dict()
    assert counts["polls"] <= 2
    assert counts["logins"] == 1
