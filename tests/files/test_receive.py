# SPDX-License-Identifier: Apache-2.0
"""What the check of a download finds: with a checksum everything, by decoding what a decoder notices."""

from __future__ import annotations

import hashlib
import io
import random
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from airflow_provider_piktid.client import Checksum
from airflow_provider_piktid.files import receive, storage

pytestmark = pytest.mark.anyio

#: Where a byte is inverted or the content is cut, as a share of its length.
POSITIONS = (0.0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 0.9999)
ALL: set[float] = set(POSITIONS)
NONE: set[float] = set()

Spoil = Callable[[bytes, float], bytes]


def encoded(kind: str) -> bytes:
    """Smoothed noise, the same in every run."""
    noise = random.Random(1).randbytes(320 * 240 * 3)
    picture = Image.frombytes("RGB", (320, 240), noise).filter(ImageFilter.GaussianBlur(1))
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


CONTENTS = {"jpeg": encoded("JPEG"), "png": encoded("PNG"), "webp": encoded("WEBP")}


def flipped(content: bytes, position: float) -> bytes:
    at = int(len(content) * position)
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


def cut(content: bytes, position: float) -> bytes:
    return content[: int(len(content) * position)]


def without_a_part(content: bytes, position: float) -> bytes:
    at = int(len(content) * position)
    return content[:at] + content[at + 100 :]


async def problem(tmp_path: Path, content: bytes, checksum: Checksum | None) -> str | None:
    """Receive bytes as a download does, in pieces, and return what is wrong with them."""

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 5000):
            yield content[start : start + 5000]

    folder = storage.locate(str(tmp_path))
    async with receive.receive(folder, chunks(), "mark", checksum) as received:
        assert received.sha256 == hashlib.sha256(content).hexdigest()
        return await receive.picture_problem(received)


def of(content: bytes, algorithm: str = "md5", *, is_certain: bool = True) -> Checksum:
    crc32 = zlib.crc32(content).to_bytes(4, "big")
    value = crc32 if algorithm == "crc32" else hashlib.new(algorithm, content).digest()
    return Checksum(algorithm, value, "content-md5" if is_certain else "etag", is_certain)


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "crc32"])
async def test_matching_checksum_is_enough(
    tmp_path: Path, kind: str, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture whose checksum matches is complete, and is not decoded."""
    monkeypatch.setattr("airflow_provider_piktid.files.formats.decodes", None)
    content = CONTENTS[kind]

    assert await problem(tmp_path, content, of(content, algorithm)) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("spoil", [flipped, cut, without_a_part])
@pytest.mark.parametrize("algorithm", ["md5", "crc32"])
async def test_checksum_finds_every_damage(tmp_path: Path, kind: str, spoil: Spoil, algorithm: str) -> None:
    """With a checksum each cut, each inverted byte and each missing part is found, wherever it is."""
    content = CONTENTS[kind]
    for position in POSITIONS:
        damaged = spoil(content, position)
        found = await problem(tmp_path, damaged, of(content, algorithm))
        assert "does not match its checksum (content-md5)" in (found or ""), position


@pytest.mark.parametrize(
    ("kind", "spoil", "found", "missed"),
    [
        pytest.param("jpeg", cut, ALL, NONE, id="JPEG, cut"),
        pytest.param("png", cut, ALL, NONE, id="PNG, cut"),
        pytest.param("webp", cut, ALL, NONE, id="WEBP, cut"),
        pytest.param("png", flipped, ALL, NONE, id="PNG, inverted byte"),
        pytest.param("png", without_a_part, ALL, NONE, id="PNG, missing part"),
        pytest.param("webp", without_a_part, ALL, NONE, id="WEBP, missing part"),
        # A decoder of these formats shows whatever it gets between the headers and the end mark.
        pytest.param("jpeg", flipped, {0.0, 0.9999}, {0.3, 0.5, 0.7}, id="JPEG, inverted byte"),
        pytest.param("jpeg", without_a_part, {0.0, 0.9999}, {0.3, 0.5, 0.7}, id="JPEG, missing part"),
        pytest.param("webp", flipped, {0.0}, {0.3, 0.5, 0.7}, id="WEBP, inverted byte"),
    ],
)
@pytest.mark.parametrize("with_etag", [False, True], ids=["no checksum", "other ETag"])
async def test_decoding_finds_what_a_decoder_notices(
    tmp_path: Path, kind: str, spoil: Spoil, found: set[float], missed: set[float], with_etag: bool
) -> None:
    """Without a checksum all cuts are found and all damage of a PNG, but little damage of a JPEG or WEBP."""
    content = CONTENTS[kind]
    checksum = of(content, is_certain=False) if with_etag else None
    noticed = {
        position for position in POSITIONS if await problem(tmp_path, spoil(content, position), checksum)
    }

    assert noticed >= found
    assert not noticed & missed


@pytest.mark.parametrize("kind", CONTENTS)
async def test_etag_that_is_no_checksum_fails_no_picture(tmp_path: Path, kind: str) -> None:
    """An ETag that does not match says nothing: the picture is decoded, and is complete."""
    assert await problem(tmp_path, CONTENTS[kind], of(b"other", is_certain=False)) is None


@pytest.mark.parametrize(
    "content", [b"", b"<html>Be right back</html>", CONTENTS["jpeg"][:-500]], ids=["empty", "html", "cut"]
)
@pytest.mark.parametrize("is_certain", [False, True], ids=["ETag", "Content-MD5"])
async def test_stored_file_that_is_no_whole_picture_is_found_in_spite_of_its_checksum(
    tmp_path: Path, content: bytes, is_certain: bool
) -> None:
    """A server may store an error page or half a picture, with the right checksum of it."""
    found = await problem(tmp_path, content, of(content, is_certain=is_certain))

    assert found == f"is truncated or not an image ({len(content)} bytes)"
