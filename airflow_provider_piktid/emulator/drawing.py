# SPDX-License-Identifier: Apache-2.0
"""Draw colours, labels and watermarks on pictures, for both APIs."""

from __future__ import annotations

import colorsys
import hashlib
from functools import lru_cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]


@lru_cache(maxsize=16)
def font(size: int) -> Any:
    """Return Pillow's default font; ``size`` in pixels."""
    return ImageFont.load_default(size)


def hue_of(text: str) -> float:
    """Return a hue between 0 and 1, always the same for the same text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:2]) / 65536


def rgb(hue: float, lightness: float, saturation: float) -> Colour:
    """Return a colour; the whole part of ``hue`` is ignored."""
    red, green, blue = colorsys.hls_to_rgb(hue % 1.0, lightness, saturation)
    return int(red * 255), int(green * 255), int(blue * 255)


def strip(image: Image.Image, text: str, colour: Colour, *, top: int, height: int) -> None:
    """Draw a filled strip across the picture with a text that fits into it."""
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, top, image.width, top + height), fill=colour)
    size = int(height * 0.6)
    wide = draw.textlength(text, font=font(size)) or 1
    fitting = font(max(8, min(size, int(size * (image.width - height // 2) / wide))))
    draw.text((height // 4, top + height // 2), text, fill="white", font=fitting, anchor="lm")


def watermark(image: Image.Image, size: int, bottom: int) -> None:
    """
    Write "AI-generated" at the right side of a picture.

    :param size: Height of the text in pixels.
    :param bottom: Lower edge of the text.
    """
    draw = ImageDraw.Draw(image, "RGBA")
    corner = (image.width - size // 2, bottom)
    box = draw.textbbox(corner, "AI-generated", font=font(size), anchor="rd")
    margin = size // 3
    draw.rectangle((box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin), fill=(0, 0, 0, 150))
    draw.text(corner, "AI-generated", fill=(255, 255, 255, 255), font=font(size), anchor="rd")
