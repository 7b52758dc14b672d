# SPDX-License-Identifier: Apache-2.0
"""The notifications that are kept for those who begin to listen later."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_piktid.jobs.recent import RECENT_SECONDS, RECENT_SIZE, RecentNotifications
from airflow_provider_piktid.models.v2 import Notification


def note(number: int | None, **data: Any) -> Notification:
    return Notification(id=number, name="completed", data=data, timestamp=1.5)


def deep(levels: int) -> dict[str, Any]:
    """A value of so many levels."""
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def test_notifications_are_kept_in_order_and_in_full() -> None:
    """What was added comes back, oldest first, with fields that this package does not know."""
    recent = RecentNotifications()
    notes = [
        note(2, job_id="a", text="ü\ud800"),
        Notification.model_validate({"id": 1, "name": "x", "more": [1]}),
    ]
    for item in notes:
        assert recent.add(item)

    assert list(recent) == notes


@pytest.mark.parametrize(
    ("second", "new"),
    [
        pytest.param(note(1, status="processing"), False, id="repeated"),
        pytest.param(note(1, status="completed"), True, id="same id, other content"),
        pytest.param(note(2, status="processing"), True, id="other id"),
    ],
)
def test_repeated_notification_is_noticed(second: Notification, new: bool) -> None:
    """A notification is new unless one with this id and content is there."""
    recent = RecentNotifications()
    recent.add(note(1, status="processing"))

    assert recent.add(second) is new
    assert list(recent)[-1] == second


def test_notifications_without_an_id_are_always_new() -> None:
    """Without an id nothing says that two notifications are one."""
    recent = RecentNotifications()

    assert [recent.add(note(None)) for _ in range(2)] == [True, True]
    assert len(list(recent)) == 2


def test_old_notifications_are_forgotten() -> None:
    """After ten minutes a notification is forgotten, as at PiktID."""
    now = 0.0
    recent = RecentNotifications(lambda: now)
    recent.add(note(1))
    now = RECENT_SECONDS - 1
    recent.add(note(2))
    now = RECENT_SECONDS + 1

    assert [item.id for item in recent] == [2]


def test_size_is_bounded() -> None:
    """However much arrives, the newest notifications of a bounded size are kept."""
    recent = RecentNotifications()
    for number in range(30):
        recent.add(note(number, text="x" * (RECENT_SIZE // 10)))

    assert [item.id for item in recent] == list(range(21, 30))


def test_notification_that_cannot_be_kept_is_still_new() -> None:
    """A notification that is nested too deeply to be kept is passed on all the same."""
    recent = RecentNotifications()

    assert recent.add(note(1, value=deep(100_000)))
    assert list(recent) == []
