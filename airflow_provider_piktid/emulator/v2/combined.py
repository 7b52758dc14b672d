# SPDX-License-Identifier: Apache-2.0
"""What flat-lay and packshot jobs share: inputs with notes, instructions, all inputs in each output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from ..blobs import Blob
from ..core import Core
from ..faces import encode, open_picture
from ..state import State
from ..wire import Check
from .checks import body_check
from .entities import StoredFile
from .job import Output
from .paid_jobs import files_of

SIZES = ("1K", "2K", "4K")
RATIOS = ("1:1", "3:4", "4:3", "9:16", "16:9")
FORMATS = {"jpg": "image/jpeg", "png": "image/png"}
PRICES = {"1K": 3.0, "2K": 5.0, "4K": 10.0}
MOST_INSTRUCTIONS = 10


def price_of(instruction: dict[str, Any]) -> float:
    """Return the price of one output of an instruction."""
    return PRICES[instruction.get("options", {}).get("size", "1K")]


def combined_files(state: State, check: Check) -> list[StoredFile]:
    """Read ``images``: file ids, or objects with ``file_id`` and ``note``."""
    value = check.take("images", required=True)
    if value is None:
        return []
    listed: list[Any] = value if isinstance(value, list) else []
    ids: list[Any] = [item.get("file_id") if isinstance(item, dict) else item for item in listed]
    most = state.variants.number("images_limit")
    if not ids or not all(isinstance(item, str) and item for item in ids) or (most and len(ids) > most):
        check.wrong("images", f"Input should be a list of 1 to {most or 'any number of'} file ids")
        return []
    return files_of(state, check, ids)


def instructions(
    state: State, check: Check, read: Callable[[Check], None], *, required: bool
) -> list[dict[str, Any]]:
    """
    Read ``instructions`` and return them as they were sent.

    :param read: Checks the fields of one instruction.
    """
    value = check.take("instructions", required=required)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MOST_INSTRUCTIONS or (required and not value):
        check.wrong("instructions", f"List should have {int(required)} to {MOST_INSTRUCTIONS} items")
        return []
    for place, item in enumerate(value):
        inner = body_check(state, item)
        read(inner)
        check.adopt(f"instructions.{place}", inner)
    return [item for item in value if isinstance(item, dict)]


def picture_options(state: State, check: Check, ratios: Sequence[str] = RATIOS) -> Check:
    """Check ``size``, ``ar`` and ``format`` of the field ``options``; return the check of that field."""
    inner = body_check(state, check.take("options") or {})
    inner.choice("size", SIZES, "1K")
    inner.choice("ar", ratios, "3:4")
    inner.choice("format", tuple(FORMATS), "jpg")
    return inner


def opened(sources: list[Blob]) -> list[Image.Image]:
    """Return the pictures of all inputs."""
    return [open_picture(blob.path)[0] for blob in sources]


def saved(core: Core, output: Output, image: Image.Image, instruction: dict[str, Any]) -> Blob:
    """Save a picture in the format of its instruction."""
    content_type = FORMATS[instruction.get("options", {}).get("format", "jpg")]
    return core.folder.save(encode(image, content_type), content_type)
