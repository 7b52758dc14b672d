# SPDX-License-Identifier: Apache-2.0
"""Generation requests: validation, credits, and duration."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

OCEANIA = '{"Location": "Oceania"}'


def test_request_returns_status_task_and_image(v1: Any) -> None:
    """The response has the shape of the sibling endpoint."""
    image = v1.upload()
    answer = v1.generate(image)
    assert answer.status_code == 200
    assert answer.json().keys() == {"status", "id_task", "id_image"}
    assert answer.json()["id_image"] == image


def test_quick_start_body_is_accepted(v1: Any) -> None:
    """A person as a string and no category are accepted, as in the first example of the guide."""
    body = {"id_image": v1.upload(), "id_person": "0", "keyword": '{"Location":"Oceania"}'}
    assert v1.call("POST", "/edit/generate", body).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"id_image": 7}, id="image-number"),
        pytest.param({"id_person": None}, id="no-person"),
        pytest.param({"id_person": "first"}, id="person-word"),
        pytest.param({"id_person": True}, id="person-boolean"),
        pytest.param({"id_person": 0.5}, id="person-fraction"),
        pytest.param({"keyword": None}, id="no-keyword"),
        pytest.param({"keyword": {"Location": "Oceania"}}, id="keyword-object"),
        pytest.param({"keyword": "Oceania"}, id="keyword-word"),
        pytest.param({"keyword": "{}"}, id="keyword-empty"),
        pytest.param({"keyword": '{"Location": "Oceania", "Age": "30"}'}, id="two-pairs"),
        pytest.param({"keyword": '{"Age": "30"}'}, id="unknown-group"),
        pytest.param({"keyword": '{"Location": "Atlantis"}'}, id="unknown-place"),
        pytest.param({"keyword": '{"Location": "oceania"}'}, id="place-in-lower-case"),
        pytest.param({"category": "dog"}, id="category"),
        pytest.param({"options": {"seed": 1}}, id="options-object"),
        pytest.param({"options": "[]"}, id="options-list"),
        pytest.param({"options": '{"seed": "1"}'}, id="seed-text"),
        pytest.param({"options": '{"strength": 1.5}'}, id="strength"),
        pytest.param({"options": '{"guidance_scale": 0}'}, id="guidance"),
    ],
)
def test_wrong_request_is_refused_and_free(v1: Any, change: dict[str, Any]) -> None:
    """A wrong field returns a v1 error; nothing is charged."""
    body = {"id_image": v1.upload(), "id_person": 0, "keyword": OCEANIA, **change}
    answer = v1.call("POST", "/edit/generate", {k: v for k, v in body.items() if v is not None})
    assert answer.status_code == 422
    assert answer.json().keys() == {"code", "message", "description"}
    assert v1.state.generations() == []


def test_body_that_is_not_an_object_is_refused(v1: Any) -> None:
    """The body must be a JSON object."""
    assert v1.call("POST", "/edit/generate", [1]).status_code == 422


@pytest.mark.parametrize("change", [{"id_image": "none"}, {"id_person": 4}, {"id_person": -1}], ids=str)
def test_unknown_picture_or_person_returns_404(v1: Any, change: dict[str, Any]) -> None:
    """An unknown picture or person returns 404."""
    body = {"id_image": v1.upload(), "id_person": 0, "keyword": OCEANIA, **change}
    assert v1.call("POST", "/edit/generate", body).status_code == 404
    assert v1.state.generations() == []


def test_every_location_is_accepted(v1: Any) -> None:
    """The eight documented locations and the newer Central Africa are accepted."""
    image = v1.upload()
    places = ["Africa", "East Asia", "Middle East", "North America", "North Europe", "Oceania"]
    places += ["South America", "South Europe", "Central Africa"]
    assert {v1.generate(image, 0, place).status_code for place in places} == {200}


def test_prompt_replaces_a_keyword(v1: Any) -> None:
    """A prompt is accepted instead of a keyword."""
    v1.run(v1.upload(), keyword=None, prompt="an old sailor")
    assert v1.state.generations()[0]["prompt"] == "an old sailor"


def test_credits_are_charged_per_generation(serve_v1: Callable[..., Any]) -> None:
    """Each generation costs its price; a balance that is too low returns 402."""
    v1 = serve_v1(credits=5.0, credits_per_generation=2.0)
    image = v1.upload()
    assert [v1.generate(image).status_code for _ in range(3)] == [200, 200, 402]
    assert v1.call("GET", "/me").json()["credits"] == 1.0
    assert len(v1.state.generations()) == 2


def test_ledger_counts_what_was_bought(v1: Any) -> None:
    """Ledger and statistics have picture, person and keyword of each generation, and duplicates."""
    image = v1.upload()
    for person, place in ((0, "Oceania"), (1, "Oceania"), (0, "Oceania")):
        v1.generate(image, person, place, options='{"seed": 7}')
    body = v1.api.get("/_emulator/ledger").json()
    assert [(g["id_image"], g["id_person"], g["keyword"]) for g in body["generations"]] == [
        (image, 0, {"Location": "Oceania"}),
        (image, 1, {"Location": "Oceania"}),
        (image, 0, {"Location": "Oceania"}),
    ]
    assert body["generations"][0]["options"] == {"seed": 7}
    assert (body["balance"], body["jobs"]) == (997.0, [])
    stats = v1.api.get("/_emulator/stats").json()["v1"]
    assert stats["generations_by_request"] == [
        {"id_image": image, "id_person": 0, "keyword": json.dumps({"Location": "Oceania"}), "generations": 2},
        {"id_image": image, "id_person": 1, "keyword": json.dumps({"Location": "Oceania"}), "generations": 1},
    ]
    assert (stats["generations"], stats["duplicated_generations"]) == (3, 1)


def test_ledger_knows_a_picture_that_was_uploaded_twice(v1: Any) -> None:
    """The digest of the content is the same under two image ids."""
    for image in (v1.upload(), v1.upload()):
        v1.generate(image)
    first, second = v1.state.generations()
    assert first["id_image"] != second["id_image"]
    assert first["picture"] == second["picture"]


# Masks ------------------------------------------------------------------------------------------------------


def seconds(v1: Any) -> list[float]:
    return [g["seconds"] for g in v1.state.generations()]


@pytest.fixture
def slow(serve_v1: Callable[..., Any]) -> Any:
    """An emulator with 15 s for masks and 3 s for generations: nothing ends during a test."""
    return serve_v1(faces=2, mask_seconds=15.0, generate_seconds=3.0)


def test_requests_sent_together_all_make_masks(slow: Any) -> None:
    """Requests sent at the same time each take as long as the first."""
    image = slow.upload()
    for place in ("Africa", "Oceania", "East Asia"):
        slow.generate(image, 0, place)
    assert seconds(slow) == [18.0, 18.0, 18.0]
    assert slow.state.stats()["v1"]["most_active_generations"] == 3


def test_requests_sent_after_the_masks_are_quicker(slow: Any) -> None:
    """Fifteen seconds after the first request, masks exist for every person of the picture."""
    image = slow.upload()
    slow.generate(image, 0)
    slow.state.clock.advance(14)
    slow.generate(image, 1)
    slow.state.clock.advance(1)
    slow.generate(image, 0, "Africa")
    slow.generate(image, 1, "Africa")
    assert seconds(slow) == [18.0, 18.0, 3.0, 3.0]


def test_each_picture_has_its_own_masks(slow: Any) -> None:
    """Masks of one picture are not used for another."""
    first, second = slow.upload(), slow.upload()
    slow.generate(first)
    slow.state.clock.advance(15)
    slow.generate(second)
    assert seconds(slow) == [18.0, 18.0]


def test_request_that_finds_masks_overtakes_one_that_makes_them(serve_v1: Callable[..., Any]) -> None:
    """A later request without masks to make ends before the earlier one, which ends too."""
    v1 = serve_v1(mask_seconds=0.8, generate_seconds=0.01)
    image = v1.upload()
    v1.generate(image, 0, "Africa")
    v1.state.clock.advance(0.8)
    v1.generate(image, 0, "Oceania")
    assert [json.loads(n.data["keyword"])["Location"] for n in v1.ended(2)] == ["Oceania", "Africa"]
