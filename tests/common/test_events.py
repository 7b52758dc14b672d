# SPDX-License-Identifier: Apache-2.0
"""What a trigger's event may look like."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_piktid.common.events import EVENT_VERSION, JobEvent
from airflow_provider_piktid.exceptions import PiktidError, PiktidEventError


def test_event_survives_the_way_through_json() -> None:
    """The worker gets what the trigger said."""
    event = JobEvent("done", {"a": "completed"}, "", False, [3], {"record": {"x": [1]}})

    back = JobEvent.from_json(json.loads(json.dumps(event.to_json())), expected=("done",))

    assert back == event


def test_event_of_an_older_version_with_fewer_fields_is_understood() -> None:
    """What an older triggerer leaves out takes its default."""
    assert JobEvent.from_json({"status": "timeout"}, expected=("timeout",)) == JobEvent("timeout", version=0)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="nothing"),
        pytest.param("done", id="a text"),
        pytest.param({}, id="no status"),
        pytest.param({"status": "success"}, id="unknown status"),
        pytest.param({"status": ["done"]}, id="status of another type"),
        pytest.param({"status": "slot"}, id="status not expected here"),
        pytest.param({"status": "done", "version": EVENT_VERSION + 1}, id="newer version"),
        pytest.param({"status": "done", "version": "new"}, id="version no number"),
        pytest.param({"status": "done", "ended": ["a"]}, id="ended no object"),
        pytest.param({"status": "done", "ended": 1}, id="ended a number"),
        pytest.param({"status": "done", "resume_state": [1]}, id="resume_state no object"),
        pytest.param({"status": "done", "notification_ids": ["x"]}, id="ids no numbers"),
        pytest.param({"status": "done", "notification_ids": 7}, id="ids no list"),
    ],
)
def test_event_that_cannot_be_trusted_is_never_success(value: Any) -> None:
    """A strange event fails the task, and the message says that a retry attaches to the same jobs."""
    with pytest.raises(PiktidEventError, match="retry attaches"):
        JobEvent.from_json(value, expected=("done", "timeout", "error"))


def test_error_event_raises_the_error_that_the_trigger_reported() -> None:
    """The task fails with the trigger's message, and is not retried if that cannot help."""
    JobEvent("done").raise_for_error()
    with pytest.raises(PiktidError, match=r"no token.*a retry attaches") as caught:
        JobEvent("error", message="no token.", permanent=True).raise_for_error()
    assert caught.value.permanent
