# SPDX-License-Identifier: Apache-2.0
"""Small valid images to test with."""

from __future__ import annotations

import os
from pathlib import Path


def write_picture(path: Path, *, size: tuple[int, int] = (64, 48), color: str = "orange") -> Path:
    """
    Write an image of one color and return its path; missing folders are created.

    :param path: The file extension selects the format: ``.jpg``, ``.png`` or ``.webp``.
    :param size: Width and height in pixels.
    """
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)
    return path


def write_pictures(folder: Path, *names: str) -> Path:
    """Write images of different content, each a second newer than the one before; return the folder."""
    for number, name in enumerate(names):
        path = write_picture(folder / name, color=f"rgb({60 * number % 256}, 90, {90 + 7 * number % 160})")
        os.utime(path, (1000 + number, 1000 + number))
    return folder
