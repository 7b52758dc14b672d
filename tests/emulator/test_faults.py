# SPDX-License-Identifier: Apache-2.0
"""Planned faults happen where, when and as often as planned."""

from __future__ import annotations

import itertools
import json
import stat
import time
import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
import requests
import urllib3

from airflow_provider_piktid.emulator import Faults

# Planning ---------------------------------------------------------------------------------------------------


def test_fault_happens_as_often_as_planned() -> None:
    """A fault hits ``times`` requests, then no more."""
    faults = Faults()
    faults.add("any", "drop", times=2)
    assert [faults.take("x") is not None for _ in range(3)] == [True, True, False]
    assert faults.all_met()


def test_fault_skips_requests_first() -> None:
    """``after`` requests are skipped."""
    faults = Faults()
    faults.add("any", "drop", after=2)
    assert [faults.take("x") is not None for _ in range(4)] == [False, False, True, False]


def test_fault_of_a_path_leaves_others_alone() -> None:
    """``path`` limits a fault to matching requests."""
    faults = Faults()
    faults.add("any", "drop", path="/b")
    assert faults.take("x", "/a") is None
    assert faults.take("x", "/b") is not None


def test_operation_comes_before_any() -> None:
    """A fault of the operation hits before one of ``any``."""
    faults = Faults()
    faults.know(["upload"])
    faults.add("any", "drop")
    faults.add("upload", "html")
    hits = [faults.take("upload") for _ in range(2)]
    assert [hit.kind for hit in hits if hit] == ["html", "drop"]


def test_all_met_is_true_after_all_faults_happened() -> None:
    """``all_met`` is true once all faults happened; one with ``times=None`` must happen once."""
    faults = Faults()
    faults.add("any", "drop", times=None)
    assert not faults.all_met()
    faults.take("x")
    assert faults.all_met()
    assert faults.take("x") is not None


@pytest.mark.parametrize(
    ("operation", "kind"),
    [("nothing", "drop"), ("any", "nothing"), ("any", "fail_job"), ("job", "drop"), ("project", "silent")],
    ids=str,
)
def test_unknown_fault_is_refused(api: Any, operation: str, kind: str) -> None:
    """A misspelt fault raises an error."""
    with pytest.raises(ValueError, match=f"{operation}|{kind}"):
        api.server.faults.add(operation, kind)


# HTTP responses ---------------------------------------------------------------------------------------------


def test_status_fault_returns_code_body_and_headers(api: Any) -> None:
    """Any response can be planned; the request is not carried out."""
    api.server.faults.add("project", "status", code=429, body={"error": "no"}, headers={"Retry-After": 7})
    answer = api.post("/project", {"project_name": "a"})
    assert (answer.status_code, answer.json(), answer.headers["Retry-After"]) == (429, {"error": "no"}, "7")
    assert api.get("/project").json()["projects"] == []


def test_status_fault_with_done_carries_out_the_request(api: Any) -> None:
    """``done=True`` carries out the request and replaces only the response."""
    api.server.faults.add("model_swap", "status", code=502, done=True)
    assert api.swap().status_code == 502
    assert len(api.server.state.ledger()) == 1


@pytest.mark.parametrize(("kind", "jobs"), [("drop_before", 0), ("drop_after", 1), ("drop", 0)])
def test_drop_cuts_the_connection(api: Any, kind: str, jobs: int) -> None:
    """The socket is closed without a response, before or after the request is carried out."""
    image = api.upload()
    api.server.faults.add("model_swap", kind)
    with pytest.raises(requests.ConnectionError):
        api.swap([image])
    assert api.server.state.stats()["jobs_created"] == jobs
    assert api.server.state.stats()["operations"]["model_swap"]["statuses"] == {"0": 1}
    assert api.swap([image]).status_code == 202


def test_delay_responds_late(api: Any) -> None:
    """The response is delayed but unchanged."""
    api.server.faults.add("projects", "delay", seconds=0.15)
    start = time.monotonic()
    assert api.get("/project").status_code == 200
    assert time.monotonic() - start >= 0.15


def test_hang_never_responds(api: Any) -> None:
    """A client times out; the emulator still stops immediately."""
    api.server.faults.add("projects", "hang")
    with pytest.raises(requests.ReadTimeout):
        requests.get(
            api.url + "/project", headers={"Authorization": "Bearer piktid-emulator"}, timeout=(5, 0.1)
        )


def test_truncate_ends_before_content_length(api: Any) -> None:
    """The body is shorter than its Content-Length."""
    link = api.get(f"/assets/{api.upload(data=bytes(100_000))}").json()["url"]
    api.server.faults.add("result_image", "truncate", keep=0.3)
    with requests.get(link, stream=True) as response:
        assert response.headers["Content-Length"] == "100000"
        with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
            b"".join(response.iter_content(1024))


def test_silent_truncation_matches_content_length(api: Any) -> None:
    """The body is shortened and Content-Length matches it."""
    link = api.get(f"/assets/{api.upload(data=bytes(1000))}").json()["url"]
    api.server.faults.add("result_image", "truncate_silent", keep=0.25)
    answer = api.fetch(link)
    assert (len(answer.content), answer.headers["Content-Length"]) == (250, "250")


@pytest.mark.parametrize(("at", "position"), [(0.0, 0), (0.5, 500), (1.0, 999)])
def test_flip_inverts_one_byte(api: Any, at: float, position: int) -> None:
    """One byte of the body is inverted, and its length stays."""
    link = api.get(f"/assets/{api.upload(data=bytes(1000))}").json()["url"]
    api.server.faults.add("result_image", "flip", at=at)
    content = api.fetch(link).content
    assert (len(content), [number for number, byte in enumerate(content) if byte]) == (1000, [position])
    assert content[position] == 0xFF


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        pytest.param("html", lambda r: r.status_code == 200 and r.text.startswith("<!DOCTYPE"), id="html"),
        pytest.param("garbage_json", lambda r: r.status_code == 200 and r.text.startswith("{"), id="garbage"),
        pytest.param(
            "wrong_types",
            lambda r: r.json() == {"projects": "unexpected", "pagination": "unexpected"},
            id="types",
        ),
        pytest.param(
            "extra_fields", lambda r: "x_new_field" in r.json() and "projects" in r.json(), id="extra"
        ),
    ],
)
def test_response_body_is_replaced(api: Any, kind: str, check: Callable[[Any], bool]) -> None:
    """HTML, invalid JSON, wrong types and unknown fields can be planned."""
    api.server.faults.add("projects", kind)
    assert check(api.get("/project"))


def test_redirect_leads_elsewhere(api: Any) -> None:
    """A redirect can have any scheme."""
    api.server.faults.add("projects", "redirect", url="file:///etc/passwd", code=302)
    answer = api.call("GET", "/project", allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (302, "file:///etc/passwd")


# Streams ----------------------------------------------------------------------------------------------------


def raw(api: Any, until: bytes = b"data: {}", **query: Any) -> bytes:
    """Return what a stream sends up to ``until``, or everything before it is cut."""
    found = b""
    with api.call("GET", "/notifications/events", params=query, stream=True) as response:
        try:
            while until not in found and (chunk := response.raw.read1()):
                found += chunk
        except (requests.RequestException, urllib3.exceptions.HTTPError):
            found += b"<cut>"
    return found


def test_stream_can_be_missing(api: Any) -> None:
    """``no_stream`` returns 503."""
    api.server.faults.add("events", "no_stream")
    assert api.get("/notifications/events").status_code == 503


def test_stream_is_cut_after_frames(api: Any) -> None:
    """The connection is cut after ``frames`` frames; the next stream is complete."""
    api.server.state.publish("batch_edit", {"job_id": "a"})
    api.server.faults.add("events", "cut_after", frames=1)
    assert raw(api, b"<never>").count(b"data: ") == 1
    assert raw(api).count(b"data: ") == 2


def test_stream_is_cut_after_seconds(api: Any) -> None:
    """The connection is cut after ``seconds``."""
    api.server.faults.add("events", "cut_after", seconds=0.05)
    assert raw(api, b"<never>").endswith(b"<cut>")


def test_stream_ends_in_the_middle_of_a_frame(api: Any) -> None:
    """``half`` sends a part of a frame and cuts the connection."""
    api.server.state.publish("batch_edit", {"job_id": "a"})
    api.server.faults.add("events", "half", frames=1)
    found = raw(api, b"<never>")
    assert found.endswith(b"<cut>")
    assert not found.removesuffix(b"<cut>").endswith(b"\n\n")


def test_silent_stream_sends_nothing(serve: Callable[..., Any]) -> None:
    """A stream can stay open without backfill, keepalives or live frames."""
    api = serve(keepalive_seconds=0.01)
    api.server.faults.add("events", "silent")
    with (
        api.session.get(api.url + "/notifications/events", stream=True, timeout=(5, 0.1)) as response,
        pytest.raises(requests.RequestException),
    ):
        next(response.iter_content(1))


def test_stream_without_live_frames_keeps_alive(serve: Callable[..., Any]) -> None:
    """``no_live`` sends keepalives and drops live frames."""
    api = serve(keepalive_seconds=0.02)
    api.server.faults.add("events", "no_live")
    with api.call("GET", "/notifications/events", stream=True) as response:
        lines = response.iter_lines(decode_unicode=True)
        assert list(itertools.islice(lines, 3)) == ["event: backfill_complete", "data: {}", ""]
        api.server.state.publish("batch_edit", {})
        assert next(lines) == ":keepalive"


@pytest.mark.parametrize(
    ("kind", "params", "expected"),
    [
        pytest.param("double", {}, 2, id="double"),
        pytest.param("junk", {}, 1, id="junk"),
        pytest.param("null_data", {}, 1, id="null"),
        pytest.param("crlf", {}, 1, id="crlf"),
        pytest.param("foreign", {"n": 3}, 1, id="foreign"),
    ],
)
def test_noise_keeps_the_correct_frame(api: Any, kind: str, params: dict[str, Any], expected: int) -> None:
    """The correct frame is sent among junk, nulls, foreign events and duplicates."""
    number = api.server.state.publish("batch_edit", {"job_id": "mine"})
    api.server.faults.add("events", kind, **params)
    found = raw(api, id_task="mine").decode()
    assert found.count(f'"id": {number}, ') == expected
    marks = {"junk": "{not json", "null_data": "data: null", "crlf": "\r\n\r\n", "foreign": "job_foreign2"}
    assert marks.get(kind, "") in found


def test_reordered_stream_sends_backfill_newest_first(api: Any) -> None:
    """``reorder`` reverses the order."""
    for _ in range(2):
        api.server.state.publish("batch_edit", {})
    api.server.faults.add("events", "reorder")
    assert [event["id"] for event in itertools.islice(api.events(), 2)] == [2, 1]


# Jobs -------------------------------------------------------------------------------------------------------


def test_named_images_fail(api: Any) -> None:
    """``fail_image`` fails the images with the given indices."""
    api.server.faults.add("job", "fail_image", indices=[1], message="too dark")
    body = api.get(f"/jobs/{api.run([api.upload(), api.upload()])}/results").json()
    assert [(row["status"], row["error_message"]) for row in body["results"]] == [
        ("completed", None),
        ("failed", "too dark"),
    ]
    assert body["results"][1]["output"] == {"full_size": None, "thumbnail": None, "uuid": None}


@pytest.mark.parametrize(("kind", "status"), [("fail_job", "failed"), ("abort_job", "aborted")])
def test_job_ends_otherwise(api: Any, kind: str, status: str) -> None:
    """A job can fail or be aborted, with a reason and an ``error`` event."""
    api.server.faults.add("job", kind)
    job_id = api.run()
    body = api.get(f"/jobs/{job_id}/status").json()
    assert body["status"] == status
    assert body["error_message"]
    assert api.await_event(lambda event: event["name"] == "error")["data"]["status"] == status


def test_unknown_status_is_shown_for_a_while(api: Any) -> None:
    """A job can have an undocumented status for a while."""
    api.server.faults.add("job", "unknown_status", word="archiving", seconds=0.02)
    job_id = api.start()
    events = api.events(id_task=job_id, name_list="batch_edit")
    assert [next(events)["data"]["status"] for _ in range(3)] == ["archiving", "processing", "completed"]


@pytest.mark.parametrize(
    ("end", "status"), [("complete", "completed"), ("fail", "failed"), ("abort", "aborted")]
)
def test_job_without_end_is_ended_by_hand(api: Any, end: str, status: str) -> None:
    """``never_end`` keeps a job in processing until it is ended over the control endpoints."""
    api.server.faults.add("job", "never_end")
    job_id = api.start()
    api.await_event(lambda event: event["name"] == "image_result")
    assert api.get(f"/jobs/{job_id}/status").json()["status"] == "processing"
    assert api.post(f"/_emulator/jobs/{job_id}/{end}").json()["status"] == status


def test_pending_job_is_completed_by_hand(serve: Callable[..., Any]) -> None:
    """Completing a pending job finishes it immediately."""
    api = serve(job_seconds=1000)
    job_id = api.start()
    api.server.state.complete_job(job_id)
    body = api.get(f"/jobs/{job_id}/results").json()
    assert (body["status"], body["results"][0]["status"]) == ("completed", "completed")


def test_post_processing_fails_after_completion(api: Any) -> None:
    """The job stays completed; post-processing fails with a reason."""
    api.server.faults.add("job", "post_processing_failed", message="no memory")
    job_id = api.start(post_process=True)
    events = api.events(id_task=job_id, name_list="batch_edit")
    assert len(list(itertools.islice(events, 3))) == 3
    body = api.get(f"/jobs/{job_id}/status").json()
    assert [body[key] for key in ("status", "post_processing_status", "post_processing_error")] == [
        "completed",
        "failed",
        "no memory",
    ]


def test_notifications_are_lost(api: Any) -> None:
    """A job can drop all its notifications, or only some names."""
    api.server.faults.add("job", "lose_notifications")
    api.server.faults.add("job", "lose_notifications", names=["batch_edit", "image_result"])
    lost, half = api.start(), api.start()
    event = next(api.events())
    assert (event["name"], event["data"]["job_id"]) == ("completed", half)
    assert lost != half


def test_names_are_hostile(api: Any) -> None:
    """Results have the planned file names."""
    api.server.faults.add(
        "job", "hostile_filename", original_filename="../../a.jpg", download_filename="/etc/x"
    )
    (row,) = api.get(f"/jobs/{api.run()}/results").json()["results"]
    assert (row["original_filename"], row["download_filename"]) == ("../../a.jpg", "/etc/x")


def test_archive_is_hostile(api: Any) -> None:
    """The archive contains the planned entries besides the real one."""
    api.server.faults.add("job", "hostile_zip", bomb_bytes=4 * 1024**2)
    link = api.post("/download", {"job_id": api.run()}).json()["download_url"]
    with zipfile.ZipFile(BytesIO(api.fetch(link).content)) as archive:
        infos = archive.infolist()
        names = [info.filename for info in infos]
        assert names.count("front_0_v0.jpg") == 2
        assert any(name.startswith("/") for name in names)
        assert any(name.startswith("../") for name in names)
        assert any(stat.S_ISLNK(info.external_attr >> 16) for info in infos)
        assert any(info.file_size > 100 * info.compress_size > 0 for info in infos)


def test_faults_are_planned_over_http(api: Any) -> None:
    """Faults can be added, listed and removed over HTTP."""
    plan = [
        {"operation": "projects", "kind": "status", "code": 500},
        {"operation": "job", "kind": "fail_job"},
    ]
    assert api.post("/_emulator/faults", plan).status_code == 201
    assert api.get("/project").status_code == 500
    shown = api.get("/_emulator/faults").json()
    assert ([fault["met"] for fault in shown["faults"]], shown["all_met"]) == ([1, 0], False)
    assert api.call("DELETE", "/_emulator/faults").status_code == 204
    assert api.get("/_emulator/faults").json()["all_met"] is True
    assert api.post("/_emulator/faults", {"operation": "x", "kind": "y"}).status_code == 400
    assert "x" in json.dumps(api.post("/_emulator/faults", {"operation": "x", "kind": "y"}).json())
