# SPDX-License-Identifier: Apache-2.0
"""Serve files by signed link, without a token."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from .blobs import Blob
from .state import State
from .wire import Refused

_DENIED = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    "<Error><Code>AccessDenied</Code><Message>Access denied</Message></Error>"
)


class BlobResponse(FileResponse):
    """A file response with large chunks, for speed."""

    chunk_size = 256 * 1024


def blob_response(blob: Blob, filename: str | None = None) -> Response:
    """Return a response that streams a file."""
    return BlobResponse(blob.path, media_type=blob.content_type, filename=filename)


async def get_file(request: Request, state: State) -> Response:
    """``GET /f/{name}``: 403, as from a CDN, for a wrong or expired link."""
    query = request.scope["query_string"].decode("latin-1")
    blob = state.blobs.get(request.path_params["name"])
    if blob is None or not state.signer.file_is_signed(request.url.path, query, state.clock.time()):
        raise Refused(403, _DENIED, {"Content-Type": "application/xml"})
    return blob_response(blob)
