# SPDX-License-Identifier: Apache-2.0
"""Images of a given size: noise, which JPEG cannot compress."""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image

#: The number of different contents; the other files are hard links to them.
DISTINCT = 4


def photos(folder: Path, count: int, size: int) -> Path:
    """
    Create a folder of JPEG files.

    :param size: Bytes of each file, within 3 %.
    """
    folder.mkdir()
    side = 512
    for _ in range(3):
        side = round(side * (size / len(_noise(side))) ** 0.5)
    for number in range(count):
        path = folder / f"{number:04d}.jpg"
        if number < DISTINCT:
            path.write_bytes(_noise(side))
        else:
            path.hardlink_to(folder / f"{number % DISTINCT:04d}.jpg")
    return folder


def _noise(side: int) -> bytes:
    picture = Image.frombytes("RGB", (side, side), os.urandom(side * side * 3))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=90)
    return out.getvalue()
