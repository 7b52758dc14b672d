# SPDX-License-Identifier: Apache-2.0
"""Download to a temporary file, validate, rename atomically."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import posixpath
import tempfile
import zlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol, Self

from airflow_provider_piktid.files import formats
from airflow_provider_piktid.files.formats import HEAD_BYTES
from airflow_provider_piktid.files.storage import (
    PART,
    READ_BYTES,
    Location,
    has_atomic_put,
    part_name,
)

if TYPE_CHECKING:
    from airflow_provider_piktid.client import Checksum

#: Attempts to download a picture that arrives truncated or damaged.
FETCH_TRIES = 3


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """
    A downloaded file, not yet under its final name.

    :param checksum: What the server stated about the content. Default: nothing.
    :param matches: Whether the content has that checksum.
    """

    temporary: str
    size: int
    sha256: str
    head: bytes
    tail: bytes
    checksum: Checksum | None = None
    matches: bool = False


@contextlib.asynccontextmanager
async def receive(
    folder: Location, chunks: AsyncIterator[bytes], mark: str, checksum: Checksum | None = None
) -> AsyncIterator[ReceivedFile]:
    """
    Write a download to a temporary file, so that its content can be checked before it is published.

    On a local store the file is in the target's folder, so that :func:`publish` is a rename; for an object store it
    is in the temporary folder of this machine. It is always removed at the end of the block.

    :param mark: Prefix of the file name, the same for every try of a task; see :func:`remove_partial_files`.
    :param checksum: Computed and compared while the bytes arrive. Default: none.
    """
    temporary = part_name(os.path.join(folder.path if folder.is_local else tempfile.gettempdir(), mark))
    try:
        yield await _receive(temporary, chunks, checksum)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


async def picture_problem(received: ReceivedFile) -> str | None:
    """
    Return what is wrong with a downloaded picture; None if it is complete.

    It must have the first bytes and the end mark of an image. If its checksum matches, it is what the server has, and
    is not decoded. An ETag that does not match may be something else than a checksum: then decoding decides.
    """
    checksum = received.checksum
    if checksum is not None and checksum.is_certain and not received.matches:
        return f"was damaged on its way: it does not match its checksum ({checksum.origin})"
    if formats.is_whole(received.head, received.tail, received.size) and (
        received.matches or await asyncio.to_thread(formats.decodes, received.temporary)
    ):
        return None
    return f"is truncated or not an image ({received.size} bytes)"


async def publish(received: ReceivedFile, target: Location) -> None:
    """Give a file its final name atomically. A file of that name is replaced."""
    await asyncio.to_thread(_rename if target.is_local else _put, received.temporary, target)


async def publish_new(received: ReceivedFile, target: Location) -> bool:
    """
    Give a file its final name, unless another file has it.

    On a local store this is atomic. Other stores cannot distinguish two writers of the same moment.

    :return: False if there is a file of that name; it was not changed.
    """
    return await asyncio.to_thread(_link if target.is_local else _put_new, received.temporary, target)


async def is_part_of(target: Location, received: ReceivedFile) -> bool:
    """Return whether an existing file has the content of a received one, or only its beginning."""
    return await asyncio.to_thread(_is_beginning, target, received)


def remove_partial_files(folder: Location, present: Iterable[str], mark: str) -> None:
    """
    Remove the temporary files that a killed run with the same mark left below a local folder.

    :param present: Relative paths of the files in it.
    """
    for relative in present if folder.is_local else ():
        name = posixpath.basename(relative)
        if name.startswith(f".{mark}.") and name.endswith(PART):
            with contextlib.suppress(OSError):
                os.unlink(folder.join(relative).path)


async def _receive(temporary: str, chunks: AsyncIterator[bytes], checksum: Checksum | None) -> ReceivedFile:
    size, head, tail = 0, b"", b""
    waiting: list[bytes] = []
    held = 0
    with _PartialFile(temporary, ["sha256", *([checksum.algorithm] if checksum else [])]) as file:
        async for chunk in chunks:
            size += len(chunk)
            held += len(chunk)
            head = head if len(head) >= HEAD_BYTES else (head + chunk)[:HEAD_BYTES]
            tail = chunk[-64:] if len(chunk) >= 64 else (tail + chunk)[-64:]
            waiting.append(chunk)
            # Each switch to a thread costs milliseconds while many files are downloaded.
            if held >= READ_BYTES:
                await asyncio.to_thread(file.write, waiting)
                waiting, held = [], 0
        await asyncio.to_thread(file.write, waiting)
    sums = {name: digest.digest() for name, digest in file.digests.items()}
    matches = checksum is not None and sums[checksum.algorithm] == checksum.value
    return ReceivedFile(temporary, size, sums["sha256"].hex(), head, tail, checksum, matches)


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc32:
    """CRC-32 with the methods of hashlib."""

    _value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


def _digest(algorithm: str) -> _Digest:
    return _Crc32() if algorithm == "crc32" else hashlib.new(algorithm, usedforsecurity=False)


class _PartialFile:
    """A file that is created at the first write, and checksums of what was written."""

    def __init__(self, path: str, algorithms: Iterable[str]) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self.digests = {name: _digest(name) for name in algorithms}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, chunks: Sequence[bytes]) -> None:
        """Write and add to the checksums. Blocks."""
        if self._file is None:
            os.makedirs(posixpath.dirname(self._path), exist_ok=True)
            self._file = open(self._path, "wb")  # noqa: SIM115 - closed by __exit__
        for chunk in chunks:
            self._file.write(chunk)
            for digest in self.digests.values():
                digest.update(chunk)


def _rename(temporary: str, target: Location) -> None:
    os.makedirs(posixpath.dirname(target.path), exist_ok=True)
    os.replace(temporary, target.path)


def _link(temporary: str, target: Location) -> bool:
    os.makedirs(posixpath.dirname(target.path), exist_ok=True)
    if os.path.isdir(target.path):
        raise IsADirectoryError(target.path)
    try:
        os.link(temporary, target.path)
    except FileExistsError:
        return False
    except OSError:
        # Some file systems have no hard links.
        if os.path.lexists(target.path):
            return False
        os.replace(temporary, target.path)
    return True


def _put(temporary: str, target: Location) -> None:
    """Upload a file. Where others can see an upload before its end, it gets its name by a rename afterwards."""
    if has_atomic_put(target):
        target.fs.put_file(temporary, target.path)
        return
    part = posixpath.join(posixpath.dirname(target.path), posixpath.basename(temporary))
    target.fs.makedirs(posixpath.dirname(part), exist_ok=True)
    try:
        target.fs.put_file(temporary, part)
        if target.fs.exists(target.path):
            # Some stores do not rename to a name that exists.
            target.fs.rm_file(target.path)
        target.fs.mv(part, target.path)
    finally:
        with contextlib.suppress(OSError):
            target.fs.rm_file(part)


def _put_new(temporary: str, target: Location) -> bool:
    target.fs.invalidate_cache()
    if target.fs.exists(target.path):
        return False
    _put(temporary, target)
    return True


def _is_beginning(target: Location, received: ReceivedFile) -> bool:
    if int(target.fs.info(target.path)["size"] or 0) > received.size:
        return False
    with target.fs.open(target.path, "rb") as before, open(received.temporary, "rb") as now:
        while chunk := before.read(READ_BYTES):
            if chunk != now.read(len(chunk)):
                return False
    return True
