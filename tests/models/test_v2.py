# SPDX-License-Identifier: Apache-2.0
"""Every documented shape of an answer, and the odd ones."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from airflow_provider_piktid import models
from airflow_provider_piktid.models import (
    GalleryJob,
    Identity,
    ImageResult,
    Job,
    JobResults,
    JobStatus,
    Notification,
    Project,
    UploadTicket,
    Webhook,
)

LINK = "https://bucket.example/secret?X-Amz-Signature=abc"


@pytest.mark.parametrize(
    ("wire", "project_id", "name"),
    [
        pytest.param({"project_id": "prj-1", "project_name": "spring"}, "prj-1", "spring", id="creation"),
        pytest.param(
            {"project_id": 7, "project_key": "prj-1", "project_text": "spring"},
            "prj-1",
            "spring",
            id="listing",
        ),
        pytest.param({"project_id": 7, "project_text": "spring"}, "7", "spring", id="number only"),
        pytest.param({"project_key": "prj-1"}, "prj-1", None, id="key only"),
    ],
)
def test_project_takes_both_namings(wire: dict[str, Any], project_id: str, name: str | None) -> None:
    """The text id is preferred to the database number that listings call `project_id`."""
    project = Project.model_validate(wire)
    assert (project.project_id, project.project_name) == (project_id, name)


@pytest.mark.parametrize(
    ("wire", "key"),
    [
        pytest.param({"project_id": "7"}, True, id="text of digits"),
        pytest.param({"project_id": 7, "project_key": "k"}, True, id="key beside number"),
        pytest.param({"project_id": 7}, False, id="number only"),
    ],
)
def test_project_knows_whether_it_has_a_key(wire: dict[str, Any], key: bool) -> None:
    """A number alone is not the id that requests expect."""
    assert Project.model_validate(wire).has_key is key


@pytest.mark.parametrize(
    ("wire", "link"),
    [
        pytest.param({"output": {"full_size": "a"}, "url": "b"}, "a", id="both"),
        pytest.param({"output": {"full_size": "a"}}, "a", id="output only"),
        pytest.param({"url": "b"}, "b", id="url only"),
        pytest.param({"output": None, "url": "b"}, "b", id="output null"),
        pytest.param({"output": {"full_size": None}, "url": "b"}, "b", id="output without link"),
        pytest.param({"output": "x", "url": None}, None, id="output of a wrong type"),
        pytest.param({"output": None, "status": "failed"}, None, id="failed image"),
        pytest.param({"output": {"full_size": ""}, "url": ""}, None, id="empty texts"),
    ],
)
def test_image_result_finds_the_link_under_either_name(wire: dict[str, Any], link: str | None) -> None:
    """`output.full_size`, else `url`, else none."""
    assert ImageResult.model_validate({"image_index": 0} | wire).download_url == link


def test_image_result_seed_minimum_is_enough() -> None:
    """Only the image index is required; group and version default to 0."""
    result = ImageResult.model_validate({"image_index": 3, "group_index": None, "version": None})
    assert (result.key, result.version, result.status) == ((3, 0), 0, "")


@pytest.mark.parametrize("index", [None, -1, "x", 1.5, True, {}], ids=repr)
def test_image_result_without_index_is_refused(index: object) -> None:
    """An output without an index is refused."""
    with pytest.raises(ValidationError):
        ImageResult.model_validate({"image_index": index})


@pytest.mark.parametrize(
    ("wire", "terminal", "done"),
    [
        pytest.param({"status": "pending"}, False, False, id="pending"),
        pytest.param({"status": "Processing"}, False, False, id="processing"),
        pytest.param({"status": "queued"}, False, False, id="unknown word"),
        pytest.param({"status": " COMPLETED "}, True, True, id="completed, odd case"),
        pytest.param({"status": "failed", "should_post_process": True}, True, True, id="failed"),
        pytest.param({"status": "aborted"}, True, True, id="aborted"),
        pytest.param(
            {"status": "completed", "should_post_process": True, "post_processing_status": "processing"},
            True,
            False,
            id="post-processing runs",
        ),
        pytest.param(
            {"status": "completed", "should_post_process": False, "post_processing_status": "pending"},
            True,
            True,
            id="post-processing not asked for",
        ),
        pytest.param(
            {"status": "completed", "should_post_process": True, "post_processing_status": "Failed"},
            True,
            True,
            id="post-processing failed",
        ),
        pytest.param({"status": "completed", "should_post_process": True}, True, True, id="no word about it"),
    ],
)
def test_job_end(wire: dict[str, Any], terminal: bool, done: bool) -> None:
    """``is_terminal`` depends on the status, and ``done`` also on post-processing."""
    job = Job.model_validate({"job_id": "j"} | wire)
    assert (job.is_terminal, job.done) == (terminal, done)


def test_job_with_odd_optional_fields_is_read() -> None:
    """Invalid optional fields of a job are ignored."""
    job = Job.model_validate(
        {"job_id": 9, "status": "completed", "progress": "x", "total_images": [], "processing_options": None}
    )
    assert (job.job_id, job.progress, job.total_images, job.processing_options) == ("9", None, None, {})


def test_job_keeps_unknown_fields() -> None:
    """Unknown fields of a job are kept."""
    assert Job.model_validate({"job_id": "j", "status": "x", "brand_new": 1}).model_extra == {"brand_new": 1}


def test_results_seed_shape_is_read() -> None:
    """Results in the oldest format are read."""
    results = JobResults.model_validate(
        {
            "job_id": "j",
            "job_type": "model_swap",
            "status": "completed",
            "results": [{"image_index": 0, "url": "u", "model_used": "onda", "status": "completed"}],
            "summary": {},
        }
    )
    assert [(image.key, image.model_used) for image in results.results] == [((0, 0), "onda")]
    assert results.credits_used is None


@pytest.mark.parametrize("absent", [{}, {"results": None, "summary": None}], ids=["missing", "null"])
def test_results_of_a_job_without_images_are_empty(absent: dict[str, Any]) -> None:
    """Missing results are an empty list."""
    assert JobResults.model_validate({"job_id": "j", "status": "pending"} | absent).results == []


def test_gallery_job_offers_status_under_the_name_of_jobs() -> None:
    """Listings use `job_status`; invalid entries among the images are skipped."""
    job = GalleryJob.model_validate(
        {"job_id": "j", "job_status": "Completed", "images": [None, {"image_index": 1}]}
    )
    assert (job.status, [image.image_index for image in job.images]) == (JobStatus.COMPLETED, [1])


@pytest.mark.parametrize(
    ("data", "job_id"),
    [
        pytest.param({"id_task": "a", "job_id": "b"}, "a", id="both"),
        pytest.param({"job_id": "b"}, "b", id="job_id"),
        pytest.param({"id_task": None, "job_id": "b"}, "b", id="null first"),
        pytest.param({"id_task": 5}, "5", id="number"),
        pytest.param({"id_task": ["a"]}, None, id="list"),
        pytest.param({}, None, id="none"),
        pytest.param(None, None, id="no data"),
        pytest.param("text", None, id="data of a wrong type"),
    ],
)
def test_notification_finds_its_job(data: object, job_id: str | None) -> None:
    """The job id is read from either key and converted to a string."""
    assert Notification.model_validate({"name": "x", "data": data}).job_id == job_id


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(
            UploadTicket(upload_url=LINK, download_url=LINK, file_id="f", content_type="image/png"),
            id="ticket",
        ),
        pytest.param(Identity.model_validate({"identity_code": "i", "link": LINK}), id="identity"),
        pytest.param(
            ImageResult.model_validate(
                {
                    "image_index": 0,
                    "url": LINK,
                    "output": {"full_size": LINK},
                    "inputs": [{"full_size": LINK}],
                    "error_message": f"see {LINK}",
                    "new_field": {"link": LINK},
                }
            ),
            id="image result",
        ),
        pytest.param(
            JobResults.model_validate(
                {"job_id": "j", "status": "x", "results": [{"image_index": 0, "url": LINK}], "zip": LINK}
            ),
            id="results",
        ),
        pytest.param(Notification.model_validate({"name": "x", "data": {"url": LINK}}), id="notification"),
        pytest.param(models.DownloadLink(download_url=LINK), id="download"),
        pytest.param(Webhook.model_validate({"url": LINK, "secret": "X-Amz-Signature"}), id="webhook"),
    ],
)
def test_repr_and_str_show_no_link(model: BaseModel) -> None:
    """``repr`` and ``str`` of a model contain neither links nor secrets."""
    for text in (repr(model), str(model), f"{[model]}"):
        assert "Signature" not in text
        assert "bucket.example" not in text
