# SPDX-License-Identifier: Apache-2.0
"""Texts in the server's own words are harmless before anybody can log them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_piktid.models import IdentityStatus, Job, JobCreated, JobResults, one_line
from airflow_provider_piktid.models.v1 import PersonNotification

SIGNED = "https://s3.example/b/k.jpg?X-Amz-Credential=AK%2F1&X-Amz-Expires=900&X-Amz-Signature=5ecre7"
JOB = {"job_id": "job-1", "status": "failed"}


def _image_error(text: object) -> Any:
    body = JOB | {"results": [{"image_index": 0, "error_message": text}]}
    return JobResults.model_validate(body).results[0].error_message


def _v1_message(name: str) -> Callable[[object], Any]:
    return lambda text: PersonNotification.model_validate({"name": "error", "data": {name: text}}).message


#: Every place where a model holds the server's own words.
PLACES: dict[str, Callable[[object], Any]] = {
    "job": lambda text: Job.model_validate(JOB | {"error_message": text}).error_message,
    "post-processing": lambda text: (
        Job.model_validate(JOB | {"post_processing_error": text}).post_processing_error
    ),
    "new job": lambda text: JobCreated.model_validate(JOB | {"message": text}).message,
    "image": _image_error,
    "identity": lambda text: (
        IdentityStatus.model_validate({"preprocessing_status": "failed", "error_message": text}).error_message
    ),
    "v1 msg": _v1_message("msg"),
    "v1 message": _v1_message("message"),
    "v1 error": _v1_message("error"),
    "v1 description": _v1_message("description"),
}

TEXTS = [
    pytest.param(f"cannot read {SIGNED} now", "cannot read <link> now", id="presigned link"),
    pytest.param(f'{{"url":"{SIGNED}"}}', '{"url":"<link>', id="in JSON"),
    pytest.param(SIGNED.replace("https", "S3"), "<link>", id="other scheme"),
    pytest.param(SIGNED.partition("://")[2], "<link>", id="link without scheme"),
    pytest.param(SIGNED.replace("X-Amz-Sig", "\nX-Amz-Sig"), "<link> <link>", id="link over two lines"),
    pytest.param(SIGNED.replace("k.jpg", "k\x00.jpg"), "<link>", id="link with a control character"),
    pytest.param(f"失敗:{SIGNED}", "失敗:<link>", id="link behind other letters"),
    pytest.param("two\nlines\r\n\tand\u2028more", "two lines and more", id="lines"),
    pytest.param("x" * 5000, "x" * 499 + "…", id="long"),
    pytest.param(f"{SIGNED}{'x' * 5000} failed", "<link> failed", id="long link"),
    pytest.param("face not found", "face not found", id="plain"),
]


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(("text", "line"), TEXTS)
def test_server_text_is_one_line_without_links(place: Callable[[object], Any], text: str, line: str) -> None:
    """No field that quotes the server holds a link, a line break or more than 500 characters."""
    assert place(text) == line


@pytest.mark.parametrize("place", [name for name in PLACES if not name.startswith("v1")])
def test_server_text_that_is_absent_is_none(place: str) -> None:
    """A missing reason is not an empty one."""
    assert PLACES[place](None) is None


def test_v1_error_without_reason_says_so() -> None:
    """A notification without any words has a message all the same."""
    assert _v1_message("msg")(None) == "no reason given"


def test_one_line_of_hostile_text_takes_no_time() -> None:
    """A text without blanks is read in one pass, however long it is."""
    assert one_line("a." * 10**6) == ("a." * 100)[:199] + "…"
