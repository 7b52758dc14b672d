# SPDX-License-Identifier: Apache-2.0
"""The payload of trigger events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_piktid.common.events import EVENT_VERSION, JobEvent
from airflow_provider_piktid.exceptions import PiktidError, PiktidEventError


def test_event_is_restored_from_json() -> None:
    """An event that is restored from its JSON equals the original."""
    event = JobEvent("done", {"a": "completed"}, "", False, [3], {"record": {"x": [1]}})

    back = JobEvent.from_json(json.loads(json.dumps(event.to_json())), expected=("done",))

    assert back == event


def test_event_without_optional_fields_is_accepted() -> None:
    """Fields that an older event does not have take their defaults."""
    assert JobEvent.from_json({"status": "timeout"}, expected=("timeout",)) == JobEvent("timeout", version=0)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="none"),
        pytest.param("done", id="a string"),
        pytest.param({}, id="no status"),
        pytest.param({"status": "success"}, id="unknown status"),
        pytest.param({"status": ["done"]}, id="status of another type"),
        pytest.param({"status": "slot"}, id="status not expected here"),
        pytest.param({"status": "done", "version": EVENT_VERSION + 1}, id="newer version"),
        pytest.param({"status": "done", "version": "new"}, id="version is not a number"),
        pytest.param({"status": "done", "ended": ["a"]}, id="ended is not an object"),
        pytest.param({"status": "done", "ended": 1}, id="ended is a number"),
        pytest.param({"status": "done", "resume_state": [1]}, id="resume_state is not an object"),
        pytest.param({"status": "done", "notification_ids": ["x"]}, id="ids are not numbers"),
        pytest.param({"status": "done", "notification_ids": 7}, id="ids are not a list"),
    ],
)
def test_unexpected_event_raises(value: Any) -> None:
    """An unexpected event raises an error that says that a retry re-attaches."""
    with pytest.raises(PiktidEventError, match="retry attaches"):
        JobEvent.from_json(value, expected=("done", "timeout", "error"))


def test_error_event_raises_the_reported_error() -> None:
    """An error event raises an error with the trigger's message and its ``permanent`` flag."""
    JobEvent("done").raise_for_error()
    with pytest.raises(PiktidError, match=r"no token.*a retry attaches") as caught:
        JobEvent("error", message="no token.", permanent=True).raise_for_error()
    assert caught.value.permanent
