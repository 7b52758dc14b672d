# SPDX-License-Identifier: Apache-2.0
"""Uploaded pictures and the persons in them."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from PIL import Image

from airflow_provider_piktid.emulator.faces import Face
from airflow_provider_piktid.emulator.v1.persons import persons_on_grid, sharpness, usable

FIELDS = {"id", "boxHeight", "boxWidth", "centerX", "centerY", "cornerX", "cornerY", "approve"}


def encoded(data: bytes, kind: str) -> bytes:
    out = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").save(out, kind)
    return out.getvalue()


@pytest.fixture
def real(serve_v1: Callable[..., Any]) -> Any:
    """An emulator with image processing."""
    return serve_v1(transform=True)


@pytest.fixture
def shop(photo: bytes) -> Iterator[str]:
    """The URL of a web server with a photograph; other paths return 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/front.jpg" else 404)
            self.end_headers()
            self.wfile.write(photo)

        def log_message(self, *args: object) -> None:
            """Do not log."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_persons_are_found_from_left_to_right_and_blurred_ones_not_approved(real: Any, team: bytes) -> None:
    """Each face is found; the blurred one is not approved."""
    answer = real.target(team).json()
    persons = answer["coordinates_list"]
    assert answer["num_persons"] == len(persons) == 3
    assert [(p["id"], p["approve"]) for p in persons] == [(0, True), (1, True), (2, False)]
    assert [round(p["centerX"], 1) for p in persons] == [0.1, 0.5, 0.8]


def test_coordinates_are_consistent_shares(real: Any, team: bytes) -> None:
    """Corner, box and centre agree, are between 0 and 1, and have the documented names."""
    for person in real.target(team).json()["coordinates_list"]:
        assert set(person) == FIELDS
        assert person["cornerX"] == pytest.approx(person["centerX"] - person["boxWidth"] / 2)
        assert person["cornerY"] == pytest.approx(person["centerY"] - person["boxHeight"] / 2)
        assert all(0 <= person[name] <= 1 for name in FIELDS - {"id", "approve"})


def test_answer_carries_the_image_id_under_both_names(v1: Any) -> None:
    """By default ``id_image`` and ``image_id`` are the same."""
    from_picture = v1.target(plain_png()).json()
    assert from_picture["id_image"] == from_picture["image_id"]


def plain_png(size: tuple[int, int] = (64, 64)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "gray").save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_formats_are_known_by_content(real: Any, photo: bytes, kind: str) -> None:
    """The three documented formats are accepted, whatever the file name."""
    assert real.target(encoded(photo, kind), filename="front.txt").json()["num_persons"] == 1


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"hello", id="text"),
        pytest.param(b"\xff\xd8\xff\xe0cut", id="cut"),
        pytest.param(encoded(plain_png(), "GIF"), id="gif"),
    ],
)
def test_other_files_are_refused_with_a_v1_error(v1: Any, data: bytes) -> None:
    """A file that is not WEBP, JPEG or PNG returns 400 with code, message and description."""
    answer = v1.target(data, filename="front.jpg")
    assert answer.status_code == 400
    assert answer.json().keys() == {"code", "message", "description"}


def test_picture_without_a_face_has_no_persons(real: Any, landscape: bytes) -> None:
    """A picture without faces has an empty list."""
    answer = real.target(landscape).json()
    assert (answer["num_persons"], answer["coordinates_list"]) == (0, [])


def test_small_face_is_not_approved(real: Any, photo: bytes) -> None:
    """A face of a few pixels is found but not approved."""
    out = io.BytesIO()
    Image.open(io.BytesIO(photo)).resize((128, 128)).save(out, "PNG")
    (person,) = real.target(out.getvalue()).json()["coordinates_list"]
    assert person["approve"] is False


def test_picture_is_fetched_from_its_url(real: Any, shop: str) -> None:
    """The form field ``url`` replaces the file."""
    answer = real.call("POST", "/edit/target", data={"url": shop + "/front.jpg", "options": "{}"})
    assert answer.json()["num_persons"] == 1


@pytest.mark.parametrize(
    ("form", "status"),
    [
        pytest.param({}, 422, id="neither"),
        pytest.param({"url": "file:///etc/hostname"}, 422, id="local-file"),
        pytest.param({"url": "front.jpg"}, 422, id="no-address"),
        pytest.param({"url": "http://127.0.0.1:9/front.jpg"}, 400, id="no-answer"),
        pytest.param({"url": "/missing.jpg"}, 400, id="404"),
    ],
)
def test_url_that_cannot_be_fetched_is_refused(v1: Any, shop: str, form: dict[str, str], status: int) -> None:
    """Only http and https URLs that return a picture are accepted."""
    if form.get("url", "").startswith("/"):
        form = {"url": shop + form["url"]}
    assert v1.call("POST", "/edit/target", data=form).status_code == status


@pytest.mark.parametrize("options", ["{", "[]", "text"])
def test_options_have_to_be_a_json_object(v1: Any, options: str) -> None:
    """``options`` must be a string with a JSON object."""
    assert v1.target(plain_png(), options=options).status_code == 422
    assert v1.target(plain_png(), options="{}").status_code == 200


def test_broken_form_is_refused(v1: Any) -> None:
    """A body that is not a form returns a v1 error."""
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = v1.call("POST", "/edit/target", data=b"--x\r\nbroken", headers=headers)
    assert answer.status_code == 422


def test_picture_lives_a_day(v1: Any) -> None:
    """After 24 hours look-up and generation return 404."""
    image = v1.upload()
    found = v1.call("POST", "/images_by_id/v2", {"id_image": image}).json()
    assert (found["id_image"], found["num_persons"], found["errors_list"]) == (image, 4, [])
    v1.state.clock.advance(86400 - 60)
    assert v1.generate(image).status_code == 200
    v1.state.clock.advance(61)
    assert v1.call("POST", "/images_by_id/v2", {"id_image": image}).status_code == 404
    assert v1.generate(image).status_code == 404


@pytest.mark.parametrize("body", [{}, {"id_image": "none"}, {"id_image": 7}, []], ids=str)
def test_unknown_picture_returns_404(v1: Any, body: Any) -> None:
    """An unknown picture returns 404."""
    assert v1.call("POST", "/images_by_id/v2", body).status_code == 404


def test_any_number_of_persons_can_be_planned(v1: Any) -> None:
    """The fault ``faces`` sets the number of persons and which are approved."""
    v1.server.faults.add("target", "faces", n=30, approve=[False, True])
    persons = v1.target(plain_png()).json()["coordinates_list"]
    assert [p["approve"] for p in persons] == [False] + [True] * 29
    assert v1.target(plain_png()).json()["num_persons"] == 4


@pytest.mark.parametrize(("rule", "seen"), [("refuse", 400), ("cut", 30), ("all", 31)])
def test_more_than_thirty_persons(serve_v1: Callable[..., Any], rule: str, seen: int) -> None:
    """A picture of 31 persons is refused, cut to 30, or accepted, depending on the variant."""
    v1 = serve_v1(variants={"v1_too_many_persons": rule})
    v1.server.faults.add("target", "faces")
    answer = v1.target(plain_png())
    assert (answer.json()["num_persons"] if answer.ok else answer.status_code) == seen


@pytest.mark.parametrize("count", [0, 1, 2, 7, 30])
def test_persons_on_a_grid_do_not_overlap(count: int) -> None:
    """Faces on the grid do not overlap and are inside the picture."""
    faces = [person.face for person in persons_on_grid((300, 200), count)]
    assert len(faces) == count
    assert all(0 <= f.left < f.right <= 300 and 0 <= f.top < f.bottom <= 200 for f in faces)
    assert len({(f.left, f.top) for f in faces}) == count


def test_flat_face_is_not_sharp(photo: bytes) -> None:
    """A face of one colour has the lowest sharpness; a photographed one is sharp."""
    picture = Image.open(io.BytesIO(photo)).convert("RGB")
    face = Face(180, 70, 270, 160)
    assert sharpness(Image.new("RGB", (90, 90), "gray")) == 0.0
    assert usable(picture, face)
    assert not usable(Image.new("RGB", picture.size, "gray"), face)
