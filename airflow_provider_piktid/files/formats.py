# SPDX-License-Identifier: Apache-2.0
"""Which picture format some bytes are, and whether a file of that format is whole."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Literal

from airflow_provider_piktid.exceptions import PiktidImageError

ImageFormat = Literal["jpeg", "png", "webp"]

#: Bytes needed to tell a format.
HEAD_BYTES = 16

#: What v2 takes; its clients upload only these. v1 takes WEBP too.
V2_FORMATS: tuple[ImageFormat, ...] = ("jpeg", "png")

EXTENSIONS: dict[ImageFormat, tuple[str, ...]] = {
    "jpeg": (".jpg", ".jpeg"),
    "png": (".png",),
    "webp": (".webp",),
}

CONTENT_TYPES: dict[ImageFormat, str] = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}

_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


def sniff(head: bytes) -> ImageFormat | None:
    """Tell the format from the first :data:`HEAD_BYTES` bytes; None if it is none of ours."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    return None


def require_image(head: bytes, size: int, name: str, allowed: Collection[ImageFormat]) -> ImageFormat:
    """
    Return the format of a file, or say what is wrong with it.

    :param head: The first bytes of the file.
    :param size: Its size in bytes.
    :param name: How the message calls it.
    :param allowed: Formats the API takes for this call.
    :raises PiktidImageError: Empty, no picture, or a picture of another format.
    """
    wanted = ", ".join(fmt.upper() for fmt in allowed)
    if size == 0:
        raise PiktidImageError(f"{name} is empty. Replace it by a {wanted} picture or exclude it.")
    found = sniff(head)
    if found is None:
        raise PiktidImageError(
            f"{name} is not a picture that PiktID takes, whatever its name says. "
            f"Convert it to {wanted} or exclude it."
        )
    if found not in allowed:
        raise PiktidImageError(
            f"{name} is a {found.upper()} picture; this call takes {wanted}. Convert or exclude it."
        )
    return found


def is_whole(head: bytes, tail: bytes, size: int) -> bool:
    """
    Tell whether a downloaded picture was cut off, by the end mark that its format has.

    :param head: The first :data:`HEAD_BYTES` bytes.
    :param tail: The last bytes, 64 or more where the file has as many.
    :param size: Size of the whole in bytes.
    :return: False for a cut-off picture, and for bytes that are no picture at all.
    """
    match sniff(head):
        case "jpeg":
            # Some encoders pad with zeros behind the end-of-image mark.
            return tail.rstrip(b"\x00").endswith(b"\xff\xd9")
        case "png":
            return _PNG_END in tail
        case "webp":
            # The length field leaves out its own eight bytes; odd chunks are padded to even.
            stated = int.from_bytes(head[4:8], "little") + 8
            return size in (stated, stated + 1)
    return False


def decodes(path: str) -> bool:
    """
    Tell whether a picture's data can be read to its end.

    JPEG is decoded at an eighth of its size and PNG checked by its checksums, so that this takes little memory
    however large the picture is; WEBP is decoded whole. Blocks: some milliseconds for a megabyte.

    :param path: A local file.
    """
    from PIL import Image

    try:
        # A picture larger than Pillow expects is only warned about: the size was checked by others.
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            if picture.format == "PNG":
                picture.verify()
            else:
                picture.draft("L", (max(1, picture.width // 8), max(1, picture.height // 8)))
                picture.load()
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
        return False
    return True
