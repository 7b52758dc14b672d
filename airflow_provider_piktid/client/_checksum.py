# SPDX-License-Identifier: Apache-2.0
"""Read the checksum of a body from the headers of its answer."""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

#: Bytes of each supported checksum.
SIZES: Final = {"sha256": 32, "md5": 16, "sha1": 20, "crc32": 4}

#: Amazon's headers, the one first that costs nothing: downloads compute SHA-256 anyway.
_AMAZON: Final = {f"x-amz-checksum-{name}": name for name in ("sha256", "sha1", "crc32")}

_MD5_TAG = re.compile(r'"([0-9a-f]{32})"', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Checksum:
    """
    The checksum of a body.

    :param algorithm: A key of :data:`SIZES`.
    :param value: Its bytes; the most significant one first for ``crc32``.
    :param origin: The header, for messages.
    :param is_certain: False for an ETag: it may be something else, so a mismatch proves nothing.
    """

    algorithm: str
    value: bytes
    origin: str
    is_certain: bool = True


def stated_checksum(headers: Mapping[str, str]) -> Checksum | None:
    """
    Return the checksum that an answer states for its body; None if there is none.

    A header that defines a checksum is preferred to an ETag.

    :param headers: Names in lower case.
    """
    encodings = (headers.get("content-encoding", ""), headers.get("x-goog-stored-content-encoding", ""))
    if not {"", "identity"}.issuperset(encoding.strip().lower() for encoding in encodings):
        # The checksum may be that of the compressed body.
        return None
    return _defined(headers) or _etag(headers)


def _defined(headers: Mapping[str, str]) -> Checksum | None:
    candidates = [("content-md5", "md5", headers.get("content-md5", ""))]
    candidates += [("x-goog-hash", "md5", text) for text in _google_md5(headers.get("x-goog-hash", ""))]
    if headers.get("x-amz-checksum-type", "").upper() != "COMPOSITE":
        candidates = [(name, kind, headers.get(name, "")) for name, kind in _AMAZON.items()] + candidates
    for origin, algorithm, text in candidates:
        value = _decoded(text)
        if len(value) == SIZES[algorithm]:
            return Checksum(algorithm, value, origin)
    return None


def _google_md5(value: str) -> list[str]:
    """Return the MD5 in ``crc32c=...,md5=...``; objects that were put together have only the CRC32C."""
    parts = (part.strip() for part in value.split(","))
    return [part.removeprefix("md5=") for part in parts if part.startswith("md5=")]


def _decoded(text: str) -> bytes:
    """Return the bytes of base64; none for anything else, such as ``...-3``, the checksum of three checksums."""
    try:
        return binascii.a2b_base64(text.strip(), strict_mode=True)
    except ValueError:
        return b""


def _etag(headers: Mapping[str, str]) -> Checksum | None:
    """Return an ETag that looks like the MD5 of a body, as that of an S3 object uploaded in one part."""
    is_kms = "kms" in headers.get("x-amz-server-side-encryption", "").lower()
    if is_kms or "x-amz-server-side-encryption-customer-algorithm" in headers:
        return None
    found = _MD5_TAG.fullmatch(headers.get("etag", "").strip())
    return Checksum("md5", bytes.fromhex(found[1]), "etag", is_certain=False) if found else None
