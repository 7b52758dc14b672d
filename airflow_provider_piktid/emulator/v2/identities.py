# SPDX-License-Identifier: Apache-2.0
"""List and upload identities."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, ParamSpec, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..blobs import Blob
from ..faces import UnreadablePicture, cut_face, encode, find_faces, open_picture
from ..state import State
from ..wire import Check, Refused, page_of, read_json
from .checks import body_check, finish, paging, query_check
from .entities import Identity
from .shapes import identity_shape

P = ParamSpec("P")
T = TypeVar("T")
POV_SIDE = 1024
_OWNERSHIP = {"mine": "private", "shared": "shared", "default": "default"}


def _find(request: Request, state: State) -> Identity:
    identity = state.v2.identities.get(request.path_params["identity_code"])
    if identity is None:
        raise Refused(404, {"error": "Identity not found"})
    return identity


async def list_identities(request: Request, state: State) -> Response:
    """``GET /identity``."""
    page, per_page, order = paging(request, state, "desc")
    check = query_check(request, state)
    sort_by = check.choice("sort_by", ("created_at", "name"), "created_at")
    ownership = check.choice("ownership", (*_OWNERSHIP, ""), "")
    search = (request.query_params.get("search") or "").lower()
    check.done()
    items = [
        identity
        for identity in list(state.v2.identities.values())
        if search in identity.name.lower() and (not ownership or identity.visibility == _OWNERSHIP[ownership])
    ]
    items.sort(key=lambda i: (i.name if sort_by == "name" else "", i.created_at), reverse=order == "desc")
    chosen, pagination = page_of(items, page, per_page)
    base_url = state.base_url(request)
    shapes = [{**identity_shape(state, i, base_url), "locked": False, "tier": None} for i in chosen]
    return JSONResponse({"identities": shapes, "pagination": pagination})


async def get_identity(request: Request, state: State) -> Response:
    """``GET /identity/{identity_code}``."""
    return JSONResponse(identity_shape(state, _find(request, state), state.base_url(request)))


async def get_identity_status(request: Request, state: State) -> Response:
    """``GET /identity/{identity_code}/status``."""
    identity = _find(request, state)
    done = identity.preprocessing_status == "completed"
    return JSONResponse(
        {
            "identity_code": identity.code,
            "preprocessing_status": identity.preprocessing_status,
            "error_message": identity.error_message,
            "preprocessing_time": round(identity.updated_at - identity.created_at, 3) if done else None,
            "quality_score": 0.95 if done else None,
        }
    )


async def _image_part(request: Request, state: State, check: Check, form: Any) -> tuple[Blob, str]:
    part = form.get("image")
    if not isinstance(part, UploadFile):
        check.wrong("image", "Field required" if part is None else "Expected a file")
        check.done()
    filename = PurePosixPath((part.filename or "image.jpg").replace("\\", "/")).name or "image.jpg"
    data = await part.read()
    state.counters.transferred(into=len(data))
    return state.folder.save(data, part.content_type or "image/jpeg"), filename


async def _examine(check: Check, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Process an image in a thread; refuse the request if the image cannot be read."""
    try:
        return await run_in_threadpool(work, *args, **kwargs)
    except UnreadablePicture as error:
        check.wrong("image", str(error))
        check.done()
        raise


def _look_at(path: Path, detect: bool) -> tuple[int, Any]:
    """Return the number of faces in a picture, and the largest face."""
    image, _ = open_picture(path)
    if not detect:
        return 1, None
    faces = find_faces(image)
    return len(faces), cut_face(image, faces[0]) if faces else None


def _refuse_duplicate(state: State, name: str) -> None:
    existing = state.v2.identity_named(name)
    if existing is not None:
        body = {"error": "An identity with this name already exists"}
        key = state.variants["identity_conflict"]
        raise Refused(409, body if key == "bare" else {**body, key: existing.code})
    refuse_full(state)


def refuse_full(state: State) -> None:
    """
    Refuse a new identity if the account has no room for it.

    :raises Refused: 429.
    """
    own = sum(1 for identity in state.v2.identities.values() if identity.visibility == "private")
    if own >= state.settings.max_identities:
        raise Refused(429, {"error": "Maximum identities reached."})


async def upload_identity(request: Request, state: State) -> Response:
    """``POST /identity/upload``."""
    async with request.form() as form:
        check = Check(form, position="form", status=state.variants.number("validation_status"))
        name, tag = check.text("name"), check.text("tag")
        blob, filename = await _image_part(request, state, check, form)
        check.done()
    name = name or Path(filename).stem
    _refuse_duplicate(state, name)
    faces, picture = await _examine(check, _look_at, blob.path, state.settings.transform)
    if not faces and state.variants["identity_face"] == "reject":
        raise Refused(400, {"error": "No face detected in the image"})
    with state.lock:
        _refuse_duplicate(state, name)
        identity = add_identity(state, name, filename, blob)
        identity.tag, identity.faces, identity.picture = tag, faces, picture
        job = state.v2.jobs.create_preprocessing(identity)
    state.v2.runner.prepare(identity, job)
    body = identity_shape(state, identity, state.base_url(request))
    del body["preprocessing_status"], body["updated_at"]
    body |= {"success": True, "face_detected": bool(faces), "face_metadata": {"faces": float(faces)}}
    return JSONResponse(body, state.variants.number("identity_status"))


def add_identity(state: State, name: str, filename: str, blob: Blob) -> Identity:
    """Add an identity of the account that is not preprocessed yet."""
    now = state.clock.time()
    identity = Identity(f"id_{uuid.uuid4().hex[:20]}", name, now, now)
    identity.created_by = state.settings.login
    identity.original_filename = filename
    identity.blob = blob
    identity.preprocessing_status = "pending"
    state.v2.identities[identity.code] = identity
    return identity


async def patch_metadata(request: Request, state: State) -> Response:
    """``PATCH /identity/{identity_code}/metadata``."""
    identity = _find(request, state)
    check = body_check(state, await read_json(request))
    tag = check.text("tag")
    gender = check.choice("gender", ("male", "female", "non-binary"), "")
    age = check.number("age", -1, 0, 150)
    finish(state, check)
    identity.tag = tag or identity.tag
    identity.gender = gender or identity.gender
    identity.age = age if age >= 0 else identity.age
    identity.updated_at = state.clock.time()
    description = identity_shape(state, identity, state.base_url(request))["image_description"]
    body = {
        "success": True,
        "message": "Metadata updated",
        "name": identity.name,
        "image_description": description,
    }
    return JSONResponse(body)


def _pov(path: Path) -> bytes:
    image, _ = open_picture(path)
    faces = find_faces(image)
    if len(faces) != 1:
        raise Refused(400, {"error": f"Exactly one face is required, found {len(faces)}"})
    return encode(image.resize((POV_SIDE, POV_SIDE)), "image/jpeg")


async def upload_pov(request: Request, state: State) -> Response:
    """``POST /identity/{identity_code}/pov``."""
    identity = _find(request, state)
    async with request.form() as form:
        check = Check(form, position="form", status=state.variants.number("validation_status"))
        index = check.number("pov_index", 0, 0, 100)
        if "pov_index" not in form:
            check.wrong("pov_index", "Field required")
        blob, filename = await _image_part(request, state, check, form)
        check.done()
    data = await _examine(check, _pov, blob.path)
    saved = state.folder.save(data, "image/jpeg")
    key = f"pov-{identity.code}-{index}"
    state.keep(key, saved)
    image = {"original_filename": filename, "link": state.link(key, saved, state.base_url(request))}
    body = {"success": True, "pov_index": index, "processed_images": [image | {"thumbnail_link": None}]}
    return JSONResponse(body | {"processed_count": 1})
