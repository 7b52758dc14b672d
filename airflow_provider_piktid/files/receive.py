# SPDX-License-Identifier: Apache-2.0
"""Download to a temporary file, validate, rename atomically."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import posixpath
import tempfile
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

from airflow_provider_piktid.files import formats
from airflow_provider_piktid.files.formats import HEAD_BYTES
from airflow_provider_piktid.files.storage import PART, READ_BYTES, Location, part_name

#: A picture that arrives truncated is fetched again, up to this many times in all.
FETCH_TRIES = 3


@dataclass(frozen=True, slots=True)
class Landed:
    """A downloaded file, not yet under its final name."""

    temporary: str
    size: int
    sha256: str
    head: bytes
    tail: bytes


@contextlib.asynccontextmanager
async def collect(folder: Location, chunks: AsyncIterator[bytes], mark: str) -> AsyncIterator[Landed]:
    """
    Download to a temporary file, so that its content can be checked before it gets its final name.

    For a local store the file is in the target's folder, so that :func:`publish` is a rename; for an object store
    it is in the temporary folder of this machine. It is removed at the end in any case.

    :param mark: Identifies the run, for :func:`remove_partial_files`.
    """
    temporary = part_name(os.path.join(folder.path if folder.is_local else tempfile.gettempdir(), mark))
    try:
        yield await _collect(temporary, chunks)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


async def holds_picture(landed: Landed) -> bool:
    """Return whether a downloaded file is a complete image: its end mark is present and its data can be decoded."""
    whole = formats.is_whole(landed.head, landed.tail, landed.size)
    return whole and await asyncio.to_thread(formats.decodes, landed.temporary)


async def publish(landed: Landed, target: Location) -> None:
    """Give a downloaded file its final name atomically. An object store shows it only when it is complete."""
    if target.is_local:
        await asyncio.to_thread(_rename, landed.temporary, target.path)
    else:
        await asyncio.to_thread(target.fs.put_file, landed.temporary, target.path)


def remove_partial_files(folder: Location, present: Iterable[str], mark: str) -> None:
    """
    Remove the partial files that a killed run with the same mark left below a local folder.

    :param present: Relative paths of the files there.
    """
    for relative in present if folder.is_local else ():
        name = posixpath.basename(relative)
        if name.startswith(f".{mark}.") and name.endswith(PART):
            with contextlib.suppress(OSError):
                os.unlink(folder.join(relative).path)


async def _collect(temporary: str, chunks: AsyncIterator[bytes]) -> Landed:
    digest = hashlib.sha256()
    size, head, tail = 0, b"", b""
    waiting: list[bytes] = []
    with await asyncio.to_thread(_create, temporary) as file:
        async for chunk in chunks:
            size += len(chunk)
            head = head if len(head) >= HEAD_BYTES else (head + chunk)[:HEAD_BYTES]
            tail = chunk[-64:] if len(chunk) >= 64 else (tail + chunk)[-64:]
            waiting.append(chunk)
            # Each hop to a thread costs milliseconds when many files are downloaded at once.
            if sum(map(len, waiting)) >= READ_BYTES:
                await asyncio.to_thread(_absorb, file, digest, waiting)
                waiting = []
        await asyncio.to_thread(_absorb, file, digest, waiting)
    return Landed(temporary, size, digest.hexdigest(), head, tail)


def _create(path: str) -> BinaryIO:
    os.makedirs(posixpath.dirname(path), exist_ok=True)
    return open(path, "wb")


def _rename(temporary: str, path: str) -> None:
    os.makedirs(posixpath.dirname(path), exist_ok=True)
    os.replace(temporary, path)


def _absorb(file: BinaryIO, digest: Any, chunks: list[bytes]) -> None:
    for chunk in chunks:
        digest.update(chunk)
        file.write(chunk)
