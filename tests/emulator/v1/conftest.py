# SPDX-License-Identifier: Apache-2.0
"""A plain caller of the v1 API, and a picture of several persons."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pytest
import requests
from PIL import Image, ImageFilter, ImageOps

QUICK: dict[str, Any] = {"generate_seconds": 0.01, "mask_seconds": 0.0}


class V1:
    """Call the API as documented."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self.server = api.server
        self.state = api.server.state
        self.url = api.url + "/api"
        self.published: SimpleQueue[Any] = SimpleQueue()
        self.state.v1.notifications.listeners.append(self.published.put)

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
        answer: requests.Response = self.api.call(method, "/api" + path, json=body, **more)
        return answer

    def target(self, data: bytes, filename: str = "team.jpg", **form: str) -> requests.Response:
        return self.call("POST", "/edit/target", files={"file": (filename, data)}, data=form)

    def upload(self, data: bytes | None = None) -> str:
        """Upload a picture, by default one of a single colour, and return its id."""
        answer = self.target(plain() if data is None else data).json()
        return str(answer.get("id_image", answer.get("image_id")))

    def generate(
        self, id_image: str, id_person: Any = 0, word: Any = "Oceania", **more: Any
    ) -> requests.Response:
        keyword = json.dumps({"Location": word})
        body = {"id_image": id_image, "id_person": id_person, "keyword": keyword, "category": "person"}
        body = {name: value for name, value in {**body, **more}.items() if value is not None}
        return self.call("POST", "/edit/generate", body)

    def notifications(self, **body: Any) -> list[Any]:
        answer = self.call("POST", "/notification_by_name_json", body)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["notifications_list"])

    def ended(self, count: int = 1) -> list[Any]:
        """Wait for ``count`` more notifications and return them."""
        return [self.published.get(timeout=20) for _ in range(count)]

    def run(self, *args: Any, **more: Any) -> dict[str, Any]:
        """Generate, wait for the end, and return the listed notification."""
        answer = self.generate(*args, **more)
        assert answer.status_code == 200, answer.text
        self.ended()
        return dict(self.notifications()[-1])

    def picture(self, notification: dict[str, Any]) -> Image.Image:
        """Fetch the finished picture, without a token."""
        answer = self.api.fetch(notification["data"]["links"][0]["l"])
        assert answer.status_code == 200, answer.text
        return Image.open(io.BytesIO(answer.content)).convert("RGB")


def plain(colour: str = "gray", kind: str = "PNG") -> bytes:
    """Return a small picture of one colour."""
    out = io.BytesIO()
    Image.new("RGB", (120, 90), colour).save(out, kind)
    return out.getvalue()


@pytest.fixture
def serve_v1(serve: Callable[..., Any]) -> Callable[..., V1]:
    """Start emulators with settings, with v1 callers."""
    return lambda **settings: V1(serve(**{**QUICK, **settings}))


@pytest.fixture
def v1(serve_v1: Callable[..., V1]) -> V1:
    """A fast emulator without image processing that reports four persons in each picture."""
    return serve_v1(faces=4)


@pytest.fixture(scope="session")
def team(photo: bytes) -> bytes:
    """A picture of three persons, the rightmost blurred; PNG, 1350 x 512."""
    person = Image.open(io.BytesIO(photo)).convert("RGB").crop((30, 0, 480, 512))
    picture = Image.new("RGB", (1350, 512))
    picture.paste(person, (0, 0))
    picture.paste(ImageOps.mirror(person), (450, 0))
    picture.paste(person.filter(ImageFilter.GaussianBlur(3)), (900, 0))
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=1)
    return out.getvalue()
