# SPDX-License-Identifier: Apache-2.0
"""Photographs for the demos to work on, and the check that a result is not just a copy of one."""

from __future__ import annotations

from pathlib import Path

#: File name suffixes that a batch uploads.
SUFFIXES = (".jpg", ".jpeg", ".png")


def photographs(folder: Path) -> Path:
    """
    Write a few photographs made from the portrait that scikit-image ships, and return their folder.

    Two of them have the same name in different folders, as is common in real shoots.
    """
    from PIL import Image
    from skimage import data

    person = Image.fromarray(data.astronaut())
    crops = {
        "look-1/front.jpg": person,
        "look-1/detail.jpg": person.crop((100, 0, 400, 300)),
        "look-2/front.jpg": person.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    }
    for name, picture in crops.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, quality=92)
    return folder


def two_persons(path: Path) -> Path:
    """Write a photograph of two persons made from the same portrait, and return its path."""
    from PIL import Image
    from skimage import data

    person = Image.fromarray(data.astronaut())
    picture = Image.new("RGB", (person.width * 2, person.height))
    picture.paste(person, (0, 0))
    picture.paste(person.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (person.width, 0))
    picture.save(path, quality=92)
    return path


def example_files(folder: Path) -> Path:
    """Write the files that the example DAGs name in their default parameters, and return the folder."""
    from PIL import Image

    photographs(folder / "shoot")
    for name in ("shirts", "dresses"):
        photographs(folder / "shoots" / name)
    two_persons(folder / "street.jpg")
    face = folder / "faces" / "anna.jpg"
    face.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(folder / "shoot" / "look-1" / "detail.jpg") as picture:
        picture.save(face, quality=92)
    return folder


def catalogue(folder: Path) -> Path:
    """Write six photographs, all different, and return their folder."""
    from PIL import Image, ImageOps

    photographs(folder)
    with (
        Image.open(folder / "look-1" / "front.jpg") as front,
        Image.open(folder / "look-1" / "detail.jpg") as detail,
    ):
        further = {
            "look-2/detail.jpg": ImageOps.mirror(detail),
            "look-3/front.jpg": ImageOps.autocontrast(front, cutoff=5),
            "look-3/detail.jpg": ImageOps.expand(detail, border=40, fill="white"),
        }
        for name, picture in further.items():
            (folder / name).parent.mkdir(exist_ok=True)
            picture.save(folder / name, quality=92)
    return folder


def retouch(photograph: Path) -> None:
    """Replace a photograph by a visibly different version of it."""
    from PIL import Image, ImageEnhance

    with Image.open(photograph) as picture:
        brighter = ImageEnhance.Brightness(picture).enhance(1.2)
    brighter.save(photograph, quality=92)


def differs(result: Path, original: Path) -> bool:
    """Return whether two pictures differ visibly; compressing one again is not a visible difference."""
    from PIL import Image, ImageChops

    with Image.open(result) as first, Image.open(original) as second:
        small = [picture.convert("RGB").resize((256, 256)) for picture in (first, second)]
    return any(ImageChops.difference(*small).convert("L").histogram()[32:])
