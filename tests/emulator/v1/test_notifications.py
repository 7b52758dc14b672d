# SPDX-License-Identifier: Apache-2.0
"""Notifications: list, filter, delete, expiry."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

PATH = "/notification_by_name_json"


def names(items: list[Any]) -> list[str]:
    return [item["name"] for item in items]


def test_finished_generation_has_the_documented_notification(v1: Any) -> None:
    """Person, image, keyword and links have the documented names."""
    image = v1.upload()
    item = v1.run(image, 2)
    assert set(item) == {"id", "name", "timestamp", "data"}
    assert item["name"] == "edit_generate"
    assert {k: item["data"][k] for k in ("id_person", "address", "keyword")} == {
        "id_person": 2,
        "address": image,
        "keyword": '{"Location": "Oceania"}',
    }
    ((link),) = item["data"]["links"]
    assert set(link) == {"l", "n", "t"}
    assert link["n"].endswith(".png")
    assert all(v1.api.fetch(link[key]).content.startswith(b"\x89PNG") for key in ("l", "t"))


def test_links_stay_the_same_between_two_polls(v1: Any) -> None:
    """The link does not change, as documented."""
    first = v1.run(v1.upload())
    assert v1.notifications()[0]["data"] == first["data"]


def test_result_link_expires(serve_v1: Callable[..., Any]) -> None:
    """An expired link is refused."""
    v1 = serve_v1(result_link_seconds=100.0)
    link = v1.run(v1.upload())["data"]["links"][0]["l"]
    v1.state.clock.advance(101)
    assert v1.api.fetch(link).status_code == 403


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        pytest.param("edit_generate", ["edit_generate"], id="word"),
        pytest.param("edit_generate,error", ["edit_generate", "error"], id="commas"),
        pytest.param(" edit_generate , error ", ["edit_generate", "error"], id="blanks"),
        pytest.param(["edit_generate", "error"], ["edit_generate", "error"], id="list"),
        pytest.param(["error "], ["error"], id="list-with-blank"),
        pytest.param("swap", [], id="other"),
        pytest.param("", ["edit_generate", "error", "new_generation"], id="empty"),
        pytest.param(None, ["edit_generate", "error", "new_generation"], id="nothing"),
    ],
)
def test_names_filter_in_every_documented_shape(v1: Any, wanted: Any, found: list[str]) -> None:
    """``name_list`` is comma-separated text or a list, with or without spaces; absent means all."""
    for name in ("edit_generate", "error", "new_generation"):
        v1.state.v1.notifications.publish(name, {})
    assert names(v1.notifications(name_list=wanted)) == found


def test_image_and_task_filter(v1: Any) -> None:
    """``id_image`` and ``id_task`` filter the list, including errors without ids."""
    first, second = v1.upload(), v1.upload()
    v1.server.faults.add("generation", "fail")
    tasks = [v1.generate(image).json()["id_task"] for image in (first, second)]
    v1.ended(2)
    assert names(v1.notifications(id_image=first)) == ["error"]
    assert names(v1.notifications(id_image=second)) == ["edit_generate"]
    assert names(v1.notifications(id_task=tasks[0])) == ["error"]
    assert names(v1.notifications(id_task=tasks[0], id_image=second)) == []


@pytest.mark.parametrize(
    "body", [{"name_list": 7}, {"name_list": [1]}, {"id_image": 7}, {"id_task": []}], ids=str
)
def test_wrong_filter_is_refused(v1: Any, body: dict[str, Any]) -> None:
    """A filter of the wrong type returns a v1 error."""
    answer = v1.call("POST", PATH, body)
    assert (answer.status_code, answer.json()["code"]) == (422, 422)


def test_list_without_a_body_has_everything(v1: Any) -> None:
    """All fields are optional."""
    v1.state.v1.notifications.publish("swap", {})
    assert names(v1.call("POST", PATH).json()["notifications_list"]) == ["swap"]


def test_notification_lives_exactly_ten_minutes(v1: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is listed until just before 600 seconds, and not at 600."""
    now = 1_800_000_000.0
    monkeypatch.setattr(v1.state.clock, "time", lambda: now)
    v1.state.v1.notifications.publish("edit_generate", {})
    now += 599.99
    assert len(v1.notifications()) == 1
    now += 0.01
    assert v1.notifications() == []


def test_notifications_of_v2_are_separate(v1: Any) -> None:
    """Neither API lists notifications of the other."""
    v1.run(v1.upload())
    job_id = v1.api.run()
    assert names(v1.notifications()) == ["edit_generate"]
    listed = v1.api.post(
        "/notifications", {"id_task": [job_id], "name_list": ["edit_generate", "batch_edit"]}
    )
    assert "edit_generate" not in listed.text


def test_deleted_notification_is_gone_and_others_stay(v1: Any) -> None:
    """The id is in the body of the DELETE."""
    ids = [v1.state.v1.notifications.publish("edit_generate", {}).id for _ in range(2)]
    assert v1.call("DELETE", "/notification/delete_json", {"id": ids[0]}).status_code == 200
    assert [item["id"] for item in v1.notifications()] == [ids[1]]


@pytest.mark.parametrize("body", [None, {}, {"id": "9"}, {"id": True}, []], ids=str)
def test_deletion_without_an_id_is_refused(v1: Any, body: Any) -> None:
    """A DELETE without a body deletes nothing."""
    v1.state.v1.notifications.publish("edit_generate", {})
    assert v1.call("DELETE", "/notification/delete_json", body).status_code == 422
    assert len(v1.notifications()) == 1


def test_foreign_notification_can_be_added(v1: Any) -> None:
    """A test can publish any notification."""
    data = {"address": "foreign", "id_person": 0}
    v1.api.post("/_emulator/v1/notifications", {"name": "edit_generate", "data": data})
    assert [item["data"] for item in v1.notifications(id_image="foreign")] == [data]


# Polls ------------------------------------------------------------------------------------------------------


def test_polls_are_counted_with_the_shortest_time_between_them(v1: Any) -> None:
    """Statistics have the number of polls and the shortest interval between two."""
    v1.notifications()
    assert v1.state.stats()["v1"]["shortest_poll_interval"] is None
    v1.notifications()
    v1.notifications()
    stats = v1.state.stats()["v1"]
    assert stats["polls"] == 3
    assert 0 < stats["shortest_poll_interval"] < 3


def poll_times(v1: Any, *waits: float) -> list[int]:
    codes = [v1.call("POST", PATH, {}).status_code]
    for wait in waits:
        v1.state.clock.advance(wait)
        codes.append(v1.call("POST", PATH, {}).status_code)
    return codes


def test_quick_polls_are_allowed_by_default(v1: Any) -> None:
    """By default the three seconds are not enforced."""
    assert poll_times(v1, 0, 0) == [200, 200, 200]


def test_poll_limit_refuses_polls_within_three_seconds(serve_v1: Callable[..., Any]) -> None:
    """A refused poll does not extend the limit; a poll every three seconds is never refused."""
    v1 = serve_v1(variants={"v1_poll_limit": "on"})
    assert poll_times(v1, 1, 1.5, 0.6, 3, 3) == [200, 429, 429, 200, 200, 200]


def test_refused_polls_can_count(serve_v1: Callable[..., Any]) -> None:
    """With ``rate_counts=all`` every poll restarts the three seconds."""
    v1 = serve_v1(variants={"v1_poll_limit": "on", "rate_counts": "all"})
    assert poll_times(v1, 2, 2, 3) == [200, 429, 429, 200]


def test_refused_poll_can_have_retry_after(serve_v1: Callable[..., Any]) -> None:
    """With ``retry_after=seconds`` the 429 has the header."""
    v1 = serve_v1(variants={"v1_poll_limit": "on", "retry_after": "seconds"})
    v1.call("POST", PATH, {})
    answer = v1.call("POST", PATH, {})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")


def test_error_names_the_activity_and_the_reason(v1: Any) -> None:
    """By default an error has no ids, as documented."""
    v1.server.faults.add("generation", "fail", message="no mask")
    item = v1.run(v1.upload())
    assert (item["name"], item["data"]) == ("error", {"tasks": "edit_generate", "msg": "no mask"})
    assert json.dumps(item)
