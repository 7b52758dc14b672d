# SPDX-License-Identifier: Apache-2.0
"""
Change one person of a picture in a clearly visible way.

The face becomes a pixelated copy in the keyword's colour, the person gets an outline and a label, and a strip
says "EMULATED". The faces of other persons are not changed.
"""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFilter

from ..drawing import Colour, font, hue_of, rgb, strip, watermark
from ..faces import Face, cut_face
from .entities import Generation, Person

#: Their hues are evenly spaced, in this order.
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


def colour_of(word: str, seed: int = 0) -> Colour:
    """Return the colour of a keyword value; the seed shifts its hue slightly."""
    known = [name.lower() for name in LOCATIONS]
    hue = known.index(word.lower()) / len(known) if word.lower() in known else hue_of(word)
    return rgb(hue + 0.013 * (seed % 5), 0.42, 0.75)


def replace_person(image: Image.Image, generation: Generation) -> Image.Image:
    """Return a changed copy of the picture."""
    asked, person = generation.request, generation.person
    seed = int(asked.options.get("seed", 0))
    colour = colour_of(asked.word, seed)
    result = image.copy()
    _face(result, person.face, colour, seed)
    _outline(result, person.face, colour)
    _label(result, person, f"{asked.word} · person {person.id}", colour)
    others = [other.face for other in generation.target.persons if other.id != person.id]
    text = f"EMULATED · {asked.word} · person {person.id}" + (f" · seed {seed}" if seed else "")
    height = _strip_height(image)
    top = 0 if _top_is_free(image, [*others, person.face]) else image.height - height
    strip(result, text, colour, top=top, height=height)
    if asked.options.get("flag_watermark", 1):
        size = max(8, image.height // 32)
        watermark(result, size, image.height - height - size // 2)
    for face in others:
        result.paste(cut_face(image, face), (face.left, face.top))
    return result


def _face(image: Image.Image, face: Face, colour: Colour, seed: int) -> None:
    coarse = 8 + seed % 7
    new = cut_face(image, face).resize((coarse, coarse), Image.Resampling.BOX)
    new = new.resize(face.size, Image.Resampling.NEAREST)
    new = Image.blend(new, Image.new("RGB", face.size, colour), 0.45)
    mask = Image.new("L", face.size, 0)
    ImageDraw.Draw(mask).ellipse((0, 0, face.size[0] - 1, face.size[1] - 1), fill=255)
    mask = mask.filter(ImageFilter.GaussianBlur(max(1, face.size[0] // 40)))
    image.paste(new, (face.left, face.top), mask)


def _outline(image: Image.Image, face: Face, colour: Colour) -> None:
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


def _label(image: Image.Image, person: Person, text: str, colour: Colour) -> None:
    face = person.face
    letters = font(max(9, min(28, face.size[0] // 7)))
    draw = ImageDraw.Draw(image)
    where = ((face.left + face.right) // 2, min(image.height - 4, face.bottom + face.size[1] // 3))
    box = draw.textbbox(where, text, font=letters, anchor="ma")
    draw.rounded_rectangle((box[0] - 5, box[1] - 3, box[2] + 5, box[3] + 4), 5, fill=colour)
    draw.text(where, text, fill="white", font=letters, anchor="ma")


def _strip_height(image: Image.Image) -> int:
    return max(12, min(image.height // 14, 48))


def _top_is_free(image: Image.Image, faces: list[Face]) -> bool:
    return all(face.top - face.size[1] // 2 > _strip_height(image) for face in faces)
