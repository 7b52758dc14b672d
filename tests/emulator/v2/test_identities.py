# SPDX-License-Identifier: Apache-2.0
"""Identities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def upload(api: Any, image: bytes, name: str | None = "Model A", filename: str = "a.jpg") -> Any:
    data = {} if name is None else {"name": name}
    return api.call("POST", "/identity/upload", files={"image": (filename, image, "image/jpeg")}, data=data)


def test_default_identities_are_listed(api: Any) -> None:
    """PiktID's default identities are listed as completed and have a picture."""
    found = api.get("/identity", ownership="default").json()["identities"]
    assert {identity["identity_code"] for identity in found} == {"PiktidSummer", "PiktidPremium"}
    assert {identity["preprocessing_status"] for identity in found} == {"completed"}
    assert api.fetch(found[0]["link"]).content.startswith(b"\xff\xd8")


def test_identity_upload_returns_the_documented_fields(api: Any, photo: bytes) -> None:
    """The upload returns the identity without status, and the result of face detection."""
    answer = upload(api, photo)
    assert answer.status_code == 201
    assert set(answer.json()) == {
        *("identity_code", "name", "original_filename", "link", "visibility", "groups", "created_by"),
        *("image_description", "created_at", "success", "face_detected", "face_metadata"),
    }


def test_identity_without_name_is_named_after_the_file(api: Any, photo: bytes) -> None:
    """Without ``name`` the identity is named after the file."""
    assert upload(api, photo, None, "Jane Doe.jpg").json()["name"] == "Jane Doe"


def test_identity_with_existing_name_returns_409_with_the_code(api: Any, photo: bytes) -> None:
    """Names are unique; the 409 has the code of the existing identity."""
    code = upload(api, photo).json()["identity_code"]
    answer = upload(api, photo)
    assert (answer.status_code, answer.json()["existing_identity_code"]) == (409, code)


def test_identity_is_prepared_over_time(api: Any, photo: bytes) -> None:
    """Preprocessing changes to processing and completed, each with a notification."""
    code = upload(api, photo).json()["identity_code"]
    events = api.events(name_list="identity_preprocessing")
    assert [next(events)["data"]["status"] for _ in range(2)] == ["processing", "completed"]
    assert api.get(f"/identity/{code}/status").json()["preprocessing_status"] == "completed"


def test_identity_picture_without_face_fails_in_preprocessing(
    serve: Callable[..., Any], landscape: bytes
) -> None:
    """A picture without a face is accepted and reported, and preprocessing fails with a reason."""
    api = serve(transform=True)
    answer = upload(api, landscape).json()
    assert answer["face_detected"] is False
    api.await_event(lambda event: event["data"].get("status") == "failed")
    status = api.get(f"/identity/{answer['identity_code']}/status").json()
    assert status["preprocessing_status"] == "failed"
    assert status["error_message"]


@pytest.mark.parametrize("image", [b"", b"not a picture"], ids=["empty", "text"])
def test_identity_that_is_not_a_picture_is_refused(api: Any, image: bytes) -> None:
    """A file that is not a picture returns a validation error and adds nothing."""
    assert upload(api, image).status_code == 422
    assert api.get("/identity", ownership="mine").json()["identities"] == []


def test_number_of_identities_is_limited(serve: Callable[..., Any], photo: bytes) -> None:
    """A full account returns 429 with the permanent message."""
    api = serve(max_identities=1)
    upload(api, photo, "A")
    answer = upload(api, photo, "B")
    assert (answer.status_code, answer.json()) == (429, {"error": "Maximum identities reached."})


def test_unknown_identity_returns_404(api: Any) -> None:
    """An unknown code returns 404 on every endpoint."""
    assert [api.get(f"/identity/nobody{tail}").status_code for tail in ("", "/status")] == [404, 404]


def test_identity_search_and_order(api: Any, photo: bytes) -> None:
    """The listing can be searched and sorted by name."""
    for name in ("Bea", "Abe"):
        upload(api, photo, name)
    found = api.get("/identity", ownership="mine", sort_by="name", order="asc").json()["identities"]
    assert [identity["name"] for identity in found] == ["Abe", "Bea"]
    assert api.get("/identity", search="b", ownership="mine").json()["pagination"]["total"] == 2


def test_identity_metadata_is_updated(api: Any, photo: bytes) -> None:
    """Tag, gender and age can be set; an unknown gender is refused."""
    code = upload(api, photo).json()["identity_code"]
    answer = api.call("PATCH", f"/identity/{code}/metadata", json={"gender": "female", "age": 30}).json()
    assert (answer["success"], answer["image_description"]["age"]) == (True, 30)
    assert api.call("PATCH", f"/identity/{code}/metadata", json={"gender": "x"}).status_code == 422


def test_identity_pov_is_normalised(api: Any, photo: bytes) -> None:
    """A point of view with one face is resized to 1024 x 1024."""
    code = upload(api, photo).json()["identity_code"]
    answer = api.call(
        "POST",
        f"/identity/{code}/pov",
        files={"image": ("p.jpg", photo, "image/jpeg")},
        data={"pov_index": "2"},
    ).json()
    assert (answer["pov_index"], answer["processed_count"]) == (2, 1)
    assert api.fetch(answer["processed_images"][0]["link"]).status_code == 200
