# SPDX-License-Identifier: Apache-2.0
"""Galleries and billing."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def two_jobs(api: Any) -> tuple[Any, list[str], list[str]]:
    """One job in each of two projects: caller, project keys, job ids."""
    keys = [api.project("one"), api.project("two")]
    return api, keys, [api.run(project_id=key) for key in keys]


def test_gallery_lists_jobs_newest_first(two_jobs: Any) -> None:
    """Jobs are listed newest first, with images and counts."""
    api, keys, jobs = two_jobs
    body = api.get("/gallery/by-job").json()
    assert [job["job_id"] for job in body["jobs"]] == jobs[::-1]
    first = body["jobs"][0]
    assert (first["job_status"], first["completed_images"], first["project_key"]) == ("completed", 1, keys[1])
    assert first["images"][0]["inputs"][0]["uuid"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param({"project_id": 0}, [0], id="project-key"),
        pytest.param({"status": "completed"}, [1, 0], id="status"),
        pytest.param({"status": ["failed", "aborted"]}, [], id="other-statuses"),
        pytest.param({"job_type": "flat_2_model"}, [], id="type"),
        pytest.param({"job_id": 1}, [1], id="job-id"),
        pytest.param({"search": 0, "job_id": 1}, [0], id="search-wins"),
        pytest.param({"order": "asc"}, [0, 1], id="order"),
        pytest.param({"per_page": 1, "page": 2}, [0], id="page"),
        pytest.param({"ownership": "shared"}, [], id="ownership"),
    ],
)
def test_gallery_is_filtered(two_jobs: Any, query: dict[str, Any], found: list[int]) -> None:
    """Each documented filter is applied."""
    api, keys, jobs = two_jobs
    known = {"project_id": keys, "job_id": jobs, "search": jobs}
    query = {name: known[name][value] if name in known else value for name, value in query.items()}
    listed = [job["job_id"] for job in api.get("/gallery/by-job", **query).json()["jobs"]]
    assert listed == [jobs[index] for index in found]


def test_gallery_cuts_the_images_of_a_job(api: Any) -> None:
    """``max_images_per_job`` limits the rows, not the counts."""
    api.run(swap_options={"num_variations": 3})
    (job,) = api.get("/gallery/by-job", max_images_per_job=2).json()["jobs"]
    assert (len(job["images"]), job["total_images"]) == (2, 3)


def test_gallery_by_project_collects_jobs(two_jobs: Any) -> None:
    """Projects are listed with the images of all their jobs."""
    api, keys, _ = two_jobs
    api.run(project_id=keys[0])
    found = api.get("/gallery/by-project", project_id=keys[0]).json()["projects"]
    assert [(project["project_key"], project["total_images"]) for project in found] == [(keys[0], 2)]


def test_billing_returns_credits_used(two_jobs: Any) -> None:
    """Credits used are listed per period and job type."""
    api, _, _ = two_jobs
    body = api.get("/billing/credits", resolution="month", start_date="2020-01-01T00:00:00Z").json()
    assert body["total_credits"] == 2.0
    assert [(row["job_type"], row["job_count"]) for row in body["summary"]] == [("model_swap", 2)]
    assert api.get("/billing/credits", end_date="2020-01-01T00:00:00Z").json()["summary"] == []


def test_billing_with_a_wrong_date_is_refused(api: Any) -> None:
    """An invalid date returns a validation error."""
    assert api.get("/billing/credits", start_date="yesterday").status_code == 422
