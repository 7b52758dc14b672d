# SPDX-License-Identifier: Apache-2.0
"""Answers of v1 in every documented shape, and keywords in every spelling."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_piktid.models.v1 import (
    LOCATIONS,
    AccessToken,
    PersonNotification,
    Target,
    as_keyword,
    keyword_key,
)

PERSON = {"id": 1, "approve": False, "boxHeight": 0.5, "boxWidth": 0.2, "centerX": 0.3}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"id_image": "img", "num_persons": 1, "coordinates_list": [PERSON]}, id="code"),
        pytest.param({"image_id": "img", "num_persons": 1, "coordinates_list": [PERSON]}, id="quick start"),
        pytest.param({"id_image": "img", "image_id": "x", "coordinates_list": [PERSON]}, id="both ids"),
        pytest.param({"id_image": "img", "faces": {"coordinates_list": [PERSON]}}, id="nested"),
        pytest.param({"id_image": "img", "coordinates_list": [PERSON, "junk", None]}, id="junk between"),
    ],
)
def test_target_is_read_in_every_shape(body: dict[str, Any]) -> None:
    """Image id, count and persons are read in every documented format."""
    target = Target.model_validate(body)
    (person,) = target.coordinates_list
    assert (target.id_image, target.count) == ("img", 1)
    assert (person.id, person.approve) == (1, False)
    assert person.area == pytest.approx(0.1)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"Location": "Oceania"}, id="object"),
        pytest.param('{"Location": "Oceania"}', id="JSON text"),
        pytest.param('"{\\"Location\\": \\"Oceania\\"}"', id="JSON in JSON"),
        pytest.param({"location": "oceania"}, id="other case"),
        pytest.param("Oceania", id="plain word"),
        pytest.param("  OCEANIA ", id="blanks"),
    ],
)
def test_keyword_spellings_are_one_keyword(value: Any) -> None:
    """Spellings of a keyword compare equal and are sent alike."""
    assert keyword_key(value) == ("location", "oceania")
    assert as_keyword(value) == {"Location": "Oceania"}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"Location": "Atlantis"}, id="unknown value"),
        pytest.param({"Mood": "happy"}, id="unknown group"),
        pytest.param({"Location": "Africa", "Mood": "happy"}, id="two pairs"),
        pytest.param({}, id="no pair"),
        pytest.param("", id="empty"),
        pytest.param(7, id="number"),
        pytest.param({"Location": None}, id="no value"),
    ],
)
def test_invalid_keyword_is_refused(value: Any) -> None:
    """Unknown and malformed keywords are refused before anything is paid."""
    with pytest.raises(ValueError, match="keyword"):
        as_keyword(value)


def test_unknown_keyword_message_lists_the_known_ones() -> None:
    """The message helps to correct a typing error."""
    with pytest.raises(ValueError, match="Atlantis") as caught:
        as_keyword("Atlantis")
    assert all(name in str(caught.value) for name in LOCATIONS)


def test_allowed_unknown_keyword_goes_as_it_is() -> None:
    """``allow_unknown=True`` accepts unknown keywords unchanged."""
    assert as_keyword({"location": "Atlantis"}, allow_unknown=True) == {"location": "Atlantis"}
    assert as_keyword("Atlantis", allow_unknown=True) == {"Location": "Atlantis"}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(
            {"id_person": 0, "address": "i", "keyword": "Africa", "links": [{"l": "u"}]},
            ("i", 0, ("location", "africa"), "u"),
            id="documented",
        ),
        pytest.param(
            {"id_person": "0", "id_image": "i", "keyword": {"Location": "Africa"}, "links": {"l": "u"}},
            ("i", 0, ("location", "africa"), "u"),
            id="other types",
        ),
        pytest.param({"address": "i", "links": []}, ("i", None, None, None), id="no link"),
        pytest.param('{"address": "i", "id_person": 2}', ("i", 2, None, None), id="data as text"),
        pytest.param(None, (None, None, None, None), id="null"),
        pytest.param([1], (None, None, None, None), id="list"),
        pytest.param(
            {"id_person": True, "links": ["u", {"l": ""}]}, (None, None, None, None), id="wrong types"
        ),
    ],
)
def test_notification_is_read_in_every_shape(data: Any, expected: tuple[Any, ...]) -> None:
    """Missing parts of a notification are None; no content raises an error."""
    item = PersonNotification.model_validate({"id": 9, "name": "edit_generate", "data": data})
    assert (item.id_image, item.id_person, item.keyword, item.link) == expected


def test_refresh_token_is_not_kept() -> None:
    """If presented twice it revokes every token of the account, so it is dropped."""
    token = AccessToken.model_validate({"access_token": "acc", "refresh_token": "ref-secret"})
    assert token.access_token == "acc"
    assert "ref-secret" not in str(token.model_dump())
    assert "acc" not in repr(token).replace("access", "")


def test_notification_shows_no_link() -> None:
    """Anybody who has a link can open it: links are not shown."""
    item = PersonNotification.model_validate(
        {"name": "edit_generate", "data": {"links": [{"l": "https://x/s"}]}}
    )
    assert "https://x/s" not in f"{item!r} {item}"
