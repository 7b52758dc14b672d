# SPDX-License-Identifier: Apache-2.0
"""
Each call of the person guide as it is written there with `requests`, against what the v1 client sends.

The snippets stay as the document has them, down to the string concatenation.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import requests_mock

from airflow_provider_piktid.client import AsyncPiktidV1Client
from tests.client.test_documentation_parity import Sent, sent

pytestmark = pytest.mark.anyio

api_url = "https://api.piktid.com/api"
access_token = "your_access_token"
image_id = "67762577"
person_id = 0
keyword = {"Location": "East Asia"}
PICTURE = b"\x89PNG\r\n\x1a\n a picture"

Call = Callable[[AsyncPiktidV1Client], Awaitable[Any]]


def upload(path: Path) -> None:
    target_path = path
    with open(target_path, "rb") as target:
        requests.post(
            api_url + "/edit/target",
            headers={"Authorization": "Bearer " + access_token},
            files={"file": target},
        ).json()


def generate(path: Path) -> None:
    requests.post(
        api_url + "/edit/generate",
        headers={"Authorization": "Bearer " + access_token},
        json={
            "id_image": image_id,
            "id_person": person_id,
            "keyword": json.dumps(keyword),
            "category": "person",
        },
    )


def poll(path: Path) -> None:
    requests.post(
        api_url + "/notification_by_name_json",
        headers={"Authorization": "Bearer " + access_token},
        json={"name_list": "edit_generate,error"},
    ).json()


def delete(path: Path) -> None:
    notification_id = 9
    requests.delete(
        api_url + "/notification/delete_json",
        headers={"Authorization": "Bearer " + access_token},
        json={"id": notification_id},
    )


def with_requests(snippet: Callable[[Path], None], path: Path) -> Sent:
    with requests_mock.Mocker() as mocker:
        mocker.register_uri(requests_mock.ANY, requests_mock.ANY, json={})
        snippet(path)
        (last,) = mocker.request_history
    headers = {name.lower(): value for name, value in last.headers.items()}
    content = last.body.encode() if isinstance(last.body, str) else last.body
    return sent(str(last.method), last.url, headers, content)


async def with_client(call: Call) -> Sent:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"id_image": image_id, "notifications_list": []})

    async with AsyncPiktidV1Client(access_token, transport=httpx.MockTransport(answer)) as client:
        await call(client)
    (last,) = seen
    return sent(last.method, str(last.url), last.headers, last.content)


@pytest.mark.parametrize(
    ("snippet", "call"),
    [
        pytest.param(upload, lambda api: api.upload_target(PICTURE, filename="target.png"), id="upload"),
        pytest.param(generate, lambda api: api.generate(image_id, person_id, keyword), id="generate"),
        pytest.param(poll, lambda api: api.list_notifications(), id="notifications"),
        pytest.param(delete, lambda api: api.delete_notification(9), id="delete"),
    ],
)
async def test_call_is_the_documented_one(
    snippet: Callable[[Path], None], call: Call, tmp_path: Path
) -> None:
    """Method, address, authorization, content type and body are what the guide's code sends."""
    path = tmp_path / "target.png"
    path.write_bytes(PICTURE)
    assert await with_client(call) == with_requests(snippet, path)
