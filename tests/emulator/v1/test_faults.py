# SPDX-License-Identifier: Apache-2.0
"""Planned faults of v1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from .test_tokens import LOGIN

CALLS: dict[str, Callable[[Any], Any]] = {
    "v1_tokens": lambda v1: requests.post(v1.url + "/tokens", auth=LOGIN, timeout=20),
    "v1_refresh": lambda v1: v1.call("PUT", "/tokens", {}),
    "v1_logout": lambda v1: v1.call("DELETE", "/tokens"),
    "v1_me": lambda v1: v1.call("GET", "/me"),
    "v1_target": lambda v1: v1.target(b""),
    "v1_image": lambda v1: v1.call("POST", "/images_by_id/v2", {}),
    "v1_generate": lambda v1: v1.generate("none"),
    "v1_notifications": lambda v1: v1.call("POST", "/notification_by_name_json", {}),
    "v1_notification_delete": lambda v1: v1.call("DELETE", "/notification/delete_json", {"id": 1}),
}


@pytest.mark.parametrize("operation", CALLS)
def test_every_operation_can_fail(v1: Any, operation: str) -> None:
    """Each v1 operation has its own queue of response faults."""
    v1.server.faults.add(operation, "status", code=503, body={"code": 503})
    assert CALLS[operation](v1).status_code == 503
    assert v1.server.faults.all_met()
    assert CALLS[operation](v1).status_code != 503


@pytest.mark.parametrize(("kind", "bought"), [("drop_before", 0), ("drop_after", 1)])
def test_lost_response_may_have_been_paid(v1: Any, kind: str, bought: int) -> None:
    """The connection is cut before or after the generation is paid; only the ledger shows which."""
    image = v1.upload()
    v1.server.faults.add("v1_generate", kind)
    with pytest.raises(requests.ConnectionError):
        v1.generate(image)
    assert len(v1.state.generations()) == bought


def test_login_can_return_garbage(v1: Any) -> None:
    """Response faults work on logins too."""
    v1.server.faults.add("v1_tokens", "wrong_types")
    assert isinstance(CALLS["v1_tokens"](v1).json()["access_token"], list)


def test_failure_can_mean_one_of_several_generations(v1: Any) -> None:
    """A fault that names person and keyword does not hit others, in any order."""
    image = v1.upload()
    v1.server.faults.add("generation", "fail", id_person=1, keyword="Africa")
    for person, word in ((0, "Africa"), (1, "Oceania"), (1, "Africa"), (0, "Oceania")):
        v1.generate(image, person, word)
    v1.ended(4)
    assert [g["status"] for g in v1.state.generations()] == ["completed", "completed", "failed", "completed"]


def test_failure_of_another_picture_waits(v1: Any) -> None:
    """A fault planned for one picture does not hit another."""
    first, second = v1.upload(), v1.upload()
    v1.server.faults.add("generation", "fail", id_image=second)
    assert v1.run(first)["name"] == "edit_generate"
    assert v1.run(second)["name"] == "error"


def test_failed_generation_can_be_refunded(serve_v1: Callable[..., Any]) -> None:
    """Failed generations cost credits, unless the variant refunds them."""
    balances = []
    for refund in ("no", "yes"):
        v1 = serve_v1(variants={"refund_failed": refund})
        v1.server.faults.add("generation", "fail")
        v1.run(v1.upload())
        balances.append(v1.call("GET", "/me").json()["credits"])
    assert balances == [999.0, 1000.0]


@pytest.mark.parametrize(
    ("action", "name", "status"), [("complete", "edit_generate", "completed"), ("fail", "error", "failed")]
)
def test_generation_that_never_ends_is_ended_by_hand(v1: Any, action: str, name: str, status: str) -> None:
    """It stays pending while later ones end, until it is ended over the control endpoints."""
    image = v1.upload()
    v1.server.faults.add("generation", "never_end")
    task = v1.generate(image).json()["id_task"]
    v1.run(image, 1)
    assert [g["status"] for g in v1.state.generations()] == ["pending", "completed"]
    v1.api.post(f"/_emulator/generations/{task}/{action}")
    assert v1.ended()[0].name == name
    assert v1.state.generations()[0]["status"] == status


@pytest.mark.parametrize("path", ["none/fail", "{task}/explode"])
def test_unknown_generation_or_action_returns_404(v1: Any, path: str) -> None:
    """An unknown generation or action returns 404."""
    task = v1.generate(v1.upload()).json()["id_task"]
    assert v1.api.post("/_emulator/generations/" + path.format(task=task)).status_code == 404


def test_ended_generation_stays_as_it_is(v1: Any) -> None:
    """Failing a completed generation changes nothing and publishes nothing."""
    v1.run(v1.upload())
    v1.api.post(f"/_emulator/generations/{v1.state.generations()[0]['id_task']}/fail")
    assert v1.state.generations()[0]["status"] == "completed"
    assert len(v1.notifications()) == 1


def test_notification_can_be_lost(v1: Any) -> None:
    """The picture is made and paid, without a notification."""
    image = v1.upload()
    v1.server.faults.add("generation", "lose_notification")
    v1.generate(image)
    v1.run(image, 1)
    assert [g["status"] for g in v1.state.generations()] == ["completed", "completed"]
    assert [item["data"]["id_person"] for item in v1.notifications()] == [1]


def test_notification_can_come_late(v1: Any) -> None:
    """The notification of a later generation comes first."""
    image = v1.upload()
    v1.server.faults.add("generation", "late_notification", seconds=0.6)
    v1.generate(image, 0)
    v1.generate(image, 1)
    assert [item.data["id_person"] for item in v1.ended(2)] == [1, 0]


def test_notification_can_come_twice(v1: Any) -> None:
    """The same picture has two notifications with different ids."""
    v1.server.faults.add("generation", "double_notification")
    v1.generate(v1.upload())
    v1.ended(2)
    first, second = v1.notifications()
    assert first["id"] != second["id"]
    assert first["data"] == second["data"]


def test_link_can_be_hostile(v1: Any) -> None:
    """Name and URLs of a link are as planned."""
    image = v1.upload()
    v1.server.faults.add("generation", "hostile_links")
    assert v1.run(image)["data"]["links"][0]["n"] == "../../../etc/passwd"
    v1.server.faults.add("generation", "hostile_links", n="/a", l="file:///etc/passwd")
    link = v1.run(image, 1)["data"]["links"][0]
    assert (link["n"], link["l"]) == ("/a", "file:///etc/passwd")


def test_picture_behind_the_link_can_be_broken(v1: Any) -> None:
    """A link can lead to a file that is not a picture."""
    v1.server.faults.add("generation", "broken_picture")
    link = v1.run(v1.upload())["data"]["links"][0]["l"]
    assert v1.api.fetch(link).content.startswith(b"<html>")


@pytest.mark.parametrize(
    ("kind", "params", "check"),
    [
        pytest.param("foreign", {"n": 5}, lambda own, got: got[5:] == own and len(got) == 7, id="foreign"),
        pytest.param("double", {}, lambda own, got: got == [own[0], own[0], own[1], own[1]], id="double"),
        pytest.param("reorder", {}, lambda own, got: got == own[::-1], id="reorder"),
        pytest.param("junk", {}, lambda own, got: None in got and got[-2:] == own, id="junk"),
        pytest.param("null_data", {}, lambda own, got: got[0]["data"] is None, id="null-data"),
    ],
)
def test_list_can_have_faults(
    v1: Any, kind: str, params: dict[str, Any], check: Callable[[Any, Any], bool]
) -> None:
    """Own notifications are listed among the added ones; the next list is normal."""
    for number in range(2):
        v1.state.v1.notifications.publish("edit_generate", {"id_person": number})
    own = v1.notifications()
    v1.server.faults.add("v1_notifications", kind, **params)
    assert check(own, v1.notifications())
    assert v1.notifications() == own


@pytest.mark.parametrize(
    ("operation", "kind"), [("generation", "drop"), ("target", "fail"), ("v1_target", "foreign")], ids=str
)
def test_kind_that_does_not_fit_is_refused(v1: Any, operation: str, kind: str) -> None:
    """A misspelt fault raises an error."""
    with pytest.raises(ValueError, match=kind):
        v1.server.faults.add(operation, kind)


def test_clear_removes_everything(v1: Any) -> None:
    """A clear removes pictures, generations, notifications, logins and counts."""
    image = v1.upload()
    v1.run(image)
    access = CALLS["v1_tokens"](v1).json()["access_token"]
    v1.state.clear()
    assert v1.generate(image).status_code == 404
    assert (v1.notifications(), v1.state.generations()) == ([], [])
    headers = {"Authorization": f"Bearer {access}"}
    assert requests.get(v1.url + "/me", headers=headers, timeout=20).status_code == 401
    assert v1.state.stats()["v1"]["logins"] == 0
