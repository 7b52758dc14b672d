# SPDX-License-Identifier: Apache-2.0
"""Notifications as a stream and as a list."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests


@contextmanager
def lines(api: Any, **query: Any) -> Iterator[Iterator[str]]:
    with api.call("GET", "/notifications/events", params=query, stream=True) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        yield response.iter_lines(decode_unicode=True)


def test_stream_sends_backfill_then_its_end_then_live_frames_without_name(api: Any) -> None:
    """Existing notifications are ``backfill``, then come ``backfill_complete`` with an empty object and live ones."""
    api.server.state.publish("batch_edit", {"job_id": "a"})
    with lines(api) as stream:
        head = list(itertools.islice(stream, 6))
        api.server.state.publish("batch_edit", {"job_id": "b"})
        live = list(itertools.islice(stream, 2))
    assert head[0] == "event: backfill"
    assert json.loads(head[1].removeprefix("data: "))["data"] == {"job_id": "a"}
    assert head[2:] == ["", "event: backfill_complete", "data: {}", ""]
    frame = json.loads(live[0].removeprefix("data: "))
    assert set(frame) == {"id", "name", "data", "timestamp"}
    assert isinstance(frame["timestamp"], float)
    assert live[1] == ""


def test_silent_stream_sends_keepalives(serve: Callable[..., Any]) -> None:
    """An idle stream sends comments."""
    with lines(serve(keepalive_seconds=0.02)) as stream:
        assert ":keepalive" in itertools.islice(stream, 5)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param({}, [1, 2, 3], id="all"),
        pytest.param({"id_task": "a"}, [1, 2], id="job"),
        pytest.param({"id_task": "a,b"}, [1, 2, 3], id="jobs-by-comma"),
        pytest.param({"id_image": "img"}, [2], id="image"),
        pytest.param({"name_list": "image_result"}, [2], id="name"),
        pytest.param({"name_list": "image_result, error"}, [2, 3], id="names-by-comma"),
        pytest.param({"name_list": ["image_result", "error"]}, [2, 3], id="names-repeated"),
        pytest.param({"name_list[]": ["image_result", "error"]}, [2, 3], id="names-in-brackets"),
        pytest.param({"name_list": '["image_result", "error"]'}, [2, 3], id="names-as-json"),
        pytest.param({"name_list": ""}, [1, 2, 3], id="no-name"),
    ],
)
def test_stream_is_filtered(api: Any, query: dict[str, Any], found: list[int]) -> None:
    """Filters apply to the stream, in every encoding of multiple values."""
    for name, data in (
        ("batch_edit", {"id_task": "a"}),
        ("image_result", {"job_id": "a", "id_image": "img"}),
        ("error", {"id_task": "b"}),
    ):
        api.server.state.publish(name, data)
    with lines(api, **query) as stream:
        head = list(itertools.takewhile(lambda line: line != "event: backfill_complete", stream))
    assert [json.loads(line[6:])["id"] for line in head if line.startswith("data: ")] == found


def test_stream_accepts_the_token_from_the_query(api: Any) -> None:
    """``token`` in the query replaces the header; a wrong token is refused."""
    url = f"{api.url}/notifications/events"
    with requests.get(url, params={"token": "piktid-emulator"}, stream=True) as response:
        assert response.status_code == 200
    assert requests.get(url, params={"token": "wrong"}).status_code == 401


def test_deleted_notification_is_not_replayed(api: Any) -> None:
    """A deleted notification is not in the backfill; deleting it again returns 404."""
    first, second = (api.server.state.publish("batch_edit", {"job_id": job}) for job in "ab")
    assert api.call("DELETE", f"/notifications/{first}").status_code == 200
    assert api.call("DELETE", f"/notifications/{first}").status_code == 404
    assert next(api.events())["id"] == second


def test_notification_is_gone_after_ten_minutes(api: Any) -> None:
    """A notification expires after ten minutes."""
    api.server.state.publish("batch_edit", {"job_id": "old"})
    api.server.state.clock.advance(601)
    api.server.state.publish("batch_edit", {"job_id": "new"})
    assert [n["data"] for n in api.post("/notifications", {"name_list": "batch_edit"}).json()] == [
        {"job_id": "new"}
    ]


@pytest.mark.parametrize("names", ["a,b", ["a", "b"], "a, b"], ids=str)
def test_list_of_notifications_is_a_bare_array(api: Any, names: Any) -> None:
    """``POST /notifications`` returns a bare array, filtered by names and jobs."""
    for name, job in (("a", "1"), ("b", "2"), ("c", "1")):
        api.server.state.publish(name, {"id_task": job})
    assert [n["name"] for n in api.post("/notifications", {"name_list": names}).json()] == ["a", "b"]
    found = api.post("/notifications", {"name_list": names, "id_task": ["1"]}).json()
    assert [n["name"] for n in found] == ["a"]


def test_list_of_notifications_needs_names(api: Any) -> None:
    """``name_list`` is required when polling."""
    assert api.post("/notifications", {}).status_code == 422


def test_disconnected_reader_is_removed(api: Any) -> None:
    """The emulator drops the subscription of a disconnected reader."""
    with lines(api) as stream:
        next(stream)
        assert api.server.state.stats()["streams"] == 1
    with lines(api, name_list="probe") as stream:
        next(stream)
        for _ in range(200):
            if api.server.state.stats()["streams"] == 1:
                return
            api.get("/project")
    pytest.fail("the first stream is still counted")
