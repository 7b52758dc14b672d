# SPDX-License-Identifier: Apache-2.0
"""
Change one person of a picture so that everybody sees it.

The face becomes a coarse copy in the keyword's colour, the person gets an outline and a label, a strip says
"EMULATED". The faces of the others are put back as they were.
"""

from __future__ import annotations

import colorsys
import hashlib
from functools import lru_cache
from typing import Any

from PIL import Image, ImageDraw, ImageFilter, ImageFont

from ..faces import Face, cut_face
from .entities import Generation, Person

#: In this order their colours go round the colour circle.
LOCATIONS = (
    "Africa",
    "Central Africa",
    "East Asia",
    "Middle East",
    "North America",
    "North Europe",
    "Oceania",
    "South America",
    "South Europe",
)


@lru_cache(maxsize=16)
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def colour_of(word: str, seed: int = 0) -> tuple[int, int, int]:
    """Return the colour of a keyword's value; a seed shifts its hue a little."""
    known = [name.lower() for name in LOCATIONS]
    if word.lower() in known:
        hue = known.index(word.lower()) / len(known)
    else:
        hue = int.from_bytes(hashlib.sha256(word.encode()).digest()[:2]) / 65536
    red, green, blue = colorsys.hls_to_rgb((hue + 0.013 * (seed % 5)) % 1.0, 0.42, 0.75)
    return int(red * 255), int(green * 255), int(blue * 255)


def replace_person(image: Image.Image, generation: Generation) -> Image.Image:
    """Return a changed copy of the picture."""
    wish, person = generation.wish, generation.person
    seed = int(wish.options.get("seed", 0))
    colour = colour_of(wish.word, seed)
    result = image.copy()
    _face(result, person.face, colour, seed)
    _outline(result, person.face, colour)
    _label(result, person, f"{wish.word} · person {person.id}", colour)
    others = [other.face for other in generation.target.persons if other.id != person.id]
    text = f"EMULATED · {wish.word} · person {person.id}" + (f" · seed {seed}" if seed else "")
    _strip(result, text, colour, top=_top_is_free(image, [*others, person.face]))
    if wish.options.get("flag_watermark", 1):
        _watermark(result)
    for face in others:
        result.paste(cut_face(image, face), (face.left, face.top))
    return result


def _face(image: Image.Image, face: Face, colour: tuple[int, int, int], seed: int) -> None:
    coarse = 8 + seed % 7
    new = cut_face(image, face).resize((coarse, coarse), Image.Resampling.BOX)
    new = new.resize(face.size, Image.Resampling.NEAREST)
    new = Image.blend(new, Image.new("RGB", face.size, colour), 0.45)
    mask = Image.new("L", face.size, 0)
    ImageDraw.Draw(mask).ellipse((0, 0, face.size[0] - 1, face.size[1] - 1), fill=255)
    mask = mask.filter(ImageFilter.GaussianBlur(max(1, face.size[0] // 40)))
    image.paste(new, (face.left, face.top), mask)


def _outline(image: Image.Image, face: Face, colour: tuple[int, int, int]) -> None:
    width, height = face.size
    line = max(2, width // 28)
    draw = ImageDraw.Draw(image)
    head = (
        face.left - width // 8,
        face.top - height // 4,
        face.right + width // 8,
        face.bottom + height // 6,
    )
    draw.arc(head, 115, 65, fill=colour, width=line)
    shoulders = (face.left - width // 2, face.bottom + height // 8, face.right + width // 2)
    draw.arc((*shoulders, face.bottom + 2 * height), 180, 256, fill=colour, width=line)
    draw.arc((*shoulders, face.bottom + 2 * height), 284, 360, fill=colour, width=line)


def _label(image: Image.Image, person: Person, text: str, colour: tuple[int, int, int]) -> None:
    face = person.face
    font = _font(max(9, min(28, face.size[0] // 7)))
    draw = ImageDraw.Draw(image)
    where = ((face.left + face.right) // 2, min(image.height - 4, face.bottom + face.size[1] // 3))
    box = draw.textbbox(where, text, font=font, anchor="ma")
    draw.rounded_rectangle((box[0] - 5, box[1] - 3, box[2] + 5, box[3] + 4), 5, fill=colour)
    draw.text(where, text, fill="white", font=font, anchor="ma")


def _strip_height(image: Image.Image) -> int:
    return max(12, min(image.height // 14, 48))


def _top_is_free(image: Image.Image, faces: list[Face]) -> bool:
    return all(face.top - face.size[1] // 2 > _strip_height(image) for face in faces)


def _strip(image: Image.Image, text: str, colour: tuple[int, int, int], *, top: bool) -> None:
    height = _strip_height(image)
    edge = 0 if top else image.height - height
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, edge, image.width, edge + height), fill=colour)
    size = int(height * 0.6)
    wide = draw.textlength(text, font=_font(size)) or 1
    font = _font(max(8, min(size, int(size * (image.width - height // 2) / wide))))
    draw.text((height // 4, edge + height // 2), text, fill="white", font=font, anchor="lm")


def _watermark(image: Image.Image) -> None:
    size = max(8, image.height // 32)
    draw = ImageDraw.Draw(image, "RGBA")
    corner = (image.width - size // 2, image.height - _strip_height(image) - size // 2)
    box = draw.textbbox(corner, "AI-generated", font=_font(size), anchor="rd")
    draw.rectangle((box[0] - 4, box[1] - 3, box[2] + 4, box[3] + 3), fill=(0, 0, 0, 150))
    draw.text(corner, "AI-generated", fill=(255, 255, 255, 255), font=_font(size), anchor="rd")
