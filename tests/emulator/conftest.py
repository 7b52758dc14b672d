# SPDX-License-Identifier: Apache-2.0
"""An emulator on a socket, and a plain HTTP caller that shares no code with the package's client."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests
from PIL import Image

from airflow_provider_piktid.emulator import EmulatorServer, Settings

QUICK: dict[str, Any] = {
    "job_seconds": 0.02,
    "post_process_seconds": 0.02,
    "preprocessing_seconds": 0.02,
    "jobs_per_minute": 0,
    "active_jobs": 0,
    "transform": False,
}


class Api:
    """Call the API as documented."""

    def __init__(self, server: EmulatorServer) -> None:
        self.server = server
        self.url = server.url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {server.settings.token}"

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.session.request(method, self.url + path, timeout=20, **more)

    def get(self, path: str, **query: Any) -> requests.Response:
        return self.call("GET", path, params=query)

    def post(self, path: str, body: Any = None, **more: Any) -> requests.Response:
        return self.call("POST", path, json=body, **more)

    def fetch(self, url: str) -> requests.Response:
        """Fetch a link without a token."""
        return requests.get(url, timeout=20)

    def project(self, name: str = "spring") -> str:
        answer = self.post("/project", {"project_name": name}).json()
        return str(answer["project_id"])

    def upload(self, filename: str = "front.jpg", data: bytes = b"picture") -> str:
        ticket = self.post("/upload", {"filename": filename}).json()
        sent = requests.put(
            ticket["upload_url"], data=data, headers={"Content-Type": ticket["content_type"]}, timeout=20
        )
        assert sent.status_code == 200, sent.text
        return str(ticket["file_id"])

    def swap(self, images: list[str] | None = None, **more: Any) -> requests.Response:
        """Submit a job; create a project and upload a picture if missing."""
        known = self.server.state.v2.projects
        key = next(iter(known), None) or self.project()
        body = {
            "identity_code": "PiktidSummer",
            "project_id": key,
            "images": [self.upload()] if images is None else images,
            **more,
        }
        return self.post("/model-swap", body)

    def start(self, images: list[str] | None = None, **more: Any) -> str:
        """Submit a job and return its id."""
        answer = self.swap(images, **more)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    def run(self, images: list[str] | None = None, **more: Any) -> str:
        """Submit a job, wait for its end, return its id."""
        job_id = self.start(images, **more)
        self.await_event(lambda event: ended(event, job_id))
        return job_id

    def events(self, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield the notifications of a stream."""
        with self.call("GET", "/notifications/events", params=query, stream=True) as response:
            response.raise_for_status()
            for line in response.iter_lines(decode_unicode=True):
                if line.startswith("data: {") and '"name"' in line:
                    yield json.loads(line[6:])

    def await_event(self, wanted: Callable[[dict[str, Any]], bool], **query: Any) -> dict[str, Any]:
        """Return the first matching notification, from backfill or live."""
        return next(event for event in self.events(**query) if wanted(event))


def ended(event: dict[str, Any], job_id: str) -> bool:
    """Return whether an event reports the end of a job."""
    data = event["data"]
    return (
        data.get("job_id") == job_id
        and data.get("status") in ("completed", "failed", "aborted")
        and (event["name"] == "batch_edit")
    )


Serve = Callable[..., Api]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start emulators with settings and ``variants``; they stop after the test."""
    with ExitStack() as stack:

        def start(**settings: Any) -> Api:
            api = Api(stack.enter_context(EmulatorServer(Settings(**{**QUICK, **settings}))))
            stack.callback(api.session.close)
            return api

        yield start


@pytest.fixture
def api(serve: Serve) -> Api:
    """A fast emulator without image processing."""
    return serve()


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A real photograph of a person, JPEG, 512 x 512."""
    from skimage import data

    out = io.BytesIO()
    Image.fromarray(data.astronaut()).save(out, "JPEG", quality=92)
    return out.getvalue()


@pytest.fixture(scope="session")
def landscape() -> bytes:
    """A picture without a face, PNG, 320 x 200."""
    out = io.BytesIO()
    Image.linear_gradient("L").resize((320, 200)).convert("RGB").save(out, "PNG")
    return out.getvalue()
