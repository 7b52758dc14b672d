# SPDX-License-Identifier: Apache-2.0
"""The outcome of a job and the error that follows from it."""

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
        pytest.param(row(status=None), True, id="no status, oldest format"),
        pytest.param(row(status="failed"), False, id="failed with a link"),
        pytest.param(row(output=None), False, id="completed without a link"),
        pytest.param(row(output=None, url="https://cdn/0"), True, id="link under its other name"),
        pytest.param(row(status="pending"), False, id="pending"),
    ],
)
def test_outcome_counts_outputs_that_can_be_downloaded(result: dict[str, Any], downloadable: bool) -> None:
    """An output counts as successful if it has a link and its status is ``completed`` or missing."""
    outcome = outcome_of("j", results(result))

    assert (outcome.successful, len(outcome.failed_images)) == ((1, 0) if downloadable else (0, 1))


def test_outcome_names_failed_images_with_place_and_reason() -> None:
    """A failed output is named by image, variation and reason."""
    outcome = outcome_of("j", results(row(3, status="failed", group_index=1, error_message="no face")))

    assert outcome.failed_images == ("image 3, variation 1: no face",)


@pytest.mark.parametrize(
    ("job", "error"),
    [
        ({"post_processing_status": "failed"}, "no reason given"),
        ({"post_processing_status": "failed", "post_processing_error": "out of memory"}, "out of memory"),
        ({"post_processing_status": "completed"}, None),
    ],
    ids=["without a reason", "with a reason", "completed"],
)
def test_outcome_contains_the_post_processing_error(job: dict[str, str], error: str | None) -> None:
    """Failed post-processing is stored in ``post_processing_error``."""
    assert outcome_of("j", results(row(), **job)).post_processing_error == error


def test_successful_jobs_raise_and_warn_about_nothing() -> None:
    """Jobs that completed with all outputs raise no error and return no warning."""
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
            JobOutcome("j", "failed", 0, credits_used=2.0), PiktidJobFailedError, True, id="failed with costs"
        ),
        pytest.param(JobOutcome("j", "failed", 2), PiktidJobFailedError, True, id="failed with outputs"),
        pytest.param(JobOutcome("j", "completed", 0), PiktidJobFailedError, True, id="without any output"),
        pytest.param(JobOutcome("j", LOST, 0), PiktidJobFailedError, True, id="lost"),
        pytest.param(JobOutcome("j", "archived", 1), PiktidJobFailedError, True, id="unknown status"),
    ],
)
def test_unsuccessful_job_raises(outcome: JobOutcome, error: type[Exception], permanent: bool) -> None:
    """An unsuccessful job raises; only a failed job without outputs and costs can be retried."""
    with pytest.raises(error, match=r"^c: job j ") as caught:
        raise_for_outcome([GOOD, outcome], fail_on_partial=False, connection="c")

    assert caught.value.permanent is permanent  # type: ignore[attr-defined]
    assert caught.value.job_ids == ("j",)  # type: ignore[attr-defined]


def test_partial_result_warns_by_default_and_raises_on_request() -> None:
    """A failed output is a warning by default and an error with ``fail_on_partial``."""
    (warning,) = raise_for_outcome([GOOD, PARTIAL], fail_on_partial=False, connection="c")

    assert "job-partial" in warning
    assert "too dark" in warning
    with pytest.raises(PiktidPartialResultError, match="too dark") as caught:
        raise_for_outcome([GOOD, PARTIAL], fail_on_partial=True, connection="c")
    assert caught.value.job_ids == ("job-partial",)


def test_failed_post_processing_is_a_warning() -> None:
    """Failed post-processing is a warning, also with ``fail_on_partial``."""
    outcome = JobOutcome("j", "completed", 1, post_processing_error="out of memory")

    (warning,) = raise_for_outcome([outcome], fail_on_partial=True, connection="c")

    assert "out of memory" in warning


def test_error_for_many_jobs_is_short() -> None:
    """The error for 100 failed jobs has fewer than 1,000 characters."""
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


def test_lost_job_advises_to_look_before_anything_is_bought() -> None:
    """PiktID may list the job again: the message does not suggest a second purchase."""
    with pytest.raises(PiktidJobFailedError, match="clear the task") as caught:
        raise_for_outcome([JobOutcome("j", LOST, 0)], fail_on_partial=False, connection="c")
    assert "rerun_key" not in str(caught.value)


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
    """Job ids may be a string, a list, or a list of lists from mapped tasks."""
    assert job_id_list(value, "download") == ids


@pytest.mark.parametrize("value", [None, [], [None], [[]]])
def test_empty_job_ids_are_refused(value: Any) -> None:
    """Empty job ids raise an error that says what they are needed for."""
    with pytest.raises(PiktidConfigError, match="nothing to download"):
        job_id_list(value, "download")
