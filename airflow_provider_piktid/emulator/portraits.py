# SPDX-License-Identifier: Apache-2.0
"""Draw the faces of identity drafts: simple, and different for each brief and variation."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image, ImageDraw

from .drawing import Colour, hue_of, rgb, strip
from .scenes import colour_in

#: The part of a draft that shows the face, as shares of width and height: left, top, right, bottom.
HEAD = (0.28, 0.24, 0.72, 0.76)


def drawn_face(
    size: tuple[int, int], brief: Mapping[str, str], *, seed: str, turn: int, label: str
) -> Image.Image:
    """
    Return a drawn face with a label.

    :param brief: What was asked of ``appearance``, ``face`` and ``hair``, as text.
    :param seed: Faces with another seed differ.
    :param turn: Number of the variation: each looks different.
    """
    width, height = size
    scene = Image.new("RGB", size, rgb(hue_of(seed), 0.82, 0.3))
    draw = ImageDraw.Draw(scene)
    chance = hue_of(f"{seed} {turn}")
    middle, wide = width / 2, width * (0.17 + 0.04 * chance)
    hair, skin = _shifted(colour_in(brief["hair"]), turn), _skin(brief["appearance"], chance)
    top, chin = height * 0.26, height * (0.66 + 0.06 * chance)
    long_hair = height * (0.5 + 0.1 * (turn % 4))
    draw.ellipse((middle - 1.25 * wide, top - 0.05 * height, middle + 1.25 * wide, long_hair), fill=hair)
    draw.rectangle((middle - 0.4 * wide, chin - 0.06 * height, middle + 0.4 * wide, height * 0.82), fill=skin)
    draw.ellipse((middle - 2 * wide, height * 0.8, middle + 2 * wide, height * 1.3), fill=(70, 70, 90))
    draw.ellipse((middle - wide, top + 0.04 * height, middle + wide, chin), fill=skin)
    _features(draw, middle, wide, (top, chin), colour_in(brief["face"]))
    bar = max(12, min(height // 12, 60))
    strip(scene, f"EMULATED · {label}", rgb(hue_of(label), 0.35, 0.5), top=0, height=bar)
    return scene


def _features(
    draw: ImageDraw.ImageDraw, middle: float, wide: float, span: tuple[float, float], eyes: Colour
) -> None:
    """Draw eyes, nose and mouth between the top of the head and the chin."""
    top, chin = span
    line, eye = top + (chin - top) * 0.5, wide * 0.16
    for side in (-0.45, 0.45):
        centre = middle + side * wide
        draw.ellipse((centre - 1.4 * eye, line - eye, centre + 1.4 * eye, line + eye), fill="white")
        draw.ellipse((centre - eye, line - eye, centre + eye, line + eye), fill=eyes)
    nose = line + (chin - top) * 0.18
    draw.line((middle, line, middle - 0.12 * wide, nose), fill=(150, 110, 90), width=max(1, int(wide * 0.06)))
    mouth = (middle - 0.4 * wide, nose, middle + 0.4 * wide, nose + (chin - top) * 0.16)
    draw.arc(mouth, 20, 160, fill=(170, 60, 70), width=max(1, int(wide * 0.1)))


def _skin(appearance: str, chance: float) -> Colour:
    """Return a tone of skin, lighter or darker by the brief and by chance."""
    light = 0.35 + 0.45 * hue_of(appearance) + 0.06 * chance
    return rgb(0.07, light, 0.45)


def _shifted(colour: Colour, turn: int) -> Colour:
    """Return a colour that is a little darker for each variation."""
    factor = max(0.3, 1 - 0.12 * turn)
    red, green, blue = (int(part * factor) for part in colour)
    return red, green, blue
