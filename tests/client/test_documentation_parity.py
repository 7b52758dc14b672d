# SPDX-License-Identifier: Apache-2.0
"""
Each call as the documents write it with `requests`, against what the client sends for the same intent.

The snippets stay as the documents have them, down to the string concatenation.
"""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
import requests
import requests_mock

from airflow_provider_piktid.client import AsyncPiktidClient
from airflow_provider_piktid.models import UploadTicket
from airflow_provider_piktid.models.model_swap import ModelSwap

pytestmark = pytest.mark.anyio

api_url = "https://v2.api.piktid.com"
access_token = "your_access_token"
upload_url = "https://s3.example/bucket/img?X-Amz-Credential=a%2Fb&X-Amz-Signature=x%2By"
download_url = "https://v2.api.piktid.com/download/token123"
JPEG = b"\xff\xd8\xff\xe0 a picture"

#: One answer that satisfies every call.
ANSWER: dict[str, Any] = {
    "identity_code": "id_xyz",
    "name": "Model A",
    "project_id": "abc123",
    "project_name": "my-campaign",
    "upload_url": upload_url,
    "download_url": download_url,
    "file_id": "img_001",
    "content_type": "image/jpeg",
    "job_id": "job_abc123",
    "status": "pending",
    "results": [],
    "identities": [],
    "expires": "2024-12-17T11:00:00Z",
    "url": "https://example.com/webhooks/piktid",
    "secret": "s",
}


@dataclass(frozen=True)
class Sent:
    """The parts of a request that the server sees and the documents state."""

    method: str
    address: str
    query: tuple[tuple[str, str], ...]
    authorization: str | None
    content_type: str
    body: Any


def sent(method: str, url: str, headers: Any, content: bytes) -> Sent:
    parts = urlsplit(url)
    content_type = headers.get("content-type") or ""
    body: Any = content
    if content_type.startswith("application/json"):
        body = json.loads(content)
    elif content_type.startswith("multipart/form-data"):
        body, content_type = multipart(content_type, content), "multipart/form-data"
    return Sent(
        method,
        f"{parts.scheme}://{parts.netloc}{parts.path}",
        tuple(parse_qsl(parts.query)),
        headers.get("authorization"),
        content_type,
        body,
    )


def multipart(content_type: str, content: bytes) -> dict[str, tuple[str | None, bytes]]:
    """Name, file name and content of each part."""
    message = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + content)
    found: dict[str, tuple[str | None, bytes]] = {}
    for part in message.get_payload():
        assert isinstance(part, Message)
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        found[str(name)] = (part.get_filename(), payload)
    return found


def with_requests(snippet: Callable[[], Any]) -> Sent:
    """Run a snippet of the documents and return its last request."""
    with requests_mock.Mocker() as mocker:
        mocker.register_uri(requests_mock.ANY, requests_mock.ANY, json=ANSWER)
        snippet()
        last = mocker.request_history[-1]
    body = last.body
    content = body.encode() if isinstance(body, str) else body or b""
    return sent(
        str(last.method), last.url, {key.lower(): value for key, value in last.headers.items()}, content
    )


async def with_client(call: Callable[[AsyncPiktidClient], Awaitable[Any]]) -> Sent:
    """Run the client and return its last request."""
    history: list[Sent] = []

    async def handle(request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        # The bytes of the target, not httpx's own idea of the URL.
        url = f"{request.url.scheme}://{request.url.netloc.decode()}{request.url.raw_path.decode()}"
        history.append(sent(request.method, url, request.headers, content))
        if request.url.path == "/notifications/events":
            return httpx.Response(200, headers={"content-type": "text/event-stream"})
        return httpx.Response(200, json=ANSWER)

    async with AsyncPiktidClient(access_token, transport=httpx.MockTransport(handle)) as client:
        await call(client)
    return history[-1]


def documented_file() -> io.BytesIO:
    """Return what `open("path/to/identity.jpg", "rb")` returns, without a file."""
    file = io.BytesIO(JPEG)
    file.name = "path/to/identity.jpg"
    return file


def identity_upload() -> Any:
    f = documented_file()
    return requests.post(
        api_url + "/identity/upload",
        headers={"Authorization": "Bearer " + access_token},
        files={"image": f},
        data={"name": "Model A"},
    ).json()


def project_creation() -> Any:
    return requests.post(
        api_url + "/project",
        headers={"Authorization": "Bearer " + access_token},
        json={"project_name": "my-campaign"},
    ).json()


def upload_request() -> Any:
    return requests.post(
        api_url + "/upload",
        headers={"Authorization": "Bearer " + access_token},
        json={"project_name": "my-campaign", "filename": "model-photo-1.jpg"},
    ).json()


def upload_put() -> Any:
    content_type = "image/jpeg"
    f = documented_file()
    return requests.put(
        upload_url,
        headers={"Content-Type": content_type},
        data=f.read(),
    )


def model_swap() -> Any:
    return requests.post(
        api_url + "/model-swap",
        headers={"Authorization": "Bearer " + access_token},
        json={
            "identity_code": "id_xyz",
            "project_id": "abc123",
            "images": ["img_001", "img_002", "img_003"],
            "post_process": False,
            "swap_options": {"model": "auto", "num_variations": 1},
        },
    ).json()


IMAGES = ["img_001", "img_002", "img_003"]


def swap(**options: Any) -> ModelSwap:
    return ModelSwap(identity_code="id_xyz", project_id="abc123", **options)


def notification_stream() -> Any:
    headers = {"Authorization": "Bearer " + access_token}
    return requests.get(api_url + "/notifications/events", headers=headers, stream=True, timeout=600)


def notification_deletion() -> Any:
    return requests.delete(
        api_url + "/notifications/12345", headers={"Authorization": "Bearer " + access_token}
    )


def webhook_setup() -> Any:
    public_webhook_url = "https://example.com/webhooks/piktid"
    return requests.put(
        api_url + "/webhooks",
        headers={"Authorization": "Bearer " + access_token},
        json={"url": public_webhook_url},
    ).json()


def job_results() -> Any:
    job_id = "job_abc123"
    return requests.get(
        api_url + f"/jobs/{job_id}/results",
        headers={"Authorization": "Bearer " + access_token},
    ).json()


def download_link() -> Any:
    return requests.post(
        api_url + "/download",
        headers={"Authorization": "Bearer " + access_token},
        json={"job_id": "job_abc123"},
    ).json()


def zip_download() -> Any:
    return requests.get(download_url)


async def read_stream(client: AsyncPiktidClient) -> None:
    async for _ in client.stream_notifications():
        pass


async def drop(stream: Any) -> None:
    async for _ in stream.chunks():
        pass


TICKET = UploadTicket(upload_url=upload_url, file_id="img_001", content_type="image/jpeg")


@pytest.mark.parametrize(
    ("snippet", "call"),
    [
        pytest.param(
            identity_upload, lambda c: c.upload_identity("identity.jpg", JPEG, name="Model A"), id="identity"
        ),
        pytest.param(project_creation, lambda c: c.ensure_project("my-campaign"), id="project"),
        pytest.param(
            upload_request,
            lambda c: c.request_upload("model-photo-1.jpg", project_name="my-campaign"),
            id="upload request",
        ),
        pytest.param(upload_put, lambda c: c.put_upload(TICKET, JPEG), id="upload put"),
        pytest.param(model_swap, lambda c: c.create_job(swap(), IMAGES), id="model swap"),
        pytest.param(notification_stream, read_stream, id="stream"),
        pytest.param(notification_deletion, lambda c: c.delete_notification(12345), id="delete notification"),
        pytest.param(
            webhook_setup, lambda c: c.set_webhook("https://example.com/webhooks/piktid"), id="webhook"
        ),
        pytest.param(job_results, lambda c: c.get_job_results("job_abc123"), id="results"),
        pytest.param(download_link, lambda c: c.create_download("job_abc123"), id="download link"),
        pytest.param(zip_download, lambda c: c.fetch(download_url, drop), id="zip"),
    ],
)
async def test_client_sends_what_the_documents_write(
    snippet: Callable[[], Any], call: Callable[[AsyncPiktidClient], Awaitable[Any]]
) -> None:
    """Method, address, query, authorization, content type and body are equal, part by part."""
    assert await with_client(call) == with_requests(snippet)


@pytest.mark.parametrize(
    ("documented", "job"),
    [
        pytest.param(
            {"model": "nano_banana_pro", "num_variations": 2},
            swap(model="nano_banana_pro", num_variations=2),
            id="engine and variations",
        ),
        pytest.param({"add_ai_watermark": True}, swap(add_ai_watermark=True), id="disclosure mark"),
    ],
)
async def test_swap_options_of_the_documents_reach_the_body(
    documented: dict[str, Any], job: ModelSwap
) -> None:
    """The documents' other bodies: what they name is there, and the rest has the documented defaults."""
    body = (await with_client(lambda client: client.create_job(job, IMAGES))).body
    assert body["swap_options"] == {"model": "auto", "num_variations": 1} | documented


async def test_post_processing_of_the_documents_is_sent() -> None:
    """`post_process` is next to the options."""
    body = (await with_client(lambda client: client.create_job(swap(post_process=True), IMAGES))).body
    assert body["post_process"] is True
