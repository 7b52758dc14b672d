# SPDX-License-Identifier: Apache-2.0
"""The control endpoints and the page: statistics, ledger, thumbnails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_piktid.emulator import LIMITS


def test_statistics_count_requests_jobs_and_bytes(api: Any) -> None:
    """Requests per operation and status, jobs per set of images, and bytes are counted."""
    image = api.upload(data=bytes(1000))
    for _ in range(2):
        api.run([image])
    api.get("/identity/nobody")
    stats = api.get("/_emulator/stats").json()
    assert stats["operations"]["model_swap"] == {"requests": 2, "statuses": {"202": 2}}
    assert stats["operations"]["identity"]["statuses"] == {"404": 1}
    assert stats["jobs_by_images"] == [{"images": [image], "jobs": 2}]
    assert (stats["jobs_created"], stats["duplicated_image_sets"], stats["bytes_in"]) == (2, 1, 1000)


def test_refusals_are_counted(serve: Callable[..., Any]) -> None:
    """Responses with 429 are counted; those to submissions by reason."""
    api = serve(jobs_per_minute=1)
    image = api.upload()
    for _ in range(3):
        api.swap([image])
    stats = api.server.state.stats()
    assert (stats["refused_429"], stats["refused_submissions"]) == (2, {"rate": 2})


def test_ledger_shows_what_was_bought(api: Any) -> None:
    """The ledger has images, identity, project, options and credits of each job."""
    key, image = api.project(), api.upload()
    job_id = api.run([image], swap_options={"num_variations": 3})
    body = api.get("/_emulator/ledger").json()
    (entry,) = body["jobs"]
    assert (entry["job_id"], entry["images"], entry["credits"]) == (job_id, [image], 3.0)
    assert (entry["identity_code"], entry["project_key"], entry["status"]) == (
        "PiktidSummer",
        key,
        "completed",
    )
    assert body["balance"] == 997.0


def test_clear_removes_everything(api: Any) -> None:
    """After a clear the emulator is empty."""
    api.run()
    api.server.faults.add("any", "drop", path="/nowhere")
    assert api.post("/_emulator/clear").status_code == 204
    assert api.server.state.ledger() == []
    assert api.server.faults.all_met()
    assert api.get("/project").json()["projects"] == []
    assert api.server.state.v2.jobs.balance == 1000.0
    assert api.run()


def test_clock_is_advanced_on_request(api: Any) -> None:
    """The clock can be advanced over HTTP."""
    before = api.server.state.clock.time()
    assert api.post("/_emulator/clock", {"seconds": 3600}).json()["time"] - before >= 3600


def test_notification_is_published_on_request(api: Any) -> None:
    """Any notification can be published, including those of foreign jobs."""
    number = api.post("/_emulator/notifications", {"name": "batch_edit", "data": {"job_id": "x"}}).json()[
        "id"
    ]
    assert next(api.events())["id"] == number


def test_unknown_job_or_action_returns_404(api: Any) -> None:
    """An unknown job or action returns 404."""
    assert api.post("/_emulator/jobs/none/abort").status_code == 404
    assert api.post(f"/_emulator/jobs/{api.run()}/explode").status_code == 404


def test_page_shows_jobs_people_and_limits(serve: Callable[..., Any], photo: bytes) -> None:
    """The page shows projects, identities, jobs with inputs and outputs, and the limits."""
    api = serve(transform=True)
    api.project("spring <b>")
    image = api.upload("front.jpg", photo)
    job_id = api.run([image])
    page = api.fetch(api.url + "/").text
    assert all(text in page for text in (job_id, "PiktidSummer", "spring &lt;b&gt;", 'http-equiv="refresh"'))
    assert "<b>spring" not in page
    assert "http://" not in page.replace(api.url, "")
    assert LIMITS[-1] in page
    thumbs = [part.split('"')[0] for part in page.split('<img src="')[1:]]
    assert any(image in thumb for thumb in thumbs)
    assert all(api.fetch(api.url + thumb).content.startswith(b"\xff\xd8") for thumb in thumbs)


def test_page_works_with_files_that_are_not_pictures(api: Any) -> None:
    """A file that is not a picture has no thumbnail, and the page still works."""
    api.server.faults.add("job", "hostile_filename", original_filename="<script>")
    job_id = api.run([api.upload(data=b"nothing")])
    page = api.fetch(api.url + "/")
    assert page.status_code == 200
    assert "<script>" not in page.text
    assert job_id in page.text
