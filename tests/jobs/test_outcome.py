# SPDX-License-Identifier: Apache-2.0
"""What the end of a job means."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_piktid.exceptions import (
    PiktidConfigError,
    PiktidJobAbortedError,
    PiktidJobFailedError,
    PiktidPartialResultError,
)
from airflow_provider_piktid.jobs.outcome import (
    LOST,
    JobOutcome,
    job_id_list,
    outcome_of,
    raise_for_outcome,
    summarize,
)
from airflow_provider_piktid.models.v2 import JobResults

GOOD = JobOutcome("job-good", "completed", 2)
PARTIAL = JobOutcome("job-partial", "completed", 1, ("image 0, variation 0: too dark",))


def results(*rows: dict[str, Any], **job: Any) -> JobResults:
    return JobResults.model_validate({"job_id": "j", "status": "completed", **job, "results": list(rows)})


def row(index: int = 0, **fields: Any) -> dict[str, Any]:
    whole = {"image_index": index, "status": "completed", "output": {"full_size": f"https://cdn/{index}"}}
    return whole | fields


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


def test_outcome_of_good_jobs_says_nothing() -> None:
    """Jobs that completed with all outputs are a success without a warning."""
    assert raise_for_outcome([GOOD, GOOD], fail_on_partial=True, connection="c") == []


@pytest.mark.parametrize(
    ("outcome", "error", "permanent"),
    [
        pytest.param(JobOutcome("j", "aborted", 3), PiktidJobAbortedError, True, id="aborted"),
        pytest.param(
            JobOutcome("j", "failed", 0, credits_used=0.0),
            PiktidJobFailedError,
            False,
            id="failed for nothing",
        ),
        pytest.param(JobOutcome("j", "failed", 0), PiktidJobFailedError, True, id="failed, cost not stated"),
        pytest.param(
            JobOutcome("j", "failed", 0, credits_used=2.0), PiktidJobFailedError, True, id="failed and paid"
        ),
        pytest.param(JobOutcome("j", "failed", 2), PiktidJobFailedError, True, id="failed with outputs"),
        pytest.param(JobOutcome("j", "completed", 0), PiktidJobFailedError, True, id="without any output"),
        pytest.param(JobOutcome("j", LOST, 0), PiktidJobFailedError, True, id="lost"),
        pytest.param(JobOutcome("j", "archived", 1), PiktidJobFailedError, True, id="unknown word"),
    ],
)
def test_outcome_of_a_bad_end_fails_the_task(
    outcome: JobOutcome, error: type[Exception], permanent: bool
) -> None:
    """Every end but a completed job with outputs fails; a retry is offered only where nothing is paid twice."""
    with pytest.raises(error, match=r"^c: job j ") as caught:
        raise_for_outcome([GOOD, outcome], fail_on_partial=False, connection="c")

    assert caught.value.permanent is permanent  # type: ignore[attr-defined]
    assert caught.value.job_ids == ("j",)  # type: ignore[attr-defined]


def test_outcome_partial_warns_by_default_and_fails_on_request() -> None:
    """Single failed outputs are the author's choice."""
    (warning,) = raise_for_outcome([GOOD, PARTIAL], fail_on_partial=False, connection="c")

    assert "job-partial" in warning
    assert "too dark" in warning
    with pytest.raises(PiktidPartialResultError, match="too dark") as caught:
        raise_for_outcome([GOOD, PARTIAL], fail_on_partial=True, connection="c")
    assert caught.value.job_ids == ("job-partial",)


def test_outcome_failed_post_processing_is_a_warning() -> None:
    """The unprocessed outputs exist, so the task goes on."""
    outcome = JobOutcome("j", "completed", 1, post_processing_error="out of memory")

    (warning,) = raise_for_outcome([outcome], fail_on_partial=True, connection="c")

    assert "out of memory" in warning


def test_outcome_message_of_many_jobs_stays_short() -> None:
    """A hundred failed jobs do not make a message of a hundred lines."""
    outcomes = [JobOutcome(f"job-{n}", "failed", 0, (f"image {n}: {'x' * 50}",)) for n in range(100)]

    with pytest.raises(PiktidJobFailedError) as caught:
        raise_for_outcome(outcomes, fail_on_partial=False, connection="c")

    assert len(str(caught.value)) < 1000
    assert len(caught.value.job_ids) == 100


def test_outputs_that_are_missing_from_the_results_are_partial() -> None:
    """Fewer outputs than were paid for are a warning, or a failure on request, even if no failure is listed."""
    outcome = outcome_of("j", results(row(0)), expected=3)

    (warning,) = raise_for_outcome([outcome], fail_on_partial=False, connection="c")

    assert "2 of 3 outputs are missing" in warning
    assert summarize([outcome], images=3)["missing"] == 2
    with pytest.raises(PiktidPartialResultError, match="2 of 3 outputs are missing"):
        raise_for_outcome([outcome], fail_on_partial=True, connection="c")


def test_more_outputs_than_expected_are_no_problem() -> None:
    """PiktID may add outputs; only missing ones are reported."""
    assert outcome_of("j", results(row(0), row(1)), expected=1).problems == ()


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        pytest.param("a", ["a"], id="one id"),
        pytest.param(["a", "b", "a"], ["a", "b"], id="list with a repeated id"),
        pytest.param([["a"], None, ["b", "c"]], ["a", "b", "c"], id="lists of a mapped task"),
    ],
)
def test_job_ids_are_flattened(value: Any, ids: list[str]) -> None:
    """Job ids come as one text, a list, or the list of lists of a mapped task."""
    assert job_id_list(value, "download") == ids


@pytest.mark.parametrize("value", [None, [], [None], [[]]])
def test_no_job_id_is_refused(value: Any) -> None:
    """The message says what the ids are needed for."""
    with pytest.raises(PiktidConfigError, match="nothing to download"):
        job_id_list(value, "download")
