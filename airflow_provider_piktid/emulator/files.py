# SPDX-License-Identifier: Apache-2.0
"""Serve files by signed link, without a token."""

from __future__ import annotations

import base64
import hashlib
import os

from starlette.concurrency import run_in_threadpool
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

    def set_stat_headers(self, stat_result: os.stat_result) -> None:
        # Starlette's own ETag looks like an MD5 of the content and is not one.
        self.headers.setdefault("etag", f'W/"{stat_result.st_size:x}"')
        super().set_stat_headers(stat_result)


async def blob_response(state: State, blob: Blob, filename: str | None = None) -> Response:
    """Return a response that streams a file, with the checksum header that the variant ``checksum`` selects."""
    headers = await run_in_threadpool(_checksum_headers, state.variants["checksum"], blob)
    return BlobResponse(blob.path, media_type=blob.content_type, filename=filename, headers=headers)


def _checksum_headers(kind: str, blob: Blob) -> dict[str, str]:
    match kind:
        case "etag":
            return {"ETag": f'"{blob.digest("md5").hex()}"'}
        case "opaque_etag":
            return {"ETag": f'"{hashlib.sha256(str(blob.path).encode()).hexdigest()[:32]}"'}
        case "content_md5":
            return {"Content-MD5": _base64(blob.digest("md5"))}
        case "x_goog_hash":
            return {"x-goog-hash": f"crc32c=AAAAAA==,md5={_base64(blob.digest('md5'))}"}
        case "x_amz_checksum":
            return {"x-amz-checksum-sha256": _base64(blob.digest("sha256"))}
    return {}


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


async def get_file(request: Request, state: State) -> Response:
    """``GET /f/{name}``: 403, as from a CDN, for a wrong or expired link."""
    query = request.scope["query_string"].decode("latin-1")
    blob = state.blobs.get(request.path_params["name"])
    if blob is None or not state.signer.file_is_signed(request.url.path, query, state.clock.time()):
        raise Refused(403, _DENIED, {"Content-Type": "application/xml"})
    return await blob_response(state, blob)
