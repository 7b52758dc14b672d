# SPDX-License-Identifier: Apache-2.0
"""File names that are safe in any store, and when two names may be one."""

from __future__ import annotations

import hashlib
import posixpath
import re
import unicodedata
from typing import Final

#: Longest name before the part that makes outputs unique, in bytes: most stores and file systems end at 255.
MAX_STEM_BYTES: Final = 180


#: Relative paths in which nothing has to be replaced: most of them.
_PLAIN = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9_.-]*/)*[A-Za-z0-9_-]+\.[A-Za-z0-9]+")


def safe_name(name: str | None, fallback: str) -> str:
    """
    Return a base name that cannot leave its folder, is not hidden, and is not too long.

    Names that a server supplies are untrusted: paths, NUL, five thousand characters, or nothing at all.

    :param fallback: Returned if nothing usable is left.
    """
    base = (name or "").replace("\\", "/").rsplit("/", 1)[-1]
    base = "".join(char for char in base if unicodedata.category(char)[0] != "C").strip().lstrip(".")
    encoded = base.encode("utf-8", "ignore")
    if len(encoded) > MAX_STEM_BYTES:
        # Long names that differ only in the part that is cut off get different digests.
        mark = "~" + hashlib.sha256(encoded).hexdigest()[:8]
        base = encoded[: MAX_STEM_BYTES - len(mark)].decode("utf-8", "ignore") + mark
    return base or fallback


def safe_relative(relative: str) -> str:
    """Return a relative path without the parts that lead out of its folder, and without control characters."""
    printable = "".join(char for char in relative if char.isprintable())
    return "/".join(part for part in printable.split("/") if part not in ("", ".", ".."))


def output_stem(relative: str) -> str:
    """
    Return folder and name with which the outputs of a source begin; sources that share one need other names.

    :param relative: Path of a file; or of a folder, with ``/`` at its end.
    """
    if len(relative) <= MAX_STEM_BYTES and _PLAIN.fullmatch(relative):
        return relative.rpartition(".")[0]
    path = safe_relative(relative)
    name = safe_name(posixpath.basename(path), "image")
    stem = name if relative.endswith("/") else posixpath.splitext(name)[0]
    return posixpath.join(posixpath.dirname(path), safe_name(stem, "image"))


def folded(name: str) -> str:
    """Return what is equal for names that a store, or a file system that ignores case, may treat as one."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()
