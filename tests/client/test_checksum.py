# SPDX-License-Identifier: Apache-2.0
"""Checksums are read from the headers of an answer, as tables."""

from __future__ import annotations

import base64
import hashlib
import zlib

import pytest

from airflow_provider_piktid.client._checksum import stated_checksum

BODY = b"a picture"
MD5 = hashlib.md5(BODY)
SHA256 = hashlib.sha256(BODY)
CRC32 = zlib.crc32(BODY).to_bytes(4, "big")


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


@pytest.mark.parametrize(
    ("headers", "algorithm", "value"),
    [
        pytest.param({"content-md5": b64(MD5.digest())}, "md5", MD5.digest(), id="Content-MD5"),
        pytest.param(
            {"x-goog-hash": f"crc32c=AAAAAA==, md5={b64(MD5.digest())}"}, "md5", MD5.digest(), id="Google"
        ),
        pytest.param(
            {"x-amz-checksum-sha256": b64(SHA256.digest())}, "sha256", SHA256.digest(), id="Amazon, SHA-256"
        ),
        pytest.param({"x-amz-checksum-crc32": b64(CRC32)}, "crc32", CRC32, id="Amazon, CRC-32"),
        pytest.param(
            {"content-md5": b64(MD5.digest()), "etag": f'"{"0" * 32}"'},
            "md5",
            MD5.digest(),
            id="preferred to an ETag",
        ),
    ],
)
def test_header_that_defines_a_checksum_is_certain(
    headers: dict[str, str], algorithm: str, value: bytes
) -> None:
    """Each header that defines a checksum is read, and a mismatch proves damage."""
    found = stated_checksum(headers)

    assert found is not None
    assert (found.algorithm, found.value, found.is_certain) == (algorithm, value, True)


@pytest.mark.parametrize("tag", [f'"{MD5.hexdigest()}"', f'"{MD5.hexdigest().upper()}"'])
def test_etag_that_looks_like_an_md5_is_uncertain(tag: str) -> None:
    """A strong ETag of 32 hexadecimal digits may be the MD5 of the body."""
    found = stated_checksum({"etag": tag})

    assert found is not None
    assert (found.value, found.is_certain) == (MD5.digest(), False)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param({"etag": f'W/"{MD5.hexdigest()}"'}, id="weak ETag"),
        pytest.param({"etag": f'"{MD5.hexdigest()}-3"'}, id="ETag of an upload in parts"),
        pytest.param({"etag": '"v1.2-final"'}, id="other ETag"),
        pytest.param(
            {"etag": f'"{MD5.hexdigest()}"', "x-amz-server-side-encryption": "aws:kms"}, id="ETag under KMS"
        ),
        pytest.param(
            {
                "etag": f'"{MD5.hexdigest()}"',
                "x-amz-server-side-encryption-customer-algorithm": "AES256",
            },
            id="ETag under a customer's key",
        ),
        pytest.param({"content-md5": MD5.hexdigest()}, id="Content-MD5 in hexadecimal"),
        pytest.param({"content-md5": "not base64!"}, id="Content-MD5 that cannot be read"),
        pytest.param({"content-md5": b64(b"short")}, id="Content-MD5 of another length"),
        pytest.param({"x-goog-hash": "crc32c=AAAAAA=="}, id="CRC-32C only"),
        pytest.param({"x-amz-checksum-sha256": b64(SHA256.digest()) + "-3"}, id="checksum of checksums"),
        pytest.param(
            {"x-amz-checksum-crc32": b64(CRC32), "x-amz-checksum-type": "COMPOSITE"}, id="composite"
        ),
        pytest.param(
            {"content-md5": b64(MD5.digest()), "content-encoding": "gzip"}, id="compressed on the way"
        ),
        pytest.param(
            {"x-goog-hash": f"md5={b64(MD5.digest())}", "x-goog-stored-content-encoding": "gzip"},
            id="compressed in the store",
        ),
    ],
)
def test_anything_else_states_no_checksum(headers: dict[str, str]) -> None:
    """What is not the checksum of the bytes of the body is ignored."""
    assert stated_checksum(headers) is None
