# SPDX-License-Identifier: Apache-2.0
"""Create projects, upload files, list assets."""

from __future__ import annotations

import secrets
import uuid
from pathlib import Path
from xml.sax.saxutils import escape

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from ..blobs import Blob
from ..clock import iso
from ..state import State
from ..wire import Refused, page_of, read_json
from .checks import body_check, finish, paging
from .entities import Project, StoredFile
from .shapes import asset_shape

LONGEST_PROJECT_NAME = 128
LARGEST_UPLOAD = 5 * 1024**3


async def create_project(request: Request, state: State) -> Response:
    """``POST /project``."""
    check = body_check(state, await read_json(request))
    name = check.text("project_name", required=True, longest=LONGEST_PROJECT_NAME)
    finish(state, check)
    with state.lock:
        existing = state.v2.project_named(name or "")
        if existing is not None:
            body = {"error": "Project already exists"}
            if state.variants["project_conflict"] == "with_id":
                body["project_id"] = existing.key
            raise Refused(409, body)
        project = state.v2.add_project(name or "")
    body = {"project_id": project.key, "project_name": project.name}
    return JSONResponse(body, state.variants.number("project_status"))


async def list_projects(request: Request, state: State) -> Response:
    """``GET /project``."""
    page, per_page, order = paging(request, state, "desc")
    items = sorted(state.v2.projects.values(), key=lambda p: p.number, reverse=order == "desc")
    chosen, pagination = page_of(items, page, per_page)
    projects = [
        {
            "project_id": project.number,
            "project_key": project.key,
            "project_text": project.name,
            "created_at": iso(project.created_at),
        }
        for project in chosen
    ]
    return JSONResponse({"projects": projects, "pagination": pagination})


async def request_upload(request: Request, state: State) -> Response:
    """``POST /upload``."""
    body = await read_json(request)
    check = body_check(state, {} if body is None else body)
    filename = check.text("filename") or str(uuid.uuid4())
    strict = state.variants["upload_strict"] == "on"
    name = check.text("project_name", required=strict, longest=LONGEST_PROJECT_NAME)
    finish(state, check)
    project = state.v2.project_named(name) if name else None
    if strict and project is None:
        raise Refused(404, {"error": "Project not found"})
    file = state.v2.add_file(filename, project)
    return JSONResponse(_ticket(state, file, project, state.base_url(request)))


def _ticket(state: State, file: StoredFile, project: Project | None, base_url: str) -> dict[str, object]:
    life = state.settings.upload_link_seconds
    target = state.signer.upload_target(file.file_id, file.filename, file.content_type, file.created_at, life)
    body: dict[str, object] = {
        "upload_url": base_url + target,
        "download_url": state.link(file.file_id, Blob(Path(), file.content_type, 0), base_url),
        "file_id": file.file_id,
        "filename": file.filename,
        "content_type": file.content_type,
    }
    if state.variants["echo_project"] == "on" and project is not None:
        body |= {"project_id": project.key, "project_name": project.name}
    return body


def s3_refusal(status: int, code: str, message: str) -> Refused:
    """Return an error response in the format of S3."""
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{escape(message)}</Message>"
        f"<RequestId>{secrets.token_hex(8).upper()}</RequestId></Error>"
    )
    return Refused(status, xml, {"Content-Type": "application/xml"})


async def put_upload(request: Request, state: State) -> Response:
    """``PUT`` to a presigned link."""
    file = _ticket_of(request, state)
    length = request.headers.get("content-length")
    if length is None:
        raise s3_refusal(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    if int(length) > LARGEST_UPLOAD:
        raise s3_refusal(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
    path = state.folder.new_path(Path(file.filename).suffix[:10])
    size = 0
    try:
        with path.open("wb") as out:
            async for chunk in request.stream():
                size += out.write(chunk)
    except ClientDisconnect:
        path.unlink(missing_ok=True)
        raise
    with state.lock:
        file.blob = Blob(path, file.content_type, size)
        state.keep(file.file_id, file.blob)
    state.counters.transferred(into=size)
    return Response(headers={"ETag": f'"{secrets.token_hex(16)}"'})


def _ticket_of(request: Request, state: State) -> StoredFile:
    if "authorization" in request.headers:
        message = (
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, "
            "Signature query string parameter or the Authorization header should be specified"
        )
        raise s3_refusal(400, "InvalidArgument", message)
    path = request.scope.get("raw_path", request.url.path.encode()).decode("latin-1").partition("?")[0]
    query = request.scope["query_string"].decode("latin-1")
    file = state.v2.files.get(request.path_params["file_id"])
    content_type = request.headers.get("content-type", "")
    if file is None or not state.signer.upload_is_signed(path, query, content_type):
        message = "The request signature we calculated does not match the signature you provided."
        raise s3_refusal(403, "SignatureDoesNotMatch", message)
    if state.clock.time() > file.link_expires:
        raise s3_refusal(403, "AccessDenied", "Request has expired")
    return file


async def list_assets(request: Request, state: State) -> Response:
    """``GET /assets``."""
    page, per_page, order = paging(request, state, "desc")
    query = request.query_params
    files = [file for file in list(state.v2.files.values()) if file.blob is not None]
    search = query.get("search", "").lower()
    files = [file for file in files if search in file.filename.lower()]
    if query.get("ownership") in ("shared", "default") or query.get("include_tags"):
        files = []
    by_name = query.get("sort_by") == "filename"
    files.sort(
        key=lambda f: (f.filename, f.created_at) if by_name else ("", f.created_at), reverse=order == "desc"
    )
    chosen, pagination = page_of(files, page, per_page)
    base_url = state.base_url(request)
    return JSONResponse(
        {"pagination": pagination, "assets": [asset_shape(state, f, base_url) for f in chosen]}
    )


async def get_asset(request: Request, state: State) -> Response:
    """``GET /assets/{asset_id}``."""
    file = state.v2.files.get(request.path_params["asset_id"])
    if file is None or file.blob is None:
        raise Refused(404, {"error": "Asset not found"})
    return JSONResponse(asset_shape(state, file, state.base_url(request)))
