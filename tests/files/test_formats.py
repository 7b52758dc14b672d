# SPDX-License-Identifier: Apache-2.0
"""Formats are detected by content, and truncated files are found."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from airflow_provider_piktid.exceptions import PiktidImageError
from airflow_provider_piktid.files.formats import (
    HEAD_BYTES,
    V2_FORMATS,
    decodes,
    is_whole,
    require_image,
    sniff,
)


def encoded(kind: str, size: tuple[int, int] = (40, 30)) -> bytes:
    """A real picture of a format."""
    buffer = io.BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


def whole(content: bytes) -> bool:
    return is_whole(content[:HEAD_BYTES], content[-64:], len(content))


KINDS = pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])


@KINDS
def test_sniff_tells_real_pictures(kind: str) -> None:
    """Each format is recognised by its first bytes."""
    assert sniff(encoded(kind)[:HEAD_BYTES]) == kind.lower()


@pytest.mark.parametrize(
    "head",
    [b"", b"hello world", b"GIF89a" + b"\0" * 10, b"RIFF\0\0\0\0WAVEfmt ", b"%PDF-1.7", b"<svg", b"\xff\xd8"],
    ids=["empty", "text", "gif", "wave", "pdf", "svg", "half a mark"],
)
def test_sniff_of_anything_else_is_none(head: bytes) -> None:
    """Unsupported content has no format."""
    assert sniff(head) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "a.jpg is empty", id="empty"),
        pytest.param(b"just a text", "not a supported image format", id="text"),
        pytest.param(encoded("WEBP"), "is a WEBP image", id="other format"),
        pytest.param(b"GIF89a", "not a supported image format", id="gif"),
    ],
)
def test_require_image_says_what_is_wrong_and_what_to_do(content: bytes, words: str) -> None:
    """The error names the file, the reason and the supported formats."""
    with pytest.raises(PiktidImageError, match=words) as caught:
        require_image(content[:HEAD_BYTES], len(content), "a.jpg", V2_FORMATS)

    assert "JPEG, PNG" in str(caught.value)


@KINDS
def test_whole_pictures_are_whole(kind: str) -> None:
    """A real picture passes."""
    assert whole(encoded(kind))


@KINDS
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_cut_off_pictures_are_found(kind: str, keep: float) -> None:
    """A truncated image is not complete."""
    content = encoded(kind)

    assert not whole(content[: int(len(content) * keep)])


def test_picture_with_its_last_byte_missing_is_not_whole() -> None:
    """A JPEG or PNG without its last byte is not complete."""
    assert not whole(encoded("JPEG")[:-1])
    assert not whole(encoded("PNG")[:-1])


def test_jpeg_padded_with_zeros_is_whole() -> None:
    """A JPEG with trailing zero bytes is complete."""
    assert whole(encoded("JPEG") + b"\0" * 20)


@pytest.mark.parametrize(
    "content", [b"", b"<html>Be right back</html>", b'{"error": 1}'], ids=["empty", "html", "json"]
)
def test_no_picture_is_never_whole(content: bytes) -> None:
    """Content that is not an image is not complete."""
    assert not whole(content)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_picture_that_is_whole_decodes(tmp_path: Path, ending: str) -> None:
    """A complete image of each format can be decoded."""
    path = tmp_path / f"picture.{ending}"
    Image.effect_noise((320, 240), 60).convert("RGB").save(path)

    assert decodes(str(path))


@pytest.mark.parametrize(
    ("ending", "keep"),
    [
        pytest.param("jpg", slice(0, 5000), id="JPEG cut off"),
        pytest.param("png", slice(0, 5000), id="PNG cut off"),
        pytest.param("webp", slice(0, 5000), id="WEBP cut off"),
        pytest.param("png", slice(None, None, 2), id="PNG with bytes missing"),
        pytest.param("jpg", slice(None, None, 2), id="JPEG with bytes missing"),
    ],
)
def test_spoiled_picture_does_not_decode(tmp_path: Path, ending: str, keep: slice) -> None:
    """An image with missing data cannot be decoded."""
    path = tmp_path / f"picture.{ending}"
    Image.effect_noise((320, 240), 60).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[keep])

    assert not decodes(str(path))


def test_png_with_one_changed_byte_does_not_decode(tmp_path: Path) -> None:
    """A PNG with one changed byte cannot be decoded."""
    path = tmp_path / "picture.png"
    Image.effect_noise((320, 240), 60).convert("RGB").save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)

    assert not decodes(str(path))


def test_text_does_not_decode(tmp_path: Path) -> None:
    """Content that is not an image is not complete."""
    path = tmp_path / "a.jpg"
    path.write_text("hello")

    assert not decodes(str(path))
