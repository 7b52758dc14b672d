# SPDX-License-Identifier: Apache-2.0
"""Image processing."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from airflow_provider_piktid.emulator import faces
from airflow_provider_piktid.emulator.faces import Face, Look, UnreadablePicture


@pytest.fixture
def picture(photo: bytes) -> Image.Image:
    """The decoded photograph."""
    return Image.open(io.BytesIO(photo)).convert("RGB")


def test_face_is_found_in_its_position(picture: Image.Image) -> None:
    """The face in the photograph is found in its position."""
    (face,) = faces.find_faces(picture)
    assert face.left < 225 < face.right
    assert face.top < 115 < face.bottom


def test_no_face_is_found_in_a_plain_picture() -> None:
    """A plain picture has no faces."""
    assert faces.find_faces(Image.new("RGB", (300, 300), "gray")) == []


def test_face_and_banner_change_and_the_rest_stays(picture: Image.Image) -> None:
    """Only the face and the top strip differ from the input."""
    found = faces.find_faces(picture)
    changed = faces.transform(picture, found, Look("Summer", "PiktidSummer"))
    difference = ImageChops.difference(picture, changed)
    assert difference.crop((found[0].left, found[0].top, found[0].right, found[0].bottom)).getbbox()
    assert difference.crop((0, 0, 512, 30)).getbbox()
    assert difference.crop((0, found[0].bottom + 2, 512, 512)).getbbox() is None


@pytest.mark.parametrize(
    "change", [{"variation": 1}, {"version": 1}, {"code": "other"}, {"watermark": True}], ids=str
)
def test_each_option_changes_the_picture(picture: Image.Image, change: dict[str, object]) -> None:
    """Variation, version, identity and watermark each change the picture."""
    found = [Face(180, 70, 270, 160)]
    base = {"name": "Summer", "code": "PiktidSummer"}
    one = faces.transform(picture, found, Look(**base))  # type: ignore[arg-type]
    other = faces.transform(picture, found, Look(**{**base, **change}))  # type: ignore[arg-type]
    assert ImageChops.difference(one, other).getbbox()


def test_face_of_the_identity_is_used(picture: Image.Image) -> None:
    """The identity's face replaces the detected one."""
    red = Image.new("RGB", (50, 50), (255, 0, 0))
    changed = faces.transform(picture, [Face(180, 70, 270, 160)], Look("A", "a", face=red))
    red_part, green_part, _ = changed.getpixel((225, 115))  # type: ignore[misc]
    assert red_part > 200 > 60 > green_part


@pytest.mark.parametrize("kind", ["image/jpeg", "image/png", "image/webp"])
def test_format_is_kept(tmp_path: Path, picture: Image.Image, kind: str) -> None:
    """The output has the format of the input."""
    path = tmp_path / "picture"
    path.write_bytes(faces.encode(picture, kind))
    assert faces.open_picture(path)[1] == kind


def test_picture_is_turned_upright(tmp_path: Path) -> None:
    """The EXIF orientation is applied."""
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(path, exif=exif)
    assert faces.open_picture(path)[0].size == (20, 40)


@pytest.mark.parametrize(
    "data", [b"", b"text", b"\xff\xd8\xff\xe0broken", b"GIF89a"], ids=["empty", "text", "cut", "gif"]
)
def test_file_that_is_not_a_picture_is_unreadable(tmp_path: Path, data: bytes) -> None:
    """Bytes that cannot be decoded raise UnreadablePicture."""
    path = tmp_path / "x"
    path.write_bytes(data)
    for read in (faces.open_picture, faces.thumbnail):
        with pytest.raises(UnreadablePicture):
            read(path)


def test_truncated_picture_is_unreadable(tmp_path: Path, photo: bytes) -> None:
    """A truncated photograph raises UnreadablePicture."""
    path = tmp_path / "x.jpg"
    path.write_bytes(photo[: len(photo) // 2])
    with pytest.raises(UnreadablePicture):
        faces.open_picture(path)


def test_image_processing_is_fast(picture: Image.Image) -> None:
    """A 512 x 512 picture takes less than a second, even on a busy machine."""
    faces.find_faces(picture)
    start = time.process_time()
    faces.encode(faces.transform(picture, faces.find_faces(picture), Look("A", "a")), "image/jpeg")
    assert time.process_time() - start < 0.5
