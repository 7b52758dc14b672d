# SPDX-License-Identifier: Apache-2.0
"""What each call makes of the answers that the sources describe."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from airflow_provider_piktid.client import AsyncPiktidClient
from airflow_provider_piktid.exceptions import (
    PiktidConfigError,
    PiktidConflictError,
    PiktidLinkError,
    PiktidNotFoundError,
)

pytestmark = pytest.mark.anyio

Make = Callable[..., Any]
PAGES = {"page": 1, "per_page": 100, "total": 2, "pages": 1, "has_next": False, "has_prev": False}
LISTED = {"projects": [{"project_id": 7, "project_key": "prj-7", "project_text": "spring"}]}
TICKET = {
    "upload_url": "https://s3.example/put?sig=a%2Fb",
    "download_url": "https://s3.example/get",
    "file_id": "f-1",
    "filename": "a.jpg",
    "content_type": "image/jpeg",
}


def reply(status: int = 200, value: Any = None, **options: Any) -> httpx.Response:
    return httpx.Response(status, json=value, **options)


@pytest.mark.parametrize(
    ("replies", "calls"),
    [
        pytest.param([reply(201, {"project_id": "prj-7", "project_name": "spring"})], 1, id="created, 201"),
        pytest.param([reply(200, {"project_id": "prj-7", "project_name": "spring"})], 1, id="created, 200"),
        pytest.param([reply(200, {"project_id": "prj-7"})], 1, id="created, no name in the answer"),
        pytest.param([reply(409, {"project_id": "prj-7"})], 1, id="taken, id given"),
        pytest.param([reply(409, {"project_id": 7}), reply(200, LISTED)], 2, id="taken, number given"),
        pytest.param([reply(409, {"project_id": 7, "project_key": "prj-7"})], 1, id="taken, key and number"),
        pytest.param([httpx.Response(409), reply(200, LISTED)], 2, id="taken, no body"),
        pytest.param([reply(200, {"project_id": 7}), reply(200, LISTED)], 2, id="created, number given"),
    ],
)
async def test_ensure_project_always_gives_the_text_id(
    script: Make, replies: list[httpx.Response], calls: int
) -> None:
    """The text id is returned both for a new project and for an existing name."""
    service = script(*replies)
    async with service.client() as client:
        project = await client.ensure_project("spring")
    assert (project.project_id, project.project_name, len(service.requests)) == ("prj-7", "spring", calls)


async def test_ensure_project_conflict_without_match_is_raised(script: Make) -> None:
    """A name that is taken by an unlisted project is an error; no other project is returned."""
    service = script(httpx.Response(409), reply(200, LISTED))
    async with service.client() as client:
        with pytest.raises(PiktidConflictError):
            await client.ensure_project("summer")


@pytest.mark.parametrize("name", ["", " ", "x" * 129], ids=["empty", "blank", "too long"])
async def test_ensure_project_impossible_name_is_refused_before_sending(script: Make, name: str) -> None:
    """A name that does not have 1 to 128 characters raises before any request."""
    service = script(reply())
    async with service.client() as client:
        with pytest.raises(ValueError, match="project name"):
            await client.ensure_project(name)
    assert service.requests == []


@pytest.mark.parametrize(
    ("pages", "calls"),
    [
        pytest.param([[1], [2]], 2, id="two pages by has_next"),
        pytest.param([[1, 2]], 1, id="one page"),
        pytest.param([[]], 1, id="nothing"),
    ],
)
async def test_iter_identities_follows_pages(script: Make, pages: list[list[int]], calls: int) -> None:
    """Listings are read to their last page."""
    replies = [
        reply(
            200,
            {
                "identities": [{"identity_code": f"id-{n}"} for n in page],
                "pagination": PAGES | {"page": at + 1, "has_next": at + 1 < len(pages)},
            },
        )
        for at, page in enumerate(pages)
    ]
    service = script(*replies)
    async with service.client() as client:
        found = [identity.identity_code async for identity in client.iter_identities(ownership="mine")]
    assert found == [f"id-{n}" for page in pages for n in page]
    assert len(service.requests) == calls
    assert "ownership=mine" in service.lines[0]


async def test_iter_projects_endless_listing_ends(script: Make) -> None:
    """A server that repeats the same page does not block the task forever."""
    service = script(reply(200, LISTED | {"pagination": PAGES | {"has_next": True}}))
    async with service.client() as client:
        assert len([project async for project in client.iter_projects()]) == 1
    assert len(service.requests) == 2


async def test_iter_projects_without_pagination_reads_full_pages_on(script: Make) -> None:
    """Without pagination data the next page is requested after a full page."""
    full = {"projects": [{"project_key": f"p-{n}"} for n in range(100)]}
    service = script(reply(200, full), reply(200, LISTED))
    async with service.client() as client:
        assert len([project async for project in client.iter_projects()]) == 101
    assert service.lines[1] == "GET /project?page=2&per_page=100"


@pytest.mark.parametrize("key", ["existing_identity_code", "identity_code"])
async def test_upload_identity_taken_name_is_adopted(script: Make, key: str) -> None:
    """After HTTP 409 the existing identity is returned, with the code under either key."""
    service = script(reply(409, {key: "id-9"}), reply(200, {"identity_code": "id-9", "name": "Ann"}))
    async with service.client() as client:
        identity = await client.upload_identity("ann.jpg", b"jpeg", name="Ann")
    assert (identity.identity_code, service.lines[1]) == ("id-9", "GET /identity/id-9")


async def test_upload_identity_bare_conflict_is_looked_up_by_name(script: Make) -> None:
    """409 without a code: the identity is found in the listing, by its exact name."""
    listed = [{"identity_code": "id-1", "name": "Anna"}, {"identity_code": "id-2", "name": "Ann"}]
    service = script(httpx.Response(409), reply(200, {"identities": listed}))
    async with service.client() as client:
        identity = await client.upload_identity("ann.jpg", b"jpeg", name="Ann")
    assert identity.identity_code == "id-2"


async def test_upload_identity_without_name_is_not_repeated_after_a_lost_reply(script: Make) -> None:
    """Without a name the upload is not repeated after a lost reply."""
    service = script(httpx.ReadError("x"))
    async with service.client() as client:
        with pytest.raises(Exception, match="was lost"):
            await client.upload_identity("ann.jpg", b"jpeg")
    assert len(service.requests) == 1


async def test_upload_image_requests_another_link_after_an_expired_one(script: Make) -> None:
    """A 403 of the storage means a new ticket, not a wrong token."""
    service = script(
        reply(200, TICKET), httpx.Response(403), reply(200, TICKET | {"file_id": "f-2"}), reply()
    )
    async with service.client() as client:
        ticket = await client.upload_image("a.jpg", b"jpeg")
    assert ticket.file_id == "f-2"
    assert [line.split("?")[0] for line in service.lines] == ["POST /upload", "PUT /put"] * 2


async def test_upload_image_link_that_never_works_ends(script: Make) -> None:
    """After three refused links ``PiktidLinkError`` is raised."""
    service = script(*[reply(200, TICKET), httpx.Response(403)] * 3)
    async with service.client() as client:
        with pytest.raises(PiktidLinkError):
            await client.upload_image("a.jpg", b"jpeg")
    assert len(service.requests) == 6


@pytest.mark.parametrize("status", [200, 202, 204, 404])
async def test_delete_notification_gone_is_deleted(script: Make, status: int) -> None:
    """HTTP 2xx and a missing notification both count as deleted."""
    service = script(httpx.Response(status))
    async with service.client() as client:
        await client.delete_notification(41)
    assert service.lines == ["DELETE /notifications/41"]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param([{"id": 1, "name": "completed", "data": {"job_id": "j"}}], id="bare array"),
        pytest.param({"notifications": [{"id": 1, "data": {"id_task": "j"}}]}, id="in an object"),
    ],
)
async def test_list_notifications_takes_both_shapes(script: Make, answer: Any) -> None:
    """The documented array, and an object around it."""
    service = script(reply(200, answer))
    async with service.client() as client:
        found = await client.list_notifications(["completed", "error"], job_ids=["j"])
    assert [(item.id, item.job_id) for item in found] == [(1, "j")]
    assert json.loads(service.bodies[0]) == {"name_list": ["completed", "error"], "id_task": ["j"]}


async def test_iter_gallery_jobs_sends_its_filters(script: Make) -> None:
    """Filters that are not given are not sent."""
    service = script(reply(200, {"jobs": [{"job_id": "j"}], "pagination": PAGES}))
    async with service.client() as client:
        assert [job.job_id async for job in client.iter_gallery_jobs(project_id=7)] == ["j"]
    assert service.lines == ["GET /gallery/by-job?page=1&per_page=100&project_id=7&order=desc"]


@pytest.mark.parametrize(
    ("call", "line", "body"),
    [
        pytest.param(
            lambda c: c.regenerate_image("j", 2, group_index=1),
            "POST /jobs/j/regenerate/2?group_index=1",
            None,
            id="regenerate",
        ),
        pytest.param(lambda c: c.test_webhook(), "POST /webhooks/test", None, id="test webhook"),
        pytest.param(lambda c: c.get_job("a/b"), "GET /jobs/a%2Fb/status", None, id="odd job id"),
        pytest.param(
            lambda c: c.get_credits_used("2026-01-01", None, "day"),
            "GET /billing/credits?start_date=2026-01-01&resolution=day",
            None,
            id="credits",
        ),
        pytest.param(
            lambda c: c.create_bulk_download(["a", "b"]),
            "POST /download/bulk",
            {"job_ids": ["a", "b"]},
            id="bulk download",
        ),
        pytest.param(lambda c: c.get_identity_status("x"), "GET /identity/x/status", None, id="identity"),
        pytest.param(lambda c: c.get_image_versions("j", 0), "GET /jobs/j/versions/0", None, id="versions"),
        pytest.param(lambda c: c.get_webhook(), "GET /webhooks", None, id="get webhook"),
        pytest.param(
            lambda c: c.promote_identity(501),
            "POST /identity/promote-generated",
            {"image_result_id": 501},
            id="promotion",
        ),
        pytest.param(
            lambda c: c.extract_preset("f"),
            "POST /preset/extract-from-image",
            {"file_id": "f", "type": "flat_2_model"},
            id="preset",
        ),
    ],
)
async def test_call_sends_the_documented_request(
    script: Make, call: Callable[[AsyncPiktidClient], Any], line: str, body: Any
) -> None:
    """Method, path, query and body; the token goes with it."""
    answer = {
        "status": "pending",
        "identity_code": "i",
        "instruction_data": {},
        "preprocessing_status": "pending",
        "download_url": "https://h/x",
        "versions": [],
    }
    service = script(reply(200, answer))
    async with service.client() as client:
        await call(client)
    assert service.lines == [line]
    assert service.bodies == [b""] if body is None else [json.loads(service.bodies[0])] == [body]
    assert service.requests[0].headers["authorization"].startswith("Bearer tok-")


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda c: c.get_job(".."), id="dots as job id"),
        pytest.param(lambda c: c.get_job(""), id="empty job id"),
        pytest.param(lambda c: c.upload_identity("a.jpg", b""), id="empty picture"),
        pytest.param(lambda c: c.create_bulk_download([]), id="no jobs"),
        pytest.param(lambda c: c.create_bulk_download("job-1"), id="a text instead of a list"),
        pytest.param(lambda c: c.list_notifications([]), id="no event names"),
        pytest.param(lambda c: c.set_webhook("ftp://x"), id="webhook by ftp"),
        pytest.param(lambda c: c.get_credits_used(resolution="year"), id="unknown resolution"),
        pytest.param(lambda c: c.request_upload(""), id="no file name"),
        pytest.param(lambda c: c.promote_identity("501"), id="number of a draft as text"),
        pytest.param(lambda c: c.promote_identity(501, name=" "), id="blank name of an identity"),
        pytest.param(lambda c: c.extract_preset(""), id="preset without a file"),
    ],
)
async def test_call_with_a_wrong_argument_sends_nothing(
    script: Make, call: Callable[[AsyncPiktidClient], Any]
) -> None:
    """Invalid arguments raise ``ValueError`` before any request."""
    service = script(reply())
    async with service.client() as client:
        with pytest.raises(ValueError, match=r"must|cannot"):
            await call(client)
    assert service.requests == []


async def test_draft_that_was_promoted_before_is_a_success(script: Make) -> None:
    """The 409 of a draft that was promoted before names its identity, which is returned."""
    service = script(reply(409, {"error": "x", "identity_code": "id-1"}))
    async with service.client() as client:
        identity = await client.promote_identity(501)
    assert (identity.identity_code, identity.promoted_before) == ("id-1", True)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"error": "x"}, id="bare"),
        pytest.param({"existing_identity_code": "id-2"}, id="identity with the same name"),
        pytest.param({"identity_code": ""}, id="empty code"),
        pytest.param({"identity_code": {"code": "id-1"}}, id="object as code"),
        pytest.param([], id="list"),
    ],
)
async def test_other_conflict_of_a_promotion_is_an_error(script: Make, body: Any) -> None:
    """A 409 that does not name the draft's identity is a conflict, whatever else it names."""
    service = script(reply(409, body))
    async with service.client() as client:
        with pytest.raises(PiktidConflictError):
            await client.promote_identity(501)


async def test_preset_has_no_links(script: Make) -> None:
    """What a preset contains goes to other tasks: links in it are replaced, at any depth."""
    data = {"prompt": "soft light", "look": [{"of": "see https://h/x?sig=1"}], "seed": 7, "nothing": None}
    service = script(reply(200, {"instruction_data": data}))
    async with service.client() as client:
        preset = await client.extract_preset("f")
    assert preset.instruction_data == data | {"look": [{"of": "see <link>"}]}


async def test_get_job_new_job_is_not_found(script: Make) -> None:
    """404 is raised: only the caller knows whether the job is new."""
    service = script(httpx.Response(404))
    async with service.client() as client:
        with pytest.raises(PiktidNotFoundError) as caught:
            await client.get_job("job-1")
    assert (caught.value.status, caught.value.path, len(service.requests)) == (404, "/jobs/job-1/status", 1)


@pytest.mark.parametrize("token", ["", "  ", "a b", "a\nb", "é", "a\x00"], ids=repr)
def test_client_token_unfit_for_a_header_is_a_configuration_error(script: Make, token: str) -> None:
    """An invalid token raises ``PiktidConfigError`` with the connection's name."""
    with pytest.raises(PiktidConfigError) as caught:
        AsyncPiktidClient(token, label="my_conn")
    assert "my_conn" in str(caught.value)


def test_client_repr_shows_no_token(script: Make) -> None:
    """The ``repr`` of a client does not contain the token."""
    assert "secret" not in repr(script(reply()).client())
