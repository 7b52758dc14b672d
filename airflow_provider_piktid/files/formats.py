# SPDX-License-Identifier: Apache-2.0
"""Detect the image format of a file, and whether the file is complete."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import BinaryIO, Literal

from airflow_provider_piktid.exceptions import PiktidImageError

ImageFormat = Literal["jpeg", "png", "webp"]

#: Bytes needed to detect a format.
HEAD_BYTES = 16

#: Bytes at the end of a file that contain the end mark of any format.
TAIL_BYTES = 64

#: Formats that v2 accepts: PiktID's clients upload only these. v1 accepts WEBP too.
V2_FORMATS: tuple[ImageFormat, ...] = ("jpeg", "png")

EXTENSIONS: dict[ImageFormat, tuple[str, ...]] = {
    "jpeg": (".jpg", ".jpeg"),
    "png": (".png",),
    "webp": (".webp",),
}

CONTENT_TYPES: dict[ImageFormat, str] = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}

#: Bytes that Pillow reads at a time. With its 64 KiB, a thread that decodes asks for Python's lock 16 times a megabyte,
#: and waits each time while many files are being downloaded.
_DECODE_BYTES = 512 * 1024

_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


def sniff(head: bytes) -> ImageFormat | None:
    """Return the format for the first :data:`HEAD_BYTES` bytes, None for an unsupported one."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    return None


def require_image(head: bytes, size: int, name: str, allowed: Collection[ImageFormat]) -> ImageFormat:
    """
    Return the format of a file, or raise what is wrong with it.

    :param head: The first bytes of the file.
    :param size: Size of the file in bytes.
    :param name: Name of the file in the message.
    :param allowed: Formats that the API accepts for this call.
    :raises PiktidImageError: The file is empty, not an image, or an image of another format.
    """
    wanted = ", ".join(fmt.upper() for fmt in allowed)
    if size == 0:
        raise PiktidImageError(f"{name} is empty. Replace it with a {wanted} image or exclude it.")
    found = sniff(head)
    if found is None:
        raise PiktidImageError(
            f"{name}: file content is not a supported image format. Convert it to {wanted} or exclude it."
        )
    if found not in allowed:
        raise PiktidImageError(
            f"{name} is a {found.upper()} image; this call accepts {wanted}. Convert or exclude it."
        )
    return found


def is_whole(head: bytes, tail: bytes, size: int) -> bool:
    """
    Return whether a downloaded image is complete, by the end mark of its format.

    :param head: The first :data:`HEAD_BYTES` bytes.
    :param tail: The last bytes, at least 64 if the file has as many.
    :param size: Size of the file in bytes.
    :return: False for a truncated image, and for bytes that are not an image.
    """
    match sniff(head):
        case "jpeg":
            # Some encoders add zeros after the end-of-image mark.
            return tail.rstrip(b"\x00").endswith(b"\xff\xd9")
        case "png":
            return _PNG_END in tail
        case "webp":
            # The length field does not count its own eight bytes; odd chunks are padded to even.
            stated = int.from_bytes(head[4:8], "little") + 8
            return size in (stated, stated + 1)
    return False


def decodes(image: str | BinaryIO) -> bool:
    """
    Return whether the data of an image can be read to the end.

    JPEG is decoded at an eighth of its size and PNG is checked by its checksums, which needs little memory for
    images of any size; WEBP is decoded completely. Blocks: a few milliseconds per megabyte.

    :param image: Path of a local file, or a file opened for reading.
    """
    from PIL import Image

    try:
        # Pillow only warns about a very large image; callers check the size.
        with warnings.catch_warnings(), Image.open(image) as picture:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            if picture.format == "PNG":
                picture.verify()
            else:
                picture.decodermaxblock = _DECODE_BYTES
                picture.draft("L", (max(1, picture.width // 8), max(1, picture.height // 8)))
                picture.load()
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
        return False
    return True
