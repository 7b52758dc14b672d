# SPDX-License-Identifier: Apache-2.0
"""Sign links: presigned uploads as S3 does, result links as a CDN does."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import UTC, datetime
from urllib.parse import parse_qs, quote

S3_PATH = "/s3/"
FILE_PATH = "/f/"
_SIGNATURE = "&X-Amz-Signature="


class Signer:
    """Sign and verify links with a secret of this emulator."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def _sign(self, *parts: str) -> str:
        return hmac.new(self._secret, "\n".join(parts).encode("utf-8"), hashlib.sha256).hexdigest()

    def upload_target(self, file_id: str, filename: str, content_type: str, now: float, life: float) -> str:
        """Return path and query of a presigned PUT, valid for ``life`` seconds from ``now``."""
        path = S3_PATH + quote(f"uploads/{file_id}/{filename}", safe="/~")
        moment = datetime.fromtimestamp(now, UTC)
        query = (
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD"
            f"&X-Amz-Credential=EMULATOR%2F{moment:%Y%m%d}%2Feu-west-1%2Fs3%2Faws4_request"
            f"&X-Amz-Date={moment:%Y%m%dT%H%M%SZ}&X-Amz-Expires={life:.0f}"
            "&X-Amz-SignedHeaders=content-type%3Bhost&x-id=PutObject"
        )
        return f"{path}?{query}{_SIGNATURE}{self._sign('PUT', path, query, content_type)}"

    def upload_is_signed(self, path: str, query: str, content_type: str) -> bool:
        """Return whether path and query, byte for byte, were signed for this content type."""
        signed, _, signature = query.partition(_SIGNATURE)
        return hmac.compare_digest(signature, self._sign("PUT", path, signed, content_type))

    def file_target(self, name: str, expires: float) -> str:
        """Return path and query of a link to a file, valid until ``expires`` (epoch seconds)."""
        path = FILE_PATH + name
        signature = self._sign("GET", path, f"{expires:.0f}")
        return f"{path}?Expires={expires:.0f}&Signature={signature}&Key-Pair-Id=EMULATOR"

    def file_is_signed(self, path: str, query: str, now: float) -> bool:
        """Return whether a link to a file has a valid signature and has not expired."""
        values = parse_qs(query)
        expires = values.get("Expires", [""])[0]
        signature = values.get("Signature", [""])[0]
        if not hmac.compare_digest(signature, self._sign("GET", path, expires)):
            return False
        return now <= float(expires)
