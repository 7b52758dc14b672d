# SPDX-License-Identifier: Apache-2.0
"""The code of the model-swap guide runs unchanged, except for address, token and paths."""

from __future__ import annotations

import hashlib
import hmac
import json
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import pytest
import requests

Received = SimpleQueue[tuple[dict[str, str], bytes]]


def upload_identity(api_url: str, access_token: str, identity_image_path: Path) -> dict[str, Any]:
    with open(identity_image_path, "rb") as f:
        response = requests.post(
            api_url + "/identity/upload",
            headers={"Authorization": "Bearer " + access_token},
            files={"image": f},
            data={"name": "Model A"},
        ).json()
    return dict(response)


def create_project(api_url: str, access_token: str) -> tuple[str, str]:
    response = requests.post(
        api_url + "/project",
        headers={"Authorization": "Bearer " + access_token},
        json={"project_name": "my-campaign"},
    ).json()
    return response["project_id"], response["project_name"]


def upload_image(api_url: str, access_token: str, project_name: str, image_path: Path) -> str:
    response = requests.post(
        api_url + "/upload",
        headers={"Authorization": "Bearer " + access_token},
        json={
            "project_name": project_name,
            "filename": "model-photo-1.jpg",
        },
    ).json()
    upload_url = response["upload_url"]
    content_type = response["content_type"]
    file_id = response["file_id"]
    with open(image_path, "rb") as f:
        requests.put(
            upload_url,
            headers={"Content-Type": content_type},
            data=f.read(),
        )
    return str(file_id)


def start_job(
    api_url: str, access_token: str, project_id: str, identity_code: str, file_ids: list[str]
) -> str:
    response = requests.post(
        api_url + "/model-swap",
        headers={"Authorization": "Bearer " + access_token},
        json={
            "identity_code": identity_code,
            "project_id": project_id,
            "images": file_ids,
            "post_process": False,
            "swap_options": {
                "model": "auto",
                "num_variations": 1,
            },
        },
    ).json()
    return str(response["job_id"])


def track(api_url: str, access_token: str, job_id: str) -> list[str]:
    names = []
    headers = {"Authorization": "Bearer " + access_token}
    with requests.get(
        api_url + "/notifications/events",
        headers=headers,
        stream=True,
        timeout=600,
    ) as response:
        response.raise_for_status()
        for raw_line in response.iter_lines(decode_unicode=True):
            if not raw_line or raw_line.startswith(":"):
                continue
            if not raw_line.startswith("data: "):
                continue
            notification = json.loads(raw_line[6:])
            data = notification.get("data", {})
            task_id = data.get("id_task") or data.get("job_id")
            if task_id != job_id:
                continue
            names.append(notification["name"])
            if notification["name"] == "completed":
                break
            if notification["name"] == "error":
                raise RuntimeError(str(data))
    return names


def retrieve(api_url: str, access_token: str, job_id: str) -> list[dict[str, Any]]:
    response = requests.get(
        api_url + f"/jobs/{job_id}/results",
        headers={"Authorization": "Bearer " + access_token},
    ).json()
    return [
        {"index": result["image_index"], "url": result["url"], "model_used": result.get("model_used")}
        for result in response["results"]
    ]


def download(api_url: str, access_token: str, job_id: str, path: Path) -> str:
    response = requests.post(
        api_url + "/download",
        headers={"Authorization": "Bearer " + access_token},
        json={"job_id": job_id},
    ).json()
    download_url = response["download_url"]
    expires = response["expires"]
    zip_response = requests.get(download_url)
    with open(path, "wb") as f:
        f.write(zip_response.content)
    return str(expires)


def verify_signature(secret: str, body: bytes, signature_header: str) -> bool:
    expected = "sha256=" + hmac.new(secret.encode("utf-8"), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, signature_header)


@pytest.fixture
def receiver() -> Iterator[tuple[str, Received]]:
    """A webhook receiver: its URL, and the deliveries."""
    received: Received = SimpleQueue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.put((dict(self.headers), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Do not log."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/webhooks/piktid", received
    server.shutdown()
    thread.join()
    server.server_close()


def test_guide_from_identity_to_zip_runs_to_its_end(
    serve: Callable[..., Any], photo: bytes, tmp_path: Path
) -> None:
    """All snippets of the guide work in order: identity, project, upload, job, stream, results, ZIP."""
    api_url, access_token = serve(transform=True, job_seconds=0.2).url, "piktid-emulator"
    image_path = tmp_path / "image.jpg"
    image_path.write_bytes(photo)

    identity = upload_identity(api_url, access_token, image_path)
    assert {k: identity[k] for k in ("name", "face_detected", "success")} == {
        "name": "Model A",
        "face_detected": True,
        "success": True,
    }
    project_id, project_name = create_project(api_url, access_token)
    assert project_name == "my-campaign"
    file_ids = [upload_image(api_url, access_token, project_name, image_path) for _ in range(2)]
    job_id = start_job(api_url, access_token, project_id, identity["identity_code"], file_ids)

    names = track(api_url, access_token, job_id)
    assert names == ["batch_edit", "image_result", "image_result", "batch_edit", "completed"]

    results = retrieve(api_url, access_token, job_id)
    assert [(r["index"], r["model_used"]) for r in results] == [(0, "onda"), (1, "onda")]
    pictures = [requests.get(r["url"]).content for r in results]
    assert all(picture.startswith(b"\xff\xd8") and picture != photo for picture in pictures)

    expires = download(api_url, access_token, job_id, tmp_path / "results.zip")
    assert expires.endswith("Z")
    with zipfile.ZipFile(tmp_path / "results.zip") as archive:
        assert sorted(archive.read(name) for name in archive.namelist()) == sorted(pictures)


def test_guide_webhook_receives_the_end_of_the_job_with_a_good_signature(
    serve: Callable[..., Any], receiver: tuple[str, Received]
) -> None:
    """The receiver of the guide verifies each delivery and gets ``completed`` with the job id."""
    api = serve()
    address, received = receiver
    setup = requests.put(
        api.url + "/webhooks",
        headers={"Authorization": "Bearer piktid-emulator"},
        json={"url": address},
    ).json()
    job_id = api.run()
    seen = []
    while "completed" not in seen:
        headers, body = received.get(timeout=60)
        assert verify_signature(setup["secret"], body, headers["X-Webhook-Signature"])
        notification = json.loads(body)
        assert headers["X-Webhook-Event"] == notification["name"]
        seen.append(notification["name"])
        if notification["name"] != "ping":
            assert (notification["data"].get("id_task") or notification["data"].get("job_id")) == job_id
    assert "ping" in seen
