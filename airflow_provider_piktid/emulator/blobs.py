# SPDX-License-Identifier: Apache-2.0
"""Files on disk: uploads, pictures, archives."""

from __future__ import annotations

import functools
import hashlib
import itertools
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

CONTENT_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
}
EXTENSIONS = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "application/zip": ".zip"}


@dataclass(frozen=True)
class Blob:
    """A file on disk; ``size`` in bytes."""

    path: Path
    content_type: str
    size: int

    def digest(self, algorithm: str) -> bytes:
        """Return the checksum of the content; it is computed once."""
        return _digest(self.path, algorithm)


@functools.lru_cache(maxsize=10_000)
def _digest(path: Path, algorithm: str) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).digest()


class BlobFolder:
    """
    A folder of files with generated names.

    :param folder: Default: a temporary folder, which :meth:`close` removes.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._own = folder is None
        self._folder = Path(tempfile.mkdtemp(prefix="piktid-emulator-")) if folder is None else folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._numbers = itertools.count(1)

    def new_path(self, suffix: str = "") -> Path:
        """Return an unused path."""
        while (path := self._folder / f"{next(self._numbers):08d}{suffix}").exists():
            pass
        return path

    def save(self, data: bytes, content_type: str) -> Blob:
        """Write ``data`` to a new file."""
        path = self.new_path(EXTENSIONS.get(content_type, ""))
        path.write_bytes(data)
        return Blob(path, content_type, len(data))

    def close(self) -> None:
        if self._own:
            shutil.rmtree(self._folder, ignore_errors=True)


def content_type_of(filename: str) -> str:
    """Return the content type that the API derives from a file name; ``image/jpeg`` if it is unknown."""
    return CONTENT_TYPES.get(Path(filename).suffix.lower(), "image/jpeg")
