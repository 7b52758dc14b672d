# SPDX-License-Identifier: Apache-2.0
"""Draw the pictures of jobs that do more than swap a face: clearly visible, and different for each request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageColor, ImageDraw, ImageOps

from .drawing import Colour, hue_of, rgb, strip, watermark

_LONG_SIDE = {"1K": 1024, "2K": 2048, "4K": 4096}
_SKIN = (224, 190, 165)


def size_of(options: dict[str, Any], ratio: str = "3:4") -> tuple[int, int]:
    """
    Return width and height of an output in pixels.

    :param options: ``size``, ``ar``, ``width`` and ``height`` of an instruction.
    :param ratio: Used if ``ar`` is absent.
    """
    if "width" in options and "height" in options:
        return options["width"], options["height"]
    across, down = (int(part) for part in str(options.get("ar", ratio)).split(":"))
    long_side = _LONG_SIDE[options.get("size", "1K")]
    scale = long_side / max(across, down)
    return round(across * scale), round(down * scale)


def colour_in(text: str) -> Colour:
    """Return the first colour that a text names, else one that is always the same for the same text."""
    for word in text.lower().replace(",", " ").split():
        if word in ImageColor.colormap or word.startswith("#"):
            try:
                return ImageColor.getrgb(word)[:3]
            except ValueError:
                continue
    return rgb(hue_of(text), 0.6, 0.45)


def recoloured(image: Image.Image, target: str, label: str, *, turn: float, mark: bool) -> Image.Image:
    """
    Return the picture with all its hues turned towards a colour.

    :param target: Names the colour.
    :param turn: Added to the hue, as a share of the circle, so that variations and versions differ.
    :param mark: Whether to write "AI-generated" at the bottom right.
    """
    wanted = Image.new("RGB", (1, 1), colour_in(target)).convert("HSV").getpixel((0, 0))
    assert isinstance(wanted, tuple)
    _, saturation, value = image.convert("HSV").split()
    hue = Image.new("L", image.size, int(wanted[0] + 255 * turn) % 256)
    changed = Image.merge("HSV", (hue, saturation.point(lambda level: max(level, 90)), value)).convert("RGB")
    _label(changed, label)
    if mark:
        size = max(8, changed.height // 28)
        watermark(changed, size, changed.height - size // 2)
    return changed


def cut_out(images: Sequence[Image.Image], size: tuple[int, int], background: str, label: str) -> Image.Image:
    """Return all pictures beside each other on the asked background, each with a shadow."""
    scene = Image.new("RGB", size, colour_in(background))
    draw = ImageDraw.Draw(scene)
    width = size[0] // len(images)
    for place, image in enumerate(images):
        small = ImageOps.contain(image, (int(width * 0.8), int(size[1] * 0.7)))
        left = place * width + (width - small.width) // 2
        top = (size[1] - small.height) // 2
        bottom = top + small.height
        draw.ellipse((left, bottom - 8, left + small.width, bottom + size[1] // 30), fill=(0, 0, 0))
        scene.paste(small, (left, top))
    _label(scene, label)
    return scene


def worn(
    images: Sequence[Image.Image],
    size: tuple[int, int],
    face: Image.Image | None,
    background: str,
    label: str,
) -> Image.Image:
    """
    Return a figure beside all pictures.

    :param face: The identity's face; a plain one is drawn without it.
    """
    scene = Image.new("RGB", size, colour_in(background))
    draw = ImageDraw.Draw(scene)
    width, height = size
    middle, head = int(width * 0.3), height // 10
    draw.ellipse((middle - head, height * 0.12, middle + head, height * 0.12 + 2.4 * head), fill=_SKIN)
    if face is not None:
        scene.paste(
            face.resize((int(head * 1.4), int(head * 1.7))), (int(middle - head * 0.7), int(height * 0.15))
        )
    body = (middle - 1.8 * head, height * 0.38, middle + 1.8 * head, height * 0.95)
    draw.rounded_rectangle(body, radius=head, fill=(60, 60, 80))
    shirt = ImageOps.fit(images[0], (int(3.0 * head), int(height * 0.3)))
    scene.paste(shirt, (int(middle - 1.5 * head), int(height * 0.42)))
    tall = int(height * 0.8 / len(images))
    for place, image in enumerate(images):
        small = ImageOps.contain(image, (int(width * 0.35), int(tall * 0.9)))
        scene.paste(small, (int(width * 0.6), int(height * 0.12) + place * tall))
    _label(scene, label)
    return scene


def _label(image: Image.Image, text: str) -> None:
    height = max(12, min(image.height // 12, 60))
    strip(image, f"EMULATED · {text}", rgb(hue_of(text), 0.35, 0.5), top=0, height=height)
