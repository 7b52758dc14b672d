# SPDX-License-Identifier: Apache-2.0
"""What a trigger's event may look like, and what the end of a job means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_piktid.common.events import EVENT_VERSION, LOST, JobEvent, JobOutcome, judge, outcome_of
from airflow_provider_piktid.exceptions import (
    PiktidEventError,
    PiktidJobAbortedError,
    PiktidJobFailedError,
    PiktidPartialResultError,
)
from airflow_provider_piktid.models.v2 import JobResults

GOOD = JobOutcome("job-good", "completed", 2)
PARTIAL = JobOutcome("job-partial", "completed", 1, ("image 0, variation 0: too dark",))


def results(*rows: dict[str, Any], **job: Any) -> JobResults:
    return JobResults.model_validate({"job_id": "j", "status": "completed", **job, "results": list(rows)})


def row(index: int = 0, **fields: Any) -> dict[str, Any]:
    whole = {"image_index": index, "status": "completed", "output": {"full_size": f"https://cdn/{index}"}}
    return whole | fields


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


@pytest.mark.parametrize(
    ("result", "downloadable"),
    [
        pytest.param(row(), True, id="completed with a link"),
        pytest.param(row(status=None), True, id="the oldest answers have no status"),
        pytest.param(row(status="failed"), False, id="failed with a link"),
        pytest.param(row(output=None), False, id="completed without a link"),
        pytest.param(row(output=None, url="https://cdn/0"), True, id="link under its other name"),
        pytest.param(row(status="pending"), False, id="pending"),
    ],
)
def test_outcome_counts_outputs_that_can_be_downloaded(result: dict[str, Any], downloadable: bool) -> None:
    """An output counts if it has a link and no status that denies it."""
    outcome = outcome_of("j", results(result))

    assert (outcome.successful, len(outcome.failed_images)) == ((1, 0) if downloadable else (0, 1))


def test_outcome_names_failed_images_with_place_and_reason() -> None:
    """A failed output is named by image and variation, with the API's reason, and without its link."""
    outcome = outcome_of("j", results(row(3, status="failed", group_index=1, error_message="no face")))

    assert outcome.failed_images == ("image 3, variation 1: no face",)


@pytest.mark.parametrize(
    ("job", "error"),
    [
        ({"post_processing_status": "failed"}, "no reason given"),
        ({"post_processing_status": "failed", "post_processing_error": "out of memory"}, "out of memory"),
        ({"post_processing_status": "completed"}, None),
    ],
    ids=["without reason", "with reason", "well"],
)
def test_outcome_tells_failed_post_processing(job: dict[str, str], error: str | None) -> None:
    """Post-processing that failed is told apart from the swap itself."""
    assert outcome_of("j", results(row(), **job)).post_processing_error == error


def test_judge_of_good_jobs_says_nothing() -> None:
    """Jobs that completed with all outputs are a success without a warning."""
    assert judge([GOOD, GOOD], fail_on_partial=True, connection="c") == []


@pytest.mark.parametrize(
    ("outcome", "error", "permanent"),
    [
        pytest.param(JobOutcome("j", "aborted", 3), PiktidJobAbortedError, True, id="aborted"),
        pytest.param(JobOutcome("j", "failed", 0), PiktidJobFailedError, False, id="failed for nothing"),
        pytest.param(
            JobOutcome("j", "failed", 0, credits_used=2.0), PiktidJobFailedError, True, id="failed and paid"
        ),
        pytest.param(JobOutcome("j", "failed", 2), PiktidJobFailedError, True, id="failed with outputs"),
        pytest.param(JobOutcome("j", "completed", 0), PiktidJobFailedError, True, id="without any output"),
        pytest.param(JobOutcome("j", LOST, 0), PiktidJobFailedError, True, id="lost"),
        pytest.param(JobOutcome("j", "archived", 1), PiktidJobFailedError, True, id="unknown word"),
    ],
)
def test_judge_of_a_bad_end_fails_the_task(
    outcome: JobOutcome, error: type[Exception], permanent: bool
) -> None:
    """Every end but a completed job with outputs fails; a retry is offered only where nothing is paid twice."""
    with pytest.raises(error, match=r"^c: job j ") as caught:
        judge([GOOD, outcome], fail_on_partial=False, connection="c")

    assert caught.value.permanent is permanent  # type: ignore[attr-defined]
    assert caught.value.job_ids == ("j",)  # type: ignore[attr-defined]


def test_judge_partial_warns_by_default_and_fails_on_request() -> None:
    """Single failed outputs are the author's choice."""
    (warning,) = judge([GOOD, PARTIAL], fail_on_partial=False, connection="c")

    assert "job-partial" in warning
    assert "too dark" in warning
    with pytest.raises(PiktidPartialResultError, match="too dark") as caught:
        judge([GOOD, PARTIAL], fail_on_partial=True, connection="c")
    assert caught.value.job_ids == ("job-partial",)


def test_judge_failed_post_processing_is_a_warning() -> None:
    """The unprocessed outputs exist, so the task goes on."""
    outcome = JobOutcome("j", "completed", 1, post_processing_error="out of memory")

    (warning,) = judge([outcome], fail_on_partial=True, connection="c")

    assert "out of memory" in warning


def test_judge_message_of_many_jobs_stays_short() -> None:
    """A hundred failed jobs do not make a message of a hundred lines."""
    outcomes = [JobOutcome(f"job-{n}", "failed", 0, (f"image {n}: {'x' * 50}",)) for n in range(100)]

    with pytest.raises(PiktidJobFailedError) as caught:
        judge(outcomes, fail_on_partial=False, connection="c")

    assert len(str(caught.value)) < 1000
    assert len(caught.value.job_ids) == 100
