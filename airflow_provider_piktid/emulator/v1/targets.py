# SPDX-License-Identifier: Apache-2.0
"""Upload pictures to v1, and detect the persons in them."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..blobs import Blob
from ..clock import iso
from ..faces import UnreadablePicture, open_picture
from ..faults import TARGET, TARGET_KINDS
from ..state import State
from ..wire import json_in, read_object
from .entities import Person, Target
from .persons import persons_in, persons_on_grid
from .refusals import invalid, refusal

MOST_PERSONS = 30
LARGEST = 100 * 1024**2
FETCH_SECONDS = 20.0


async def upload_target(request: Request, state: State) -> Response:
    """``POST /api/edit/target``: a form with ``file`` or ``url``, and ``options``."""
    try:
        async with request.form() as form:
            _check_options(state, form)
            data, filename = await _bytes_of(state, form)
    except HTTPException:
        raise invalid(state, "The form could not be read") from None
    state.counters.transferred(into=len(data))
    try:
        target = await run_in_threadpool(partial(make_target, state, data, filename))
    except UnreadablePicture:
        raise refusal(400, "The file is not an image. Supported formats: WEBP, JPEG, PNG") from None
    return JSONResponse(target_shape(state, target))


def _check_options(state: State, form: FormData) -> None:
    options = form.get("options")
    if options not in (None, "") and not isinstance(json_in(options), dict):
        raise invalid(state, "options must be a string with a JSON object")


async def _bytes_of(state: State, form: FormData) -> tuple[bytes, str]:
    file, url = form.get("file"), form.get("url")
    if isinstance(file, UploadFile):
        name = PurePosixPath((file.filename or "image").replace("\\", "/")).name or "image"
        return await file.read(), name
    if not isinstance(url, str) or not url:
        raise invalid(state, "Either file or url is required")
    if urlsplit(url).scheme not in ("http", "https"):
        raise invalid(state, "url must be an http or https URL")
    try:
        return await run_in_threadpool(_fetch, url), PurePosixPath(urlsplit(url).path).name or "image"
    except (OSError, ValueError):
        raise refusal(400, "The image could not be downloaded from the URL") from None


def _fetch(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"User-Agent": "piktid-emulator"})  # noqa: S310 - http only
    with urllib.request.urlopen(request, timeout=FETCH_SECONDS) as answer:  # noqa: S310 - same
        data: bytes = answer.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError("too large")
    return data


def make_target(state: State, data: bytes, filename: str) -> Target:
    """
    Store a picture and detect the persons in it.

    :raises UnreadablePicture: The file is not a picture in a supported format.
    :raises Refused: The picture shows too many persons.
    """
    path = state.folder.new_path(Path(filename).suffix[:10])
    path.write_bytes(data)
    try:
        content_type = open_picture(path)[1]
        size, persons = _persons(state, path)
        persons = _at_most(state, persons)
    except Exception:
        path.unlink(missing_ok=True)
        raise
    digest = hashlib.sha256(data).hexdigest()[:16]
    return state.v1.add_target(filename, Blob(path, content_type, len(data)), size, persons, digest)


def _persons(state: State, path: Path) -> tuple[tuple[int, int], list[Person]]:
    settings = state.settings
    fault = state.faults.take_each(TARGET, TARGET_KINDS).get("faces")
    count = settings.faces if settings.transform or settings.faces is not None else 1
    if fault is None and count is None:
        return persons_in(path)
    size = open_picture(path)[0].size
    if fault is not None:
        return size, persons_on_grid(size, int(fault.get("n", 31)), fault.get("approve", True))
    return size, persons_on_grid(size, count or 0)


def _at_most(state: State, persons: list[Person]) -> list[Person]:
    rule = state.variants["v1_too_many_persons"]
    if len(persons) <= MOST_PERSONS or rule == "all":
        return persons
    if rule == "refuse":
        raise refusal(400, f"The image shows more than {MOST_PERSONS} people")
    return persons[:MOST_PERSONS]


def coordinates(target: Target, person: Person) -> dict[str, Any]:
    """Return the position of a person, as fractions of width and height."""
    width, height = target.size
    wide, high = person.face.size[0] / width, person.face.size[1] / height
    left, top = person.face.left / width, person.face.top / height
    return {
        "id": person.id,
        "boxHeight": high,
        "boxWidth": wide,
        "centerX": left + wide / 2,
        "centerY": top + high / 2,
        "cornerX": left,
        "cornerY": top,
        "approve": person.approve,
    }


def target_shape(state: State, target: Target) -> dict[str, Any]:
    """Return the response to an upload."""
    faces = {
        "num_persons": len(target.persons),
        "coordinates_list": [coordinates(target, person) for person in target.persons],
    }
    keys = state.variants["v1_image_id"]
    body: dict[str, Any] = {key: target.id_image for key in ("id_image", "image_id") if keys in (key, "both")}
    return {**body, "faces": faces} if state.variants["v1_coordinates"] == "nested" else {**body, **faces}


def find_target(state: State, id_image: Any) -> Target:
    """
    Return a picture.

    :raises Refused: 404; the picture is unknown or expired.
    """
    target = state.v1.target(id_image) if isinstance(id_image, str) else None
    if target is None:
        raise refusal(404, "Image not found")
    return target


async def get_image(request: Request, state: State) -> Response:
    """``POST /api/images_by_id/v2``."""
    target = find_target(state, (await read_object(request)).get("id_image"))
    more = {
        "status": "completed",
        "store_until": iso(target.created_at + state.settings.target_seconds),
        "errors_list": [],
    }
    return JSONResponse({**target_shape(state, target), **more})
