# SPDX-License-Identifier: Apache-2.0
"""Projects, uploads and assets."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests


def test_project_created_returns_string_id_and_name(api: Any) -> None:
    """A new project returns 201 with exactly ``project_id`` and ``project_name``."""
    answer = api.post("/project", {"project_name": "my-campaign"})
    assert answer.status_code == 201
    assert set(answer.json()) == {"project_id", "project_name"}
    assert isinstance(answer.json()["project_id"], str)


def test_project_with_existing_name_returns_409_with_its_id(api: Any) -> None:
    """An existing name returns 409 with the id of its project."""
    key = api.project("spring")
    answer = api.post("/project", {"project_name": "spring"})
    assert (answer.status_code, answer.json()["project_id"]) == (409, key)


def test_project_listing_names_things_differently(api: Any) -> None:
    """In listings the string id is ``project_key``, the name ``project_text``, and the id an integer."""
    key = api.project("spring")
    (project,) = api.get("/project", per_page=100).json()["projects"]
    assert (project["project_key"], project["project_text"]) == (key, "spring")
    assert isinstance(project["project_id"], int)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({}, "project_name", id="missing"),
        pytest.param({"project_name": ""}, "project_name", id="empty"),
        pytest.param({"project_name": "x" * 129}, "project_name", id="too-long"),
        pytest.param({"project_name": 5}, "project_name", id="number"),
        pytest.param([], None, id="list"),
    ],
)
def test_project_request_that_is_wrong_returns_validation_body(
    api: Any, body: Any, field: str | None
) -> None:
    """An invalid request returns 422 with ``error`` and ``detail``."""
    answer = api.post("/project", body)
    assert answer.status_code == 422
    assert answer.json()["error"] == "Invalid request"
    assert answer.json()["detail"][0]["field"] == field
    assert set(answer.json()["detail"][0]) == {"field", "message", "position"}


def test_pages_cover_all_items_once(api: Any) -> None:
    """Pages are 1-based, disjoint and complete, and state whether a next page exists."""
    keys = [api.project(f"p{number}") for number in range(5)]
    pages = [api.get("/project", page=page, per_page=2, order="asc").json() for page in (1, 2, 3)]
    assert [p["project_key"] for page in pages for p in page["projects"]] == keys
    assert [page["pagination"]["has_next"] for page in pages] == [True, True, False]
    assert pages[1]["pagination"] == {
        "page": 2,
        "per_page": 2,
        "total": 5,
        "pages": 3,
        "has_next": True,
        "has_prev": True,
    }


@pytest.mark.parametrize(
    "query", [{"page": "0"}, {"per_page": "101"}, {"per_page": "x"}, {"order": "up"}], ids=str
)
def test_page_query_out_of_range_is_refused(api: Any, query: dict[str, str]) -> None:
    """Paging values outside the documented ranges return a validation error for the query."""
    answer = api.get("/project", **query)
    assert (answer.status_code, answer.json()["detail"][0]["position"]) == (422, "query")


def test_upload_ticket_has_the_documented_fields(api: Any) -> None:
    """The response has five fields, a content type derived from the name, and a signed link."""
    ticket = api.post("/upload", {"filename": "model photo-1.PNG"}).json()
    assert set(ticket) == {"upload_url", "download_url", "file_id", "filename", "content_type"}
    assert (ticket["filename"], ticket["content_type"]) == ("model photo-1.PNG", "image/png")
    assert "X-Amz-Signature" in parse_qs(urlsplit(ticket["upload_url"]).query)


def test_upload_without_filename_gets_one(api: Any) -> None:
    """Without ``filename`` the upload gets a generated name."""
    assert api.post("/upload", {}).json()["filename"]


def test_uploaded_bytes_come_back(api: Any) -> None:
    """``download_url`` and the asset's ``url`` return the uploaded content, without a token."""
    ticket = api.post("/upload", {"filename": "a.jpg"}).json()
    requests.put(ticket["upload_url"], data=b"bytes", headers={"Content-Type": "image/jpeg"})
    asset = api.get(f"/assets/{ticket['file_id']}").json()
    assert api.fetch(ticket["download_url"]).content == b"bytes"
    assert api.fetch(asset["url"]).content == b"bytes"


@pytest.mark.parametrize(
    ("headers", "change", "status", "code"),
    [
        pytest.param(
            {"Content-Type": "image/png"}, ("", ""), 403, "SignatureDoesNotMatch", id="content-type"
        ),
        pytest.param({}, ("", ""), 403, "SignatureDoesNotMatch", id="no-content-type"),
        pytest.param(
            {"Content-Type": "image/jpeg", "Authorization": "Bearer piktid-emulator"},
            ("", ""),
            400,
            "InvalidArgument",
            id="bearer",
        ),
        pytest.param(
            {"Content-Type": "image/jpeg"}, ("%2F", "/"), 403, "SignatureDoesNotMatch", id="re-encoded"
        ),
        pytest.param(
            {"Content-Type": "image/jpeg"},
            ("Signature=", "Signature=0"),
            403,
            "SignatureDoesNotMatch",
            id="forged",
        ),
    ],
)
def test_put_that_is_not_as_signed_is_refused_as_s3_does(
    api: Any, headers: dict[str, str], change: tuple[str, str], status: int, code: str
) -> None:
    """A presigned PUT requires the signed content type and query, and no Authorization header."""
    url = api.post("/upload", {"filename": "a.jpg"}).json()["upload_url"]
    answer = requests.put(url.replace(*change), data=b"x", headers=headers)
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("application/xml")
    assert f"<Code>{code}</Code>" in answer.text


def test_put_after_the_link_expired_is_refused(api: Any) -> None:
    """An expired upload link is refused."""
    url = api.post("/upload", {"filename": "a.jpg"}).json()["upload_url"]
    api.server.state.clock.advance(901)
    answer = requests.put(url, data=b"x", headers={"Content-Type": "image/jpeg"})
    assert answer.status_code == 403
    assert "Request has expired" in answer.text


def test_put_without_length_is_refused(api: Any) -> None:
    """A chunked upload to a presigned link is refused, as by S3."""
    url = api.post("/upload", {"filename": "a.jpg"}).json()["upload_url"]
    answer = requests.put(url, data=iter([b"a", b"b"]), headers={"Content-Type": "image/jpeg"})
    assert answer.status_code == 411


def test_result_link_expires(api: Any) -> None:
    """An expired link to a file returns 403, and a new link works."""
    file_id = api.upload()
    link = api.get(f"/assets/{file_id}").json()["url"]
    api.server.state.clock.advance(3601)
    assert api.fetch(link).status_code == 403
    assert api.fetch(api.get(f"/assets/{file_id}").json()["url"]).status_code == 200


def test_asset_listing_shows_uploads_only(api: Any) -> None:
    """An upload without content is not an asset."""
    api.post("/upload", {"filename": "never.jpg"})
    done = api.upload("b.jpg")
    assert [asset["id"] for asset in api.get("/assets", search="b").json()["assets"]] == [done]
    assert api.get("/assets").json()["pagination"]["total"] == 1
