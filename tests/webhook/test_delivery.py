# SPDX-License-Identifier: Apache-2.0
"""What a delivery must be, without I/O."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_piktid.jobs.ended import EndedJob, payload
from airflow_provider_piktid.webhook.delivery import (
    MAX_AGE,
    DeliveryRefused,
    ReportedEnd,
    is_known,
    read_delivery,
)
from tests.support.deliveries import SECRET, body, signature

NOW = 1_760_000_000.0
GOOD = body("job-1", timestamp=NOW)


def test_signed_delivery_is_read() -> None:
    """A delivery that was signed with the current secret is the notification."""
    notification = read_delivery(GOOD, signature(GOOD), [SECRET], NOW)

    assert (notification.job_id, notification.status) == ("job-1", "completed")


def test_previous_secret_is_accepted() -> None:
    """While a secret is replaced, deliveries that were signed with the one before are accepted."""
    assert read_delivery(GOOD, signature(GOOD, "old"), [SECRET, "old"], NOW).job_id == "job-1"


FORGED = [
    pytest.param(GOOD, None, id="not signed"),
    pytest.param(GOOD, "", id="empty signature"),
    pytest.param(GOOD, signature(GOOD, "guessed"), id="forged"),
    pytest.param(GOOD + b" ", signature(GOOD), id="altered"),
    pytest.param(GOOD, signature(GOOD).upper(), id="upper case"),
    pytest.param(GOOD, "sha256=é\ud800", id="signature is not ASCII"),
    pytest.param(GOOD, "sha256=" + "0" * 100_000, id="long signature"),
    pytest.param(b"", None, id="empty"),
]


@pytest.mark.parametrize(("content", "header"), FORGED)
def test_unsigned_delivery_is_refused(content: bytes, header: str | None) -> None:
    """Without a valid signature the answer is 401, whatever the body is."""
    with pytest.raises(DeliveryRefused) as refused:
        read_delivery(content, header, [SECRET, "old"], NOW)
    assert refused.value.status == 401


def test_no_secret_verifies_nothing() -> None:
    """Without a secret every delivery is refused, also one that was signed with an empty key."""
    with pytest.raises(DeliveryRefused):
        read_delivery(GOOD, signature(GOOD, ""), [], NOW)
    with pytest.raises(DeliveryRefused):
        read_delivery(GOOD, signature(GOOD, ""), [""], NOW)


MALFORMED: list[Any] = [
    pytest.param(b"\xff\xfe\x00", id="not UTF-8"),
    pytest.param(b"not json", id="not JSON"),
    pytest.param(b"", id="empty"),
    pytest.param(b"[" * 60_000, id="deeply nested"),
    pytest.param(b"[1]", id="list"),
    pytest.param(b"{}", id="empty object"),
    pytest.param(b"null", id="null"),
    pytest.param(b'"text"', id="text"),
    pytest.param(json.dumps({"id": 1, "name": "batch_edit", "data": {}}).encode(), id="no timestamp"),
    pytest.param(body("job-1", timestamp="yesterday"), id="timestamp is not a number"),
    pytest.param(body("job-1", timestamp=True), id="timestamp is a boolean"),
    pytest.param(body("job-1", timestamp=float("nan")), id="timestamp is NaN"),
    pytest.param(body("job-1", timestamp=float("inf")), id="timestamp is infinite"),
    pytest.param(body("job-1", timestamp=NOW - MAX_AGE - 1), id="old"),
    pytest.param(body("job-1", timestamp=NOW + MAX_AGE + 1), id="far ahead"),
    pytest.param(body("job-1", timestamp=0), id="1970"),
]


@pytest.mark.parametrize("content", MALFORMED)
def test_malformed_delivery_is_refused(content: bytes) -> None:
    """A signed delivery that is not a notification of the last day is answered with 400."""
    with pytest.raises(DeliveryRefused) as refused:
        read_delivery(content, signature(content), [SECRET], NOW)
    assert refused.value.status == 400


def _event(at: float, **job: Any) -> tuple[float, dict[str, Any]]:
    arguments: dict[str, Any] = {"job_id": "job-1", "status": "completed", "notification_id": 7} | job
    made = EndedJob(**arguments)
    return at, {"from_webhook": True, "payload": payload([EndedJob("other", "completed"), made])}


@pytest.mark.parametrize(
    ("event", "known"),
    [
        pytest.param(_event(NOW + 90), True, id="same notification"),
        pytest.param(_event(NOW + 1, notification_id=8), True, id="other notification of the same end"),
        pytest.param(_event(NOW + 1, notification_id=None), True, id="found in the gallery"),
        pytest.param(_event(NOW - 1, notification_id=8), False, id="earlier end"),
        pytest.param(_event(NOW + 90, notification_id=8), False, id="later end"),
        pytest.param(_event(NOW + 1, notification_id=8, status="failed"), False, id="other status"),
        pytest.param(_event(NOW + 1, job_id="job-2"), False, id="other job with this notification id"),
        pytest.param((NOW - 9, {"ends": ["key-1"]}), True, id="same end, clock of PiktID ahead"),
        pytest.param((NOW + 1, {"ends": ["key-2"]}), False, id="other end"),
        pytest.param((NOW + 1, {"payload": {"jobs": "none"}, "ends": "key-1"}), False, id="malformed event"),
        pytest.param((NOW + 1, {"from_rest_api": True}), False, id="event of somebody else"),
    ],
)
def test_end_is_known_by_its_notification_or_by_time(
    event: tuple[float, dict[str, Any]], known: bool
) -> None:
    """An end is known if its notification or its key is, or if the event was made right after the notification."""
    end = ReportedEnd(EndedJob("job-1", "completed", notification_id=7), NOW, "key-1")
    assert is_known(end, [event]) is known
