# SPDX-License-Identifier: Apache-2.0
"""Detect the persons in a picture, and whether their faces can be used."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from PIL import Image

from ..faces import DETECTION_SIDE, Face, cut_face, find_faces, open_picture
from .entities import Person

#: Longer side, in pixels, at which pictures of groups are searched a second time. Pictures of one person are not,
#: because the cascade then reports false faces.
GROUP_SIDE = 600
#: A picture shows a group if the first search finds no face, or one narrower than this on the reduced copy.
GROUP_FACE = 32
#: Faces narrower than this, in pixels, are too small.
SMALLEST = 32
#: A face is blurry if the variance of its second derivative, at 64 x 64 grey pixels, is below this.
SHARPEST_BLUR = 25.0


def persons_in(path: Path) -> tuple[tuple[int, int], list[Person]]:
    """
    Detect the persons in a picture, numbered from left to right.

    :return: Width and height, and the persons.
    :raises UnreadablePicture: The file is not a picture.
    """
    image, _ = open_picture(path)
    faces = sorted(_apart(_search(image)), key=lambda face: (face.left, face.top))
    return image.size, [Person(number, face, usable(image, face)) for number, face in enumerate(faces)]


def _search(image: Image.Image) -> list[Face]:
    faces = find_faces(image)
    scale = min(1.0, DETECTION_SIDE / max(image.size))
    if faces and min(face.size[0] for face in faces) * scale >= GROUP_FACE:
        return faces
    return find_faces(image, GROUP_SIDE)


def _apart(faces: list[Face]) -> list[Face]:
    """Keep the largest of overlapping faces; the cascade reports some twice."""
    kept: list[Face] = []
    for face in faces:
        x, y = (face.left + face.right) / 2, (face.top + face.bottom) / 2
        if not any(f.left <= x <= f.right and f.top <= y <= f.bottom for f in kept):
            kept.append(face)
    return kept


def usable(image: Image.Image, face: Face) -> bool:
    """Return whether a face is large and sharp enough."""
    return min(face.size) >= SMALLEST and sharpness(cut_face(image, face)) >= SHARPEST_BLUR


def sharpness(face: Image.Image) -> float:
    """Return the sharpness of a face: about 1000 for a good photograph, below 25 for a blurred one."""
    import numpy as np

    grey: Any = np.asarray(face.convert("L").resize((64, 64)), dtype=float)
    sides = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((4 * grey[1:-1, 1:-1] - sides).var())


def persons_on_grid(size: tuple[int, int], count: int, approve: Any = True) -> list[Person]:
    """
    Return ``count`` persons on a grid, for tests that need more persons than a picture shows.

    :param approve: One value for all, or a list with one value each; its last value applies to the rest.
    """
    values = approve if isinstance(approve, list) and approve else [bool(approve)]
    columns = max(1, math.ceil(math.sqrt(count)))
    width, height = size[0] / columns, size[1] / max(1, math.ceil(count / columns))
    persons = []
    for number in range(count):
        row, column = divmod(number, columns)
        left, top = int((column + 0.2) * width), int((row + 0.2) * height)
        face = Face(left, top, left + max(1, int(0.6 * width)), top + max(1, int(0.6 * height)))
        persons.append(Person(number, face, bool(values[min(number, len(values) - 1)])))
    return persons
