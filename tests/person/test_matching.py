# SPDX-License-Identifier: Apache-2.0
"""Whose notification is whose, and the record of paid requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_piktid.exceptions import PiktidRecordError
from airflow_provider_piktid.models.v1 import PersonNotification
from airflow_provider_piktid.person.matching import AwaitedGeneration, match
from airflow_provider_piktid.person.record import Face, Generation, PersonRecord, output_name

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


def test_whole_list_is_scanned() -> None:
    """Foreign notifications before ours, of other images or names, hide nothing and are not ours to delete."""
    foreign = [result(2, address="other"), PersonNotification(id=3, name="superid"), result(4, id_person=7)]
    findings = match([*foreign, result(1)], [want()])
    assert list(findings.found) == ["0 oceania"]
    assert findings.ids == [1]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param({"id_person": "0"}, id="person as text"),
        pytest.param({"keyword": {"location": "OCEANIA"}}, id="keyword as object"),
        pytest.param({"address": None, "id_image": "img"}, id="image under another key"),
        pytest.param({"keyword": None}, id="no keyword"),
        pytest.param({"id_person": None}, id="no person"),
    ],
)
def test_result_is_matched_in_every_shape(data: dict[str, Any]) -> None:
    """Types and keys of the notification do not matter; what is missing matters only if it leaves a choice."""
    assert list(match([result(**data)], [want()]).found) == ["0 oceania"]


def test_persons_and_keywords_are_told_apart() -> None:
    """Each result goes to its own person and keyword, in whatever order they come."""
    wanted = [want(0, "oceania"), want(0, "africa"), want(1, "oceania")]
    listed = [result(3, id_person=1), result(1), result(2, keyword="Africa")]
    assert {name: item.id for name, item in match(listed, wanted).found.items()} == {
        "0 oceania": 1,
        "0 africa": 2,
        "1 oceania": 3,
    }


def test_results_without_keyword_are_dealt_out_and_said_to_be_assumed() -> None:
    """Two results that do not name their keyword go to the two that are open, and the log can say so."""
    findings = match([result(1, keyword=None), result(2, keyword=None, links=[{"l": "http://v"}])], [
        want(0, "oceania"),
        want(0, "africa"),
    ])  # fmt: skip
    assert {name: item.id for name, item in findings.found.items()} == {"0 oceania": 1, "0 africa": 2}
    assert findings.assumed == ["0 oceania", "0 africa"]


def test_doubled_result_counts_once_and_both_are_ours() -> None:
    """The first one counts; the second one is deleted with it."""
    findings = match([result(1), result(2)], [want()])
    assert (findings.found["0 oceania"].id, findings.ids) == (1, [1, 2])


def test_used_notification_is_passed_over() -> None:
    """What was acted upon before is no answer to a new request; without an id its content tells."""
    bare = result(None)
    assert match([result(1), bare], [want()], used=[1, bare.identity]).settled == set()


def test_result_without_link_is_a_failure() -> None:
    """There is nothing to fetch, and waiting longer gives nothing."""
    assert match([result(links=[])], [want()]).failed == {"0 oceania": "the notification has no link"}


@pytest.mark.parametrize(
    ("errors", "wanted", "alone", "failed"),
    [
        pytest.param([error()], [want()], True, ["0 oceania"], id="nothing else in flight"),
        pytest.param([error()], [want()], False, [], id="something else in flight"),
        pytest.param([error()], [want(), want(1)], True, [], id="two of ours open"),
        pytest.param([error(at=ASKED - 60)], [want()], True, [], id="older than the request"),
        pytest.param([error(at=None)], [want()], True, [], id="age unknown"),
        pytest.param([error(tasks="superid")], [want()], True, [], id="another activity"),
        pytest.param([error(address="img")], [want()], False, ["0 oceania"], id="names the image"),
        pytest.param([error(address="other")], [want()], True, [], id="names another image"),
        pytest.param([error(id_image="img", id_person=1)], [want(), want(1)], False, ["1 oceania"], id="names person"),
        pytest.param([error(id_task="task-1-oceania")], [want(), want(1)], False, ["1 oceania"], id="names task"),
        pytest.param([error(id_task="task-9")], [want()], True, [], id="names another task"),
        pytest.param([error(address="img")], [want(), want(1)], True, [], id="image with two open"),
        pytest.param(
            [error(5, address="img"), error(6, address="img")],
            [want(), want(1)],
            False,
            ["0 oceania", "1 oceania"],
            id="as many errors of the image as open",
        ),
    ],
)  # fmt: skip
def test_error_fails_only_what_it_is_certainly_about(
    errors: list[PersonNotification], wanted: list[AwaitedGeneration], alone: bool, failed: list[str]
) -> None:
    """An error with ids is taken at its word; one without only when nothing else can be meant."""
    findings = match(errors, wanted, alone=alone)
    assert sorted(findings.failed) == failed


def test_last_open_generation_gets_the_error_that_names_nothing() -> None:
    """Three of four are there, so the error is about the fourth."""
    wanted = [want(person) for person in range(4)]
    listed = [error(), *(result(10 + person, id_person=person) for person in range(3))]
    findings = match(listed, wanted, alone=True)
    assert list(findings.failed) == ["3 oceania"]
    assert 5 not in findings.ids, "it may be somebody else's: not ours to delete"


def test_record_survives_the_strictest_store() -> None:
    """It is made of JSON's own types, small, and comes back as it was."""
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
        pytest.param(None, id="nothing"),
        pytest.param({"version": 1}, id="half"),
        pytest.param({"version": 99, "fingerprint": "", "created_at": 0, "generations": []}, id="newer"),
        pytest.param(
            {"version": 1, "fingerprint": "", "created_at": 0, "generations": [{"odd": 1}]}, id="other fields"
        ),
    ],
)
def test_record_that_is_none_is_not_taken_for_no_record(value: Any) -> None:
    """Taking it for "nothing was paid" would pay twice."""
    with pytest.raises(PiktidRecordError):
        PersonRecord.from_json(value)


def test_wanting_more_keeps_what_is_known() -> None:
    """A keyword that is added is planned; what was paid stays, whatever the letter case."""
    record = PersonRecord("f", 1.0)
    record.plan([0], [{"Location": "Oceania"}])
    record.generations[0].state = "done"
    record.plan([0, 1], [{"location": "oceania"}, {"Location": "Africa"}])
    assert [item.state for item in record.generations] == ["done", "planned", "planned", "planned"]


def test_output_names_never_meet() -> None:
    """Persons, groups and keywords of every script get files of their own that stay in their folder."""
    keywords = [
        ("Location", "East Asia"),
        ("Mood", "East Asia"),
        ("Location", "東アジア"),
        ("Location", "東"),
        ("Location", "../../etc"),
    ]
    names = [output_name("a", Generation(person, word), ".jpg") for person in (0, 1) for word in keywords]
    assert len({name.lower() for name in names}) == len(names)
    assert not [name for name in names if "/" in name or ".." in name]
    assert names[0] == "a_person0_east-asia.jpg"
