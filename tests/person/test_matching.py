# SPDX-License-Identifier: Apache-2.0
"""Matching of notifications to paid requests, and the record of those requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_piktid.exceptions import PiktidRecordError
from airflow_provider_piktid.models.v1 import PersonNotification
from airflow_provider_piktid.person.matching import AwaitedGeneration, match
from airflow_provider_piktid.person.record import Face, Generation, PersonRecord, output_stem

ASKED = 1000.0


def want(person: int = 0, word: str = "oceania", image: str = "img") -> AwaitedGeneration:
    return AwaitedGeneration(
        f"{person} {word}", image, person, ("location", word), ASKED, f"task-{person}-{word}"
    )


def result(number: int | None = 1, **data: Any) -> PersonNotification:
    told = {
        "address": "img",
        "id_person": 0,
        "keyword": '{"Location": "Oceania"}',
        "links": [{"l": "http://u"}],
    }
    told = {name: value for name, value in {**told, **data}.items() if value is not None}
    return PersonNotification(id=number, name="edit_generate", timestamp=ASKED + 9, data=told)


def error(number: int | None = 5, at: float | None = ASKED + 9, **data: Any) -> PersonNotification:
    return PersonNotification(
        id=number, name="error", timestamp=at, data={"tasks": "edit_generate", "msg": "boom", **data}
    )


def test_foreign_notifications_are_skipped() -> None:
    """Foreign notifications before the matching one are skipped and not listed for deletion."""
    foreign = [result(2, address="other"), PersonNotification(id=3, name="superid"), result(4, id_person=7)]
    findings = match([*foreign, result(1)], [want()])
    assert list(findings.found) == ["0 oceania"]
    assert findings.ids == [1]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param({"id_person": "0"}, id="person as a string"),
        pytest.param({"keyword": {"location": "OCEANIA"}}, id="keyword as an object"),
        pytest.param({"address": None, "id_image": "img"}, id="image under another key"),
        pytest.param({"keyword": None}, id="no keyword"),
        pytest.param({"id_person": None}, id="no person"),
    ],
)
def test_result_is_matched_in_every_format(data: dict[str, Any]) -> None:
    """A result is matched in every known format of the notification."""
    assert list(match([result(**data)], [want()]).found) == ["0 oceania"]


def test_results_are_matched_by_person_and_keyword() -> None:
    """Each result is matched to its person and keyword, in any order."""
    wanted = [want(0, "oceania"), want(0, "africa"), want(1, "oceania")]
    listed = [result(3, id_person=1), result(1), result(2, keyword="Africa")]
    assert {name: item.id for name, item in match(listed, wanted).found.items()} == {
        "0 oceania": 1,
        "0 africa": 2,
        "1 oceania": 3,
    }


def test_results_without_a_keyword_are_assigned_in_order() -> None:
    """Results without a keyword are assigned to the open requests and listed in ``assumed``."""
    findings = match([result(1, keyword=None), result(2, keyword=None, links=[{"l": "http://v"}])], [
        want(0, "oceania"),
        want(0, "africa"),
    ])  # fmt: skip
    assert {name: item.id for name, item in findings.found.items()} == {"0 oceania": 1, "0 africa": 2}
    assert findings.assumed == ["0 oceania", "0 africa"]


def test_repeated_result_counts_once() -> None:
    """Of two equal results the first one is used, and both are listed for deletion."""
    findings = match([result(1), result(2)], [want()])
    assert (findings.found["0 oceania"].id, findings.ids) == (1, [1, 2])


def test_used_notification_is_ignored() -> None:
    """A notification that was used before is ignored, also if it has no id."""
    bare = result(None)
    assert match([result(1), bare], [want()], used=[1, bare.identity]).settled == set()


def test_result_without_link_is_a_failure() -> None:
    """A result without a link is a failure."""
    assert match([result(links=[])], [want()]).failed == {"0 oceania": "the notification has no link"}


@pytest.mark.parametrize(
    ("errors", "wanted", "failed"),
    [
        pytest.param([error()], [want()], [], id="no ids"),
        pytest.param([error(), error(6)], [want(), want(1)], [], id="no ids, as many as open requests"),
        pytest.param([error(id_person=0)], [want()], [], id="person without image"),
        pytest.param([error(address="img")], [want()], ["0 oceania"], id="names the image"),
        pytest.param([error(address="other")], [want()], [], id="names another image"),
        pytest.param(
            [error(id_image="img", id_person=1)], [want(), want(1)], ["1 oceania"], id="names person"
        ),
        pytest.param([error(id_task="task-1-oceania")], [want(), want(1)], ["1 oceania"], id="names task"),
        pytest.param([error(id_task="task-9")], [want()], [], id="names another task"),
        pytest.param([error(address="img")], [want(), want(1)], [], id="image with two open requests"),
        pytest.param(
            [error(5, address="img"), error(6, address="img")],
            [want(), want(1)],
            ["0 oceania", "1 oceania"],
            id="as many errors of the image as open requests",
        ),
    ],
)
def test_error_fails_only_the_request_it_identifies(
    errors: list[PersonNotification], wanted: list[AwaitedGeneration], failed: list[str]
) -> None:
    """An error fails a request only if its ids identify that request."""
    assert sorted(match(errors, wanted).failed) == failed


@pytest.mark.parametrize(
    ("item", "unnamed"),
    [
        pytest.param(error(), ["boom"], id="newer"),
        pytest.param(error(at=None), ["boom"], id="age unknown"),
        pytest.param(error(at=ASKED - 60), [], id="older than the request"),
        pytest.param(error(tasks="superid"), [], id="another task type"),
        pytest.param(error(address="img"), [], id="names the image"),
    ],
)
def test_error_without_ids_is_kept_for_the_message(item: PersonNotification, unnamed: list[str]) -> None:
    """The text of an error without ids that may be about a request is returned, and it is not listed for deletion."""
    findings = match([item], [want()])

    assert findings.unnamed == unnamed
    assert (5 in findings.ids) == bool(item.id_image), "it may be somebody else's: not ours to delete"


def test_record_is_small_json() -> None:
    """A record of 270 generations is JSON below 65,535 bytes and is loaded unchanged."""
    record = PersonRecord("f", 1.0, "img", 2.0, faces=[Face(0, True, 0.1)], used=[7, "~abc"])
    record.plan(range(30), [{"Location": word} for word in "abcdefghi"])
    for item in record.generations:
        item.state, item.id_image, item.intent_at, item.paid_requests = "done", "a" * 32, 1760000000.123, 1
        item.file = "s3://conn@bucket/folder/" + "n" * 40
    value = record.to_json()
    assert json.loads(json.dumps(value)) == value
    assert len(json.dumps(value)) < 65535
    assert PersonRecord.from_json(value) == record


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="none"),
        pytest.param({"version": 1}, id="missing fields"),
        pytest.param(
            {"version": 99, "fingerprint": "", "created_at": 0, "generations": []}, id="newer version"
        ),
        pytest.param(
            {"version": 1, "fingerprint": "", "created_at": 0, "generations": [{"odd": 1}]},
            id="unknown fields",
        ),
    ],
)
def test_invalid_record_raises(value: Any) -> None:
    """An invalid record raises ``PiktidRecordError``."""
    with pytest.raises(PiktidRecordError):
        PersonRecord.from_json(value)


def test_added_requests_keep_the_state_of_existing_ones() -> None:
    """Added persons and keywords are planned; existing ones keep their state, ignoring case."""
    record = PersonRecord("f", 1.0)
    record.plan([0], [{"Location": "Oceania"}])
    record.generations[0].state = "done"
    record.plan([0, 1], [{"location": "oceania"}, {"Location": "Africa"}])
    assert [item.state for item in record.generations] == ["done", "planned", "planned", "planned"]


def test_removed_request_is_taken_up_when_it_comes_back() -> None:
    """A paid request for a removed keyword is kept apart, also as JSON, and keeps its state when it comes back."""
    record = PersonRecord("f", 1.0)
    both, one = [{"Location": "Oceania"}, {"Location": "Africa"}], [{"Location": "Oceania"}]
    record.plan([0, 1], both)
    record.generations[1].state, record.generations[1].paid_requests = "done", 1
    record.plan([0], one)
    assert [(item.key, item.state) for item in record.set_aside] == [((0, "location", "africa"), "done")]

    record = PersonRecord.from_json(json.loads(json.dumps(record.to_json())))
    record.plan([0], both)

    assert ([item.state for item in record.generations], record.set_aside) == (["planned", "done"], [])


def test_output_names_are_unique() -> None:
    """Output names are unique for each person, group and keyword, and contain no path."""
    keywords = [
        ("Location", "East Asia"),
        ("Mood", "East Asia"),
        ("Location", "東アジア"),
        ("Location", "東"),
        ("Location", "../../etc"),
    ]
    names = [output_stem("a", Generation(person, word)) for person in (0, 1) for word in keywords]
    assert len({name.lower() for name in names}) == len(names)
    assert not [name for name in names if "/" in name or ".." in name]
    assert names[0] == "a_person0_east-asia"
