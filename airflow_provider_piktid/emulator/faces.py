# SPDX-License-Identifier: Apache-2.0
"""
Detect faces, and change pictures in a clearly visible way.

scikit-image's cascade detects faces on a reduced copy. A face is replaced by the identity's face if its picture
shows one, otherwise by a pixelated, tinted copy of itself, inside an oval outline. A banner says "EMULATED" and
names the identity.
"""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFilter, ImageOps

from .drawing import Colour, font, hue_of, rgb, strip, watermark

DETECTION_SIDE = 360
_FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_detecting = threading.Lock()


class UnreadablePicture(Exception):
    """The file is not a readable picture."""


@dataclass(frozen=True)
class Face:
    """The bounding box of a face, in pixels of the upright picture."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> tuple[int, int]:
        return self.right - self.left, self.bottom - self.top


@dataclass(frozen=True)
class Look:
    """
    How to change a picture.

    :param name: Identity name for the banner.
    :param code: Identity code; determines the tint.
    :param face: The identity's face, if known.
    :param variation: Variation number; each looks different.
    :param version: Version number; each looks different.
    :param watermark: Whether to write "AI-generated" at the bottom right.
    """

    name: str
    code: str
    face: Image.Image | None = None
    variation: int = 0
    version: int = 0
    watermark: bool = False


@lru_cache(maxsize=1)
def _cascade() -> Any:
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade

    return Cascade(lbp_frontal_face_cascade_filename())


def open_picture(path: Path) -> tuple[Image.Image, str]:
    """
    Decode a picture and apply its EXIF orientation.

    :return: The picture in RGB and its content type.
    :raises UnreadablePicture: The file is not a picture, is truncated, or is too large to decode.
    """
    try:
        with Image.open(path) as image:
            content_type = _FORMATS.get(image.format or "", "")
            image.load()
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadablePicture("the file could not be read as an image") from error
    if not content_type:
        raise UnreadablePicture("the image format is not supported")
    return upright, content_type


def find_faces(image: Image.Image, side: int = DETECTION_SIDE) -> list[Face]:
    """
    Return the faces of a picture, largest first.

    :param side: Longer side, in pixels, of the copy that is searched; larger copies reveal smaller faces.
    """
    import numpy as np

    small = image.convert("L")
    small.thumbnail((side, side))
    scale = image.width / small.width
    longest = max(small.size)
    with _detecting:
        found = _cascade().detect_multi_scale(
            img=np.asarray(small),
            scale_factor=1.25,
            step_ratio=1,
            min_size=(24, 24),
            max_size=(longest, longest),
        )
    faces = [
        Face(
            int(box["c"] * scale),
            int(box["r"] * scale),
            min(image.width, int((box["c"] + box["width"]) * scale)),
            min(image.height, int((box["r"] + box["height"]) * scale)),
        )
        for box in found
    ]
    return sorted(faces, key=lambda face: face.size[0] * face.size[1], reverse=True)


def cut_face(image: Image.Image, face: Face) -> Image.Image:
    """Return the part of the picture inside the bounding box of a face."""
    return image.crop((face.left, face.top, face.right, face.bottom))


def colour_of(code: str, variation: int = 0, version: int = 0) -> Colour:
    """Return the tint of an identity; variations and versions shift its hue."""
    return rgb(hue_of(code) + 0.17 * variation + 0.31 * version, 0.4, 0.7)


def transform(image: Image.Image, faces: list[Face], look: Look) -> Image.Image:
    """Return a changed copy of the picture."""
    result = image.copy()
    colour = colour_of(look.code, look.variation, look.version)
    for face in faces:
        _replace_face(result, face, look, colour)
    _banner(result, look, colour, found=bool(faces))
    if look.watermark:
        size = max(8, result.height // 28)
        watermark(result, size, result.height - size // 2)
    return result


def _replace_face(image: Image.Image, face: Face, look: Look, colour: Colour) -> None:
    width, height = face.size
    if look.face is not None:
        new = look.face.resize((width, height))
        tint = 0.12
    else:
        coarse = 9 + look.variation
        new = cut_face(image, face).resize((coarse, coarse), Image.Resampling.BOX)
        new = new.resize((width, height), Image.Resampling.NEAREST)
        tint = 0.35
    if look.variation % 2:
        new = ImageOps.mirror(new)
    new = Image.blend(new, Image.new("RGB", new.size, colour), tint)
    mask = Image.new("L", (width, height), 0)
    oval = (int(width * 0.08), 0, int(width * 0.92), height)
    ImageDraw.Draw(mask).ellipse(oval, fill=255)
    image.paste(new, (face.left, face.top), mask.filter(ImageFilter.GaussianBlur(max(1, width // 40))))
    ImageDraw.Draw(image).ellipse(
        (face.left + oval[0], face.top, face.left + oval[2], face.top + height),
        outline=colour,
        width=max(2, width // 30),
    )


def _banner(image: Image.Image, look: Look, colour: Colour, *, found: bool) -> None:
    height = max(12, min(image.height // 12, 60))
    text = f"EMULATED · {look.name} · variation {look.variation} · v{look.version}"
    if not found:
        text += " · no face found"
    strip(image, text, colour, top=0, height=height)


def encode(image: Image.Image, content_type: str) -> bytes:
    """Encode a picture as JPEG, PNG or WEBP, favouring speed over size."""
    out = io.BytesIO()
    if content_type == "image/png":
        image.save(out, "PNG", compress_level=1)
    elif content_type == "image/webp":
        image.save(out, "WEBP", quality=85, method=0)
    else:
        image.save(out, "JPEG", quality=90)
    return out.getvalue()


def thumbnail(path: Path, side: int = 240) -> bytes:
    """
    Return a small JPEG of a picture.

    :raises UnreadablePicture: The file is not a picture.
    """
    try:
        with Image.open(path) as image:
            image.draft("RGB", (side, side))
            small = ImageOps.exif_transpose(image).convert("RGB")
            small.thumbnail((side, side))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadablePicture("the file could not be read as an image") from error
    return encode(small, "image/jpeg")


def portrait(name: str, code: str, side: int = 256) -> bytes:
    """Return a drawn placeholder portrait, JPEG, for an identity without a picture."""
    colour = colour_of(code)
    image = Image.new("RGB", (side, side), colour)
    draw = ImageDraw.Draw(image)
    draw.ellipse((side * 0.3, side * 0.15, side * 0.7, side * 0.65), fill=(240, 215, 195))
    draw.ellipse((side * 0.1, side * 0.62, side * 0.9, side * 1.4), fill=(70, 70, 90))
    draw.text((side // 2, side - 8), name, fill="white", font=font(side // 12), anchor="md")
    return encode(image, "image/jpeg")
