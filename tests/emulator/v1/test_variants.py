# SPDX-License-Identifier: Apache-2.0
"""Each point on which the v1 documents disagree or are silent is a variant."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_piktid.emulator import VARIANTS

Look = Callable[[Any], Any]


def upload(v1: Any) -> dict[str, Any]:
    return dict(v1.call("POST", "/images_by_id/v2", {"id_image": v1.upload()}).json())


def status(v1: Any, **body: Any) -> int:
    return int(v1.generate(v1.upload(), **body).status_code)


def notification(v1: Any) -> dict[str, Any]:
    return dict(v1.run(v1.upload()))


def error(v1: Any) -> dict[str, Any]:
    v1.server.faults.add("generation", "fail")
    return dict(notification(v1)["data"])


def unusable(v1: Any) -> Any:
    v1.server.faults.add("target", "faces", n=1, approve=False)
    answer = v1.generate(v1.upload())
    return v1.ended()[0].name if answer.ok else answer.status_code


CASES: list[tuple[str, str, Look, Any]] = [
    (
        "v1_image_id",
        "both",
        lambda v1: upload(v1).keys() & {"id_image", "image_id"},
        {"id_image", "image_id"},
    ),
    ("v1_image_id", "id_image", lambda v1: upload(v1).keys() & {"id_image", "image_id"}, {"id_image"}),
    ("v1_image_id", "image_id", lambda v1: upload(v1).keys() & {"id_image", "image_id"}, {"image_id"}),
    (
        "v1_coordinates",
        "top",
        lambda v1: (len(upload(v1)["coordinates_list"]), "faces" in upload(v1)),
        (1, False),
    ),
    ("v1_coordinates", "nested", lambda v1: len(upload(v1)["faces"]["coordinates_list"]), 1),
    ("v1_coordinates", "nested", lambda v1: "coordinates_list" in upload(v1), False),
    ("v1_unusable", "fails", unusable, "error"),
    ("v1_unusable", "refuse", unusable, 400),
    ("v1_keyword_key", "insensitive", lambda v1: status(v1, keyword='{"location": "Africa"}'), 200),
    ("v1_keyword_key", "strict", lambda v1: status(v1, keyword='{"location": "Africa"}'), 422),
    ("v1_keyword_key", "strict", lambda v1: status(v1, keyword='{"Location": "Africa"}'), 200),
    ("v1_locations", "9", lambda v1: status(v1, word="Central Africa"), 200),
    ("v1_locations", "8", lambda v1: status(v1, word="Central Africa"), 422),
    ("v1_category", "optional", lambda v1: status(v1, category=None), 200),
    ("v1_category", "required", lambda v1: status(v1, category=None), 422),
    ("v1_generate_reply", "empty", lambda v1: v1.generate(v1.upload()).json(), {}),
    ("v1_notification_fields", "id", lambda v1: set(notification(v1)), {"name", "data", "id"}),
    ("v1_notification_fields", "timestamp", lambda v1: set(notification(v1)), {"name", "data", "timestamp"}),
    ("v1_notification_fields", "none", lambda v1: set(notification(v1)), {"name", "data"}),
    (
        "v1_notification_keyword",
        "string",
        lambda v1: notification(v1)["data"]["keyword"],
        '{"Location": "Oceania"}',
    ),
    (
        "v1_notification_keyword",
        "object",
        lambda v1: notification(v1)["data"]["keyword"],
        {"Location": "Oceania"},
    ),
    ("v1_notification_keyword", "absent", lambda v1: "keyword" in notification(v1)["data"], False),
    ("v1_id_person", "int", lambda v1: notification(v1)["data"]["id_person"], 0),
    ("v1_id_person", "text", lambda v1: notification(v1)["data"]["id_person"], "0"),
    ("v1_error_ids", "absent", lambda v1: set(error(v1)), {"tasks", "msg"}),
    ("v1_error_ids", "present", lambda v1: json.loads(error(v1)["keyword"]), {"Location": "Oceania"}),
    (
        "v1_error_ids",
        "present",
        lambda v1: set(error(v1)),
        {"tasks", "msg", "id_task", "id_person", "address", "keyword"},
    ),
    (
        "v1_delete_unknown",
        "200",
        lambda v1: v1.call("DELETE", "/notification/delete_json", {"id": 1}).status_code,
        200,
    ),
    (
        "v1_delete_unknown",
        "404",
        lambda v1: v1.call("DELETE", "/notification/delete_json", {"id": 1}).status_code,
        404,
    ),
    ("validation_status", "400", lambda v1: status(v1, keyword="x"), 400),
]
#: Tested elsewhere: tokens, pictures, polls.
ELSEWHERE = {"v1_refresh", "v1_too_many_persons", "v1_poll_limit"}


@pytest.mark.parametrize(
    ("name", "value", "look", "expected"), CASES, ids=[f"{name}={value}" for name, value, _, _ in CASES]
)
def test_variant_changes_a_response(
    serve_v1: Callable[..., Any], name: str, value: str, look: Look, expected: Any
) -> None:
    """Each variant changes a response."""
    v1 = serve_v1(faces=1, variants={name: value})
    assert look(v1) == expected


def test_every_v1_variant_has_a_test() -> None:
    """Every v1 variant has a test."""
    known = {name for name in VARIANTS if name.startswith("v1_")}
    assert {name for name, *_ in CASES if name.startswith("v1_")} | ELSEWHERE == known
