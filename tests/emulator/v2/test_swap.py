# SPDX-License-Identifier: Apache-2.0
"""Submissions: validation, credits and limits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest


def test_submission_returns_202_pending(api: Any) -> None:
    """A job is created as pending, with an id and a message."""
    answer = api.swap()
    assert answer.status_code == 202
    assert set(answer.json()) == {"job_id", "status", "message"}
    assert answer.json()["status"] == "pending"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param({"images": []}, "images", id="no-images"),
        pytest.param({"images": ["nothing"]}, "images.0", id="unknown-image"),
        pytest.param({"images": "one"}, "images", id="text-for-list"),
        pytest.param({"identity_code": None}, "identity_code", id="no-identity"),
        pytest.param(
            {"swap_options": {"num_variations": 5}}, "swap_options.num_variations", id="five-variations"
        ),
        pytest.param(
            {"swap_options": {"num_variations": 0}}, "swap_options.num_variations", id="no-variation"
        ),
        pytest.param({"swap_options": {"model": "mona"}}, "swap_options.model", id="unknown-engine"),
        pytest.param({"swap_options": []}, "swap_options", id="options-list"),
        pytest.param({"post_process": "yes"}, "post_process", id="post-process-text"),
    ],
)
def test_submission_that_is_wrong_is_refused_and_free(api: Any, change: dict[str, Any], field: str) -> None:
    """An invalid field is named in the error, and nothing is created or charged."""
    answer = api.swap(**change)
    assert answer.status_code == 422
    assert [item["field"] for item in answer.json()["detail"]] == [field]
    assert api.server.state.ledger() == []
    assert api.server.state.v2.jobs.balance == 1000.0


def test_submission_of_eleven_images_is_refused(api: Any) -> None:
    """A job accepts at most ten images."""
    images = [api.upload() for _ in range(11)]
    assert api.swap(images).status_code == 422
    assert api.swap(images[:10]).status_code == 202


@pytest.mark.parametrize(
    ("change", "error"),
    [
        pytest.param({"identity_code": "Nobody"}, "Identity not found", id="identity"),
        pytest.param({"project_id": "7"}, "Project not found", id="integer-project-id"),
    ],
)
def test_submission_for_something_unknown_returns_404(api: Any, change: dict[str, Any], error: str) -> None:
    """An unknown identity or project returns 404; the integer id of listings is not accepted."""
    answer = api.swap(**change)
    assert (answer.status_code, answer.json()) == (404, {"error": error})


def test_credits_are_charged_per_output(serve: Callable[..., Any]) -> None:
    """A job costs images times variations; a balance that is too low returns 402 with the price."""
    api = serve(credits=5)
    images = [api.upload(), api.upload()]
    assert api.swap(images, swap_options={"num_variations": 2}).status_code == 202
    answer = api.swap(images)
    assert answer.status_code == 402
    assert answer.json() == {"error": "Insufficient credits to create job", "required_credits": 2.0}


def test_sixth_submission_of_a_minute_returns_429(serve: Callable[..., Any]) -> None:
    """A window accepts five submissions; the next is accepted once the first is older than the window."""
    api = serve(jobs_per_minute=5)
    image = api.upload()
    assert [api.swap([image]).status_code for _ in range(6)] == [202] * 5 + [429]
    assert "Rate limit" in api.swap([image]).json()["error"]
    api.server.state.clock.advance(60)
    assert api.swap([image]).status_code == 202


def test_refused_submissions_do_not_count(serve: Callable[..., Any]) -> None:
    """Only accepted submissions count towards the rate limit."""
    api = serve(jobs_per_minute=1)
    assert [api.swap(images=[]).status_code for _ in range(3)] == [422] * 3
    assert api.swap().status_code == 202


def test_sixth_active_job_returns_429_until_one_ends(serve: Callable[..., Any]) -> None:
    """Five jobs can be active; the message differs from that of the rate limit."""
    api = serve(active_jobs=5)
    api.server.faults.add("job", "never_end", times=5)
    image = api.upload()
    jobs = [api.start([image]) for _ in range(5)]
    answer = api.swap([image])
    assert answer.status_code == 429
    assert "active jobs" in answer.json()["error"]
    api.server.state.complete_job(jobs[0])
    assert api.swap([image]).status_code == 202
    assert api.server.state.stats()["most_active_jobs"] == 5


@pytest.mark.parametrize("kind", ["none", "seconds", "date"])
def test_retry_after_is_a_variant(serve: Callable[..., Any], kind: str) -> None:
    """A 429 has no Retry-After, or one in seconds, or one as a date."""
    api = serve(jobs_per_minute=1, variants={"retry_after": kind})
    image = api.upload()
    api.swap([image])
    value = api.swap([image]).headers.get("Retry-After")
    if kind == "none":
        assert value is None
    elif kind == "seconds":
        assert 55 <= int(value) <= 60
    else:
        assert 50 < (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds() <= 61


@pytest.mark.parametrize(
    ("options", "used"),
    [
        pytest.param({}, "onda", id="auto"),
        pytest.param({"model": "nano_banana_pro"}, "nano_banana_pro", id="named"),
        pytest.param({"model": "nano_banana_2", "use_anchor": True}, "nano_banana_2", id="newest"),
        pytest.param({"use_alternative_method": True}, "nano_banana_pro", id="legacy"),
    ],
)
def test_results_name_the_engine(api: Any, options: dict[str, Any], used: str) -> None:
    """``model_used`` is the engine that ran; the legacy flag selects one."""
    job_id = api.run(swap_options=options)
    assert api.get(f"/jobs/{job_id}/results").json()["results"][0]["model_used"] == used
