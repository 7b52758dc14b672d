# SPDX-License-Identifier: Apache-2.0
"""Jobs over time, and their endpoints."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image, ImageChops

STATUS_KEYS = {
    *("job_id", "job_type", "status", "progress", "total_images", "processed_images", "error_message"),
    *("should_post_process", "post_processing_status", "post_processing_error", "identity_code"),
    *("identity_name", "project_id", "project_text", "project_key", "processing_options"),
    *("created_at", "updated_at"),
}
RESULT_KEYS = {
    *("id", "job_id", "image_index", "group_index", "version", "original_filename", "download_filename"),
    *("inputs", "output", "input_description", "model_used", "detail_needs_review", "detail_review_reason"),
    *("status", "quality_score", "processing_time", "error_message", "feedback", "feedback_comment"),
    "created_at",
}


def rows(api: Any, job_id: str) -> list[dict[str, Any]]:
    return list(api.get(f"/jobs/{job_id}/results").json()["results"])


def test_results_have_the_documented_fields(api: Any) -> None:
    """The results body has the status block, rows, a summary and the credits used."""
    job_id = api.run()
    body = api.get(f"/jobs/{job_id}/results").json()
    assert set(body) == STATUS_KEYS | {"results", "summary", "credits_used"}
    assert set(body["results"][0]) == RESULT_KEYS | {"url"}
    assert set(body["results"][0]["output"]) == {"full_size", "thumbnail", "uuid"}
    assert body["summary"]["success_rate"] == 100.0
    assert body["credits_used"] == 1.0


def test_status_has_the_documented_fields(api: Any) -> None:
    """The status has the project's integer id, text and key."""
    key = api.project("spring")
    job = api.get(f"/jobs/{api.run()}/status").json()
    assert set(job) == STATUS_KEYS
    assert (job["project_key"], job["project_text"], type(job["project_id"])) == (key, "spring", int)
    assert (job["status"], job["progress"], job["processed_images"]) == ("completed", 100.0, 1)


def test_job_is_pending_then_processing_then_completed(serve: Callable[..., Any]) -> None:
    """Each status change sends a batch_edit, each output an image_result, and progress rises."""
    # Long enough for the requests in between, even on a busy machine.
    api = serve(job_seconds=4.0)
    job_id = api.start([api.upload(), api.upload()])
    assert api.get(f"/jobs/{job_id}/status").json()["status"] == "pending"
    seen, progress = [], []
    for event in api.events(id_task=job_id):
        seen.append((event["name"], event["data"]["status"]))
        progress.append(api.get(f"/jobs/{job_id}/status").json()["progress"])
        if event["name"] == "completed":
            break
    assert seen == [
        ("batch_edit", "processing"),
        ("image_result", "completed"),
        ("image_result", "completed"),
        ("batch_edit", "completed"),
        ("completed", "completed"),
    ]
    assert progress[1] == 50.0
    assert progress == sorted(progress)


def test_variations_have_group_indices_and_differ(serve: Callable[..., Any], photo: bytes) -> None:
    """Each image has one row per variation, and the pictures differ from the input and from each other."""
    api = serve(transform=True)
    job_id = api.run([api.upload("a.jpg", photo)], swap_options={"num_variations": 2})
    found = rows(api, job_id)
    assert [(row["image_index"], row["group_index"]) for row in found] == [(0, 0), (0, 1)]
    pictures = {api.fetch(row["output"]["full_size"]).content for row in found}
    assert len(pictures | {photo}) == 3
    assert found[0]["input_description"]["faces"] == 1


def test_ai_mark_is_put_at_the_bottom_right_only_when_asked(serve: Callable[..., Any], photo: bytes) -> None:
    """``add_ai_watermark`` changes only the bottom right corner."""
    api = serve(transform=True)
    image = api.upload("a.jpg", photo)
    plain, marked = (
        Image.open(io.BytesIO(api.fetch(rows(api, job_id)[0]["url"]).content))
        for job_id in (api.run([image]), api.run([image], swap_options={"add_ai_watermark": True}))
    )
    box = ImageChops.difference(plain, marked).convert("L").point(lambda value: 255 * (value > 40)).getbbox()
    assert box is not None
    left, top = box[:2]
    assert left > plain.width // 2
    assert top > plain.height * 0.85


def test_partial_results_are_there_while_the_job_runs(api: Any) -> None:
    """Finished rows are complete while others are pending."""
    api.server.faults.add("job", "never_end")
    job_id = api.start()
    api.await_event(lambda event: event["name"] == "image_result")
    body = api.get(f"/jobs/{job_id}/results").json()
    assert (body["status"], body["results"][0]["status"]) == ("processing", "completed")


def test_picture_that_cannot_be_read_fails_alone(serve: Callable[..., Any], photo: bytes) -> None:
    """An undecodable image fails with a reason; the job completes with the others."""
    api = serve(transform=True)
    job_id = api.run([api.upload("bad.jpg", b"no picture"), api.upload("good.jpg", photo)])
    body = api.get(f"/jobs/{job_id}/results").json()
    assert body["status"] == "completed"
    assert [row["status"] for row in body["results"]] == ["failed", "completed"]
    assert "Invalid image" in body["results"][0]["error_message"]
    assert (body["summary"]["successful"], body["summary"]["failed"]) == (1, 1)


def test_image_never_uploaded_fails_alone(api: Any) -> None:
    """An image that was never uploaded fails, and the job completes."""
    ticket = api.post("/upload", {"filename": "a.jpg"}).json()
    assert rows(api, api.run([ticket["file_id"]]))[0]["status"] == "failed"


def test_picture_without_face_is_marked_and_says_so(serve: Callable[..., Any], landscape: bytes) -> None:
    """Without a face the picture is still marked, and ``input_description`` says that none was found."""
    api = serve(transform=True)
    (row,) = rows(api, api.run([api.upload("view.png", landscape)]))
    assert row["input_description"] == {"emulated": True, "faces": 0, "note": "no face found"}
    picture = api.fetch(row["url"])
    assert picture.headers["Content-Type"] == "image/png"
    assert picture.content != landscape


def test_post_processing_comes_after_completed(serve: Callable[..., Any]) -> None:
    """With post_process the job is completed first, and post-processing ends later."""
    api = serve(job_seconds=2.0)
    job_id = api.start(post_process=True)
    before = api.get(f"/jobs/{job_id}/status").json()
    events = api.events(id_task=job_id, name_list="batch_edit")
    assert [next(events)["data"]["status"] for _ in range(3)] == ["processing", "completed", "completed"]
    after = api.get(f"/jobs/{job_id}/status").json()
    assert (before["should_post_process"], before["post_processing_status"]) == (True, "pending")
    assert after["post_processing_status"] == "completed"


def test_regenerated_image_gets_the_next_version(api: Any) -> None:
    """Regeneration keeps the old row and adds one; results list only the newest."""
    job_id = api.run(swap_options={"num_variations": 2})
    answer = api.call("POST", f"/jobs/{job_id}/regenerate/0", params={"group_index": 1}).json()
    assert (answer["success"], answer["image_index"]) == (True, 0)
    api.await_event(lambda event: event["data"].get("version") == 1)
    versions = api.get(f"/jobs/{job_id}/versions/0").json()["versions"]
    assert [(row["group_index"], row["version"]) for row in versions] == [(0, 0), (1, 0), (1, 1)]
    assert [(row["group_index"], row["version"]) for row in rows(api, job_id)] == [(0, 0), (1, 1)]
    assert api.get(f"/jobs/{job_id}/results").json()["credits_used"] == 3.0


def test_regeneration_needs_an_ended_job(api: Any) -> None:
    """A running job refuses regeneration; an unknown image returns 404."""
    api.server.faults.add("job", "never_end")
    assert api.call("POST", f"/jobs/{api.start()}/regenerate/0").status_code == 400
    assert api.call("POST", f"/jobs/{api.run()}/regenerate/7").status_code == 404


@pytest.mark.parametrize("tail", ["status", "results", "versions/0"])
def test_unknown_job_returns_404(api: Any, tail: str) -> None:
    """An unknown job returns 404."""
    assert api.get(f"/jobs/job_nothing/{tail}").status_code == 404


def test_preprocessing_job_describes_the_identity(api: Any, photo: bytes) -> None:
    """Preprocessing jobs use the same endpoints."""
    api.call("POST", "/identity/upload", files={"image": ("a.jpg", photo, "image/jpeg")})
    event = api.await_event(lambda event: event["data"].get("status") == "completed")
    body = api.get(f"/jobs/{event['data']['job_id']}/results").json()
    assert (body["job_type"], body["identity"]["name"], body["project_key"]) == (
        "identity_preprocessing",
        "a",
        None,
    )


def test_stuck_images_are_listed_and_marked_failed(api: Any) -> None:
    """Images pending for long are listed, and a bulk update fails them."""
    api.server.faults.add("job", "unknown_status", seconds=1000)
    job_id = api.start()
    assert api.get("/jobs/stuck-images").json()["images"] == []
    api.server.state.clock.advance(7200)
    (image,) = api.get("/jobs/stuck-images", min_hours="1.5").json()["images"]
    assert (image["job_id"], image["status"]) == (job_id, "pending")
    answer = api.post("/jobs/stuck-images/bulk-update", {"image_ids": [image["id"]], "new_status": "failed"})
    assert answer.json()["updated_count"] == 1
    assert rows(api, job_id)[0]["status"] == "failed"
