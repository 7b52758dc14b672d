# SPDX-License-Identifier: Apache-2.0
"""Planned failures happen as planned, as often as planned, where planned."""

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

# The plan ---------------------------------------------------------------------------------------------------


def test_fault_happens_its_times_and_leaves() -> None:
    """A fault hits the planned number of requests, then no more."""
    faults = Faults()
    faults.add("any", "drop", times=2)
    assert [faults.take("x") is not None for _ in range(3)] == [True, True, False]
    assert faults.all_met()


def test_fault_lets_requests_pass_first() -> None:
    """``after`` requests pass unharmed."""
    faults = Faults()
    faults.add("any", "drop", after=2)
    assert [faults.take("x") is not None for _ in range(4)] == [False, False, True, False]


def test_fault_of_a_path_leaves_others_alone() -> None:
    """``path`` narrows a fault to some requests."""
    faults = Faults()
    faults.add("any", "drop", path="/b")
    assert faults.take("x", "/a") is None
    assert faults.take("x", "/b") is not None


def test_operation_comes_before_any() -> None:
    """A fault of the operation hits before one of all."""
    faults = Faults()
    faults.know(["upload"])
    faults.add("any", "drop")
    faults.add("upload", "html")
    hits = [faults.take("upload") for _ in range(2)]
    assert [hit.kind for hit in hits if hit] == ["html", "drop"]


def test_plan_is_not_met_until_all_happened() -> None:
    """``all_met`` proves that a failure happened; one without end has to happen once."""
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
def test_fault_that_cannot_be_is_refused(api: Any, operation: str, kind: str) -> None:
    """A misspelt plan is an error, not a test that passes."""
    with pytest.raises(ValueError, match=f"{operation}|{kind}"):
        api.server.faults.add(operation, kind)


# HTTP answers -----------------------------------------------------------------------------------------------


def test_status_fault_answers_code_body_and_headers(api: Any) -> None:
    """Any answer can be planned; nothing is done."""
    api.server.faults.add("project", "status", code=429, body={"error": "no"}, headers={"Retry-After": 7})
    answer = api.post("/project", {"project_name": "a"})
    assert (answer.status_code, answer.json(), answer.headers["Retry-After"]) == (429, {"error": "no"}, "7")
    assert api.get("/project").json()["projects"] == []


def test_status_fault_after_the_work_answers_5xx_although_all_is_done(api: Any) -> None:
    """``done=True`` does the work and loses only the answer."""
    api.server.faults.add("model_swap", "status", code=502, done=True)
    assert api.swap().status_code == 502
    assert len(api.server.state.ledger()) == 1


@pytest.mark.parametrize(("kind", "jobs"), [("drop_before", 0), ("drop_after", 1), ("drop", 0)])
def test_drop_cuts_the_connection(api: Any, kind: str, jobs: int) -> None:
    """The socket is closed without an answer, with or without the work done."""
    image = api.upload()
    api.server.faults.add("model_swap", kind)
    with pytest.raises(requests.ConnectionError):
        api.swap([image])
    assert api.server.state.stats()["jobs_created"] == jobs
    assert api.server.state.stats()["operations"]["model_swap"]["statuses"] == {"0": 1}
    assert api.swap([image]).status_code == 202


def test_delay_answers_late(api: Any) -> None:
    """The answer comes as usual, only later."""
    api.server.faults.add("projects", "delay", seconds=0.15)
    start = time.monotonic()
    assert api.get("/project").status_code == 200
    assert time.monotonic() - start >= 0.15


def test_hang_never_answers(api: Any) -> None:
    """A reader with a deadline gives up; the emulator still ends at once."""
    api.server.faults.add("projects", "hang")
    with pytest.raises(requests.ReadTimeout):
        requests.get(
            api.url + "/project", headers={"Authorization": "Bearer piktid-emulator"}, timeout=(5, 0.1)
        )


def test_truncate_breaks_the_promise_of_content_length(api: Any) -> None:
    """The body ends before its Content-Length."""
    link = api.get(f"/assets/{api.upload(data=bytes(100_000))}").json()["url"]
    api.server.faults.add("result_image", "truncate", keep=0.3)
    with requests.get(link, stream=True) as response:
        assert response.headers["Content-Length"] == "100000"
        with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
            b"".join(response.iter_content(1024))


def test_silent_truncation_keeps_its_word(api: Any) -> None:
    """The body is short and Content-Length agrees with it."""
    link = api.get(f"/assets/{api.upload(data=bytes(1000))}").json()["url"]
    api.server.faults.add("result_image", "truncate_silent", keep=0.25)
    answer = api.fetch(link)
    assert (len(answer.content), answer.headers["Content-Length"]) == (250, "250")


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
def test_answer_is_not_what_it_should_be(api: Any, kind: str, check: Callable[[Any], bool]) -> None:
    """HTML, broken JSON, wrong types and unknown fields can be planned."""
    api.server.faults.add("projects", kind)
    assert check(api.get("/project"))


def test_redirect_leads_elsewhere(api: Any) -> None:
    """A redirect can lead to any scheme."""
    api.server.faults.add("projects", "redirect", url="file:///etc/passwd", code=302)
    answer = api.call("GET", "/project", allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (302, "file:///etc/passwd")


# Streams ----------------------------------------------------------------------------------------------------


def raw(api: Any, until: bytes = b"data: {}", **query: Any) -> bytes:
    """Return what a stream sends up to ``until``, or all it sends before it is cut."""
    found = b""
    with api.call("GET", "/notifications/events", params=query, stream=True) as response:
        try:
            while until not in found and (chunk := response.raw.read1()):
                found += chunk
        except (requests.RequestException, urllib3.exceptions.HTTPError):
            found += b"<cut>"
    return found


def test_stream_can_be_missing(api: Any) -> None:
    """``no_stream`` answers 503."""
    api.server.faults.add("events", "no_stream")
    assert api.get("/notifications/events").status_code == 503


def test_stream_is_cut_after_frames(api: Any) -> None:
    """The connection is cut after so many frames; the next stream is whole."""
    api.server.state.publish("batch_edit", {"job_id": "a"})
    api.server.faults.add("events", "cut_after", frames=1)
    assert raw(api, b"<never>").count(b"data: ") == 1
    assert raw(api).count(b"data: ") == 2


def test_stream_is_cut_after_seconds(api: Any) -> None:
    """The connection is cut after some time."""
    api.server.faults.add("events", "cut_after", seconds=0.05)
    assert raw(api, b"<never>").endswith(b"<cut>")


def test_stream_ends_in_the_middle_of_a_frame(api: Any) -> None:
    """``half`` sends a part of a frame and cuts."""
    api.server.state.publish("batch_edit", {"job_id": "a"})
    api.server.faults.add("events", "half", frames=1)
    found = raw(api, b"<never>")
    assert found.endswith(b"<cut>")
    assert not found.removesuffix(b"<cut>").endswith(b"\n\n")


def test_silent_stream_says_nothing(serve: Callable[..., Any]) -> None:
    """A stream can stay open without backfill, keepalive or live frame."""
    api = serve(keepalive_seconds=0.01)
    api.server.faults.add("events", "silent")
    with (
        api.session.get(api.url + "/notifications/events", stream=True, timeout=(5, 0.1)) as response,
        pytest.raises(requests.RequestException),
    ):
        next(response.iter_content(1))


def test_stream_without_live_frames_keeps_alive(serve: Callable[..., Any]) -> None:
    """``no_live`` keeps a stream alive and loses what happens."""
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
def test_noise_leaves_the_true_frame_in_the_stream(
    api: Any, kind: str, params: dict[str, Any], expected: int
) -> None:
    """Junk, nulls, foreign events and doubles surround the frame that counts."""
    number = api.server.state.publish("batch_edit", {"job_id": "mine"})
    api.server.faults.add("events", kind, **params)
    found = raw(api, id_task="mine").decode()
    assert found.count(f'"id": {number}, ') == expected
    marks = {"junk": "{not json", "null_data": "data: null", "crlf": "\r\n\r\n", "foreign": "job_foreign2"}
    assert marks.get(kind, "") in found


def test_reordered_stream_sends_backfill_newest_first(api: Any) -> None:
    """``reorder`` turns the order round."""
    for _ in range(2):
        api.server.state.publish("batch_edit", {})
    api.server.faults.add("events", "reorder")
    assert [event["id"] for event in itertools.islice(api.events(), 2)] == [2, 1]


# Jobs -------------------------------------------------------------------------------------------------------


def test_named_images_fail(api: Any) -> None:
    """``fail_image`` fails the images of the given indices."""
    api.server.faults.add("job", "fail_image", indices=[1], message="too dark")
    body = api.get(f"/jobs/{api.run([api.upload(), api.upload()])}/results").json()
    assert [(row["status"], row["error_message"]) for row in body["results"]] == [
        ("completed", None),
        ("failed", "too dark"),
    ]
    assert body["results"][1]["output"] == {"full_size": None, "thumbnail": None, "uuid": None}


@pytest.mark.parametrize(("kind", "status"), [("fail_job", "failed"), ("abort_job", "aborted")])
def test_job_ends_otherwise(api: Any, kind: str, status: str) -> None:
    """A job can fail or be aborted, with a reason and the seed's ``error`` event."""
    api.server.faults.add("job", kind)
    job_id = api.run()
    body = api.get(f"/jobs/{job_id}/status").json()
    assert body["status"] == status
    assert body["error_message"]
    assert api.await_event(lambda event: event["name"] == "error")["data"]["status"] == status


def test_unknown_status_is_shown_for_a_while(api: Any) -> None:
    """A job can go through a status that no document names."""
    api.server.faults.add("job", "unknown_status", word="archiving", seconds=0.02)
    job_id = api.start()
    events = api.events(id_task=job_id, name_list="batch_edit")
    assert [next(events)["data"]["status"] for _ in range(3)] == ["archiving", "processing", "completed"]


@pytest.mark.parametrize(
    ("end", "status"), [("complete", "completed"), ("fail", "failed"), ("abort", "aborted")]
)
def test_job_without_end_is_ended_by_hand(api: Any, end: str, status: str) -> None:
    """``never_end`` keeps a job processing until an administrator ends it."""
    api.server.faults.add("job", "never_end")
    job_id = api.start()
    api.await_event(lambda event: event["name"] == "image_result")
    assert api.get(f"/jobs/{job_id}/status").json()["status"] == "processing"
    assert api.post(f"/_emulator/jobs/{job_id}/{end}").json()["status"] == status


def test_pending_job_is_completed_by_hand(serve: Callable[..., Any]) -> None:
    """Completing by hand does at once what is left."""
    api = serve(job_seconds=1000)
    job_id = api.start()
    api.server.state.complete_job(job_id)
    body = api.get(f"/jobs/{job_id}/results").json()
    assert (body["status"], body["results"][0]["status"]) == ("completed", "completed")


def test_post_processing_fails_after_completion(api: Any) -> None:
    """The job stays completed; post-processing says why it failed."""
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
    """A job can send nothing, or lose only some names."""
    api.server.faults.add("job", "lose_notifications")
    api.server.faults.add("job", "lose_notifications", names=["batch_edit", "image_result"])
    lost, half = api.start(), api.start()
    event = next(api.events())
    assert (event["name"], event["data"]["job_id"]) == ("completed", half)
    assert lost != half


def test_names_are_hostile(api: Any) -> None:
    """Results carry the planned names."""
    api.server.faults.add(
        "job", "hostile_filename", original_filename="../../a.jpg", download_filename="/etc/x"
    )
    (row,) = api.get(f"/jobs/{api.run()}/results").json()["results"]
    assert (row["original_filename"], row["download_filename"]) == ("../../a.jpg", "/etc/x")


def test_archive_is_hostile(api: Any) -> None:
    """The archive holds the planned entries beside the true one."""
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
    """A plan can be made, seen and dropped from another process."""
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
