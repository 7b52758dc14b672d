# SPDX-License-Identifier: Apache-2.0
"""
Files on any store that ``ObjectStoragePath`` supports: list, read in chunks, write atomically.

Paths are kept as (filesystem, plain string) pairs: a listing of ten thousand objects would otherwise create
as many path objects, and URL parsing would fail on ``#``, ``?`` and ``%`` in file names.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import os
import posixpath
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.exceptions import PiktidConfigError, PiktidImageError
from airflow_provider_piktid.files.formats import (
    HEAD_BYTES,
    TAIL_BYTES,
    ImageFormat,
    decodes,
    is_whole,
    require_image,
)

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

#: Bytes read from a source at a time.
READ_BYTES = 1024 * 1024

#: Bytes requested from a store at a time. Some filesystems read 50 MiB ahead by default, for each open file.
BLOCK_BYTES = 4 * 1024 * 1024

#: Folder beside the outputs for the metadata that this package writes; never used as a source.
PRIVATE_FOLDER = "_piktid"

#: Extension of files that are being written.
PART = ".part"

#: Protocols whose stores never show an incomplete object. Others, such as SFTP or SMB, show a file while it is written.
_OBJECT_STORES = frozenset(
    {
        "s3",
        "s3a",
        "gs",
        "gcs",
        "abfs",
        "abfss",
        "adl",
        "az",
        "wasb",
        "wasbs",
        "oss",
        "oci",
        "cos",
        "obs",
        "tos",
    }
)


@dataclass(frozen=True, slots=True)
class Location:
    """A file or folder: the filesystem, its path there, and the prefix of the path in a URI."""

    fs: AbstractFileSystem
    path: str
    prefix: str

    @property
    def uri(self) -> str:
        """The URI of the file, with the connection id if it had one."""
        return f"{self.prefix}{self.path}"

    @property
    def is_local(self) -> bool:
        return self.prefix == "file://"

    def join(self, relative: str) -> Location:
        return Location(self.fs, f"{self.path.rstrip('/')}/{relative}", self.prefix)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """
    An image to upload.

    :param relative: Path below the folder, prefix or base of the glob, with ``/``.
    :param size: Bytes.
    :param version: ETag or checksum from the listing of the store. Default: none.
    :param modified: Last change, epoch seconds. Default: 0.0, not known.
    """

    location: Location
    relative: str
    size: int
    version: str | None = None
    modified: float = 0.0

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the content in chunks of :data:`READ_BYTES`, from the start at every call."""
        file = await asyncio.to_thread(
            self.location.fs.open, self.location.path, "rb", block_size=BLOCK_BYTES
        )
        try:
            while chunk := await asyncio.to_thread(file.read, READ_BYTES):
                yield chunk
        finally:
            await asyncio.to_thread(file.close)

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from ``start`` up to ``end``."""
        return bytes(self.location.fs.cat_file(self.location.path, start=start, end=end))


def locate(uri: str) -> Location:
    """
    Resolve a path or URI, such as ``/data/in``, ``file:///data/in`` or ``s3://conn_id@bucket/in``.

    The filesystem comes from Airflow's object storage, with the connection in the URI.
    Call this on the thread of the task, as it may look up a connection.
    """
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    protocol, separator, rest = str(uri).partition("://")
    if not separator or protocol in ("file", "local"):
        path = rest if separator else str(uri)
        return Location(ObjectStoragePath("file:///").fs, os.path.abspath(path), "file://")
    netloc, _, _ = rest.partition("/")
    connection, at, bucket = netloc.rpartition("@")
    try:
        root = ObjectStoragePath(f"{protocol}://{netloc}/")
        fs = root.fs
    except ValueError as error:
        if "filesystem" not in str(error).lower():
            raise
        raise PiktidConfigError(
            f"Airflow knows no file system for {protocol}:// in {uri}. Correct the path, or install the provider of "
            "this store, such as apache-airflow-providers-amazon[s3fs] for s3://."
        ) from error
    return Location(fs, f"{bucket}{rest[len(netloc) :]}", f"{protocol}://{connection}{at}")


def check_named(name: str, path: object) -> None:
    """
    Check that a parameter names a path: an empty one would be the folder that the worker runs in.

    :raises PiktidConfigError: It is empty or None.
    """
    if not str("" if path is None else path).strip():
        raise PiktidConfigError(
            f"`{name}` is empty ({path!r}). Set it to a path or URI; if it is a template or comes from another task, "
            "look at what that gives."
        )


def check_images(files: Sequence[SourceFile], formats: Sequence[ImageFormat], *, workers: int = 8) -> None:
    """
    Check the content of all files before any is sent, and report all invalid ones in one error.

    :raises PiktidImageError: Names up to ten files, each with its problem.
    """
    problems = [line for line in image_problems(files, formats, workers=workers) if line]
    if problems:
        more = f"\n... and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise PiktidImageError("\n".join(problems[:10]) + more)


def image_problems(
    files: Sequence[SourceFile], formats: Sequence[ImageFormat], *, workers: int = 8
) -> list[str | None]:
    """Return the problem of each file, None for a supported image."""

    def problem(file: SourceFile) -> str | None:
        try:
            head = file.read(0, HEAD_BYTES) if file.size else b""
            require_image(head, file.size, file.location.uri, formats)
            if not _is_complete(file, head):
                return (
                    f"{file.location.uri} is truncated; it may still be being written. Write it again, or wait until "
                    "it is complete."
                )
        except (PiktidImageError, OSError) as error:
            return str(error) if isinstance(error, PiktidImageError) else _unreadable(file, error)
        return None

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(problem, files))


def _is_complete(file: SourceFile, head: bytes) -> bool:
    """
    Tell whether an image is complete: a file that is still being written would be uploaded and paid for.

    Some cameras append data behind the end mark, so a file without one at its end is decoded.
    """
    tail = file.read(max(0, file.size - TAIL_BYTES), file.size)
    if is_whole(head, tail, file.size):
        return True
    return decodes(io.BytesIO(file.location.fs.cat_file(file.location.path)))


def read_json(location: Location) -> Any | None:
    """Return a JSON document, or None if it does not exist. Other failures are raised."""
    try:
        return json.loads(location.fs.cat_file(location.path))
    except FileNotFoundError:
        return None


def write_bytes(location: Location, content: bytes | Iterable[bytes]) -> None:
    """
    Write a file atomically.

    :param content: All of it, or chunks: those of a large file go through a temporary file on this machine.
    """
    if location.is_local:
        with _replacing(location.path) as part, open(part, "wb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            os.fsync(file.fileno())
    elif isinstance(content, bytes):
        location.fs.pipe_file(location.path, content)
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.writelines(content)
            file.flush()
            location.fs.put_file(file.name, location.path)


@contextlib.contextmanager
def _replacing(path: str) -> Iterator[str]:
    """Yield the name of a temporary file that gets a local path at the end of the block, unless the block raises."""
    os.makedirs(posixpath.dirname(path), exist_ok=True)
    part = part_name(path)
    try:
        yield part
        os.replace(part, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)


def has_atomic_put(location: Location) -> bool:
    """Return whether a store shows an object only when its upload is complete, as object stores do."""
    protocol = location.fs.protocol
    return not _OBJECT_STORES.isdisjoint([protocol] if isinstance(protocol, str) else protocol)


def is_file_or_object(protocol: str) -> bool:
    """Return whether a protocol is that of local files or of an object store."""
    return protocol == "file" or protocol in _OBJECT_STORES


def copy_file(source: Location, target: Location) -> None:
    """
    Copy a file within a store atomically; an object store does it on its side.

    :raises FileNotFoundError: The source does not exist.
    """
    if target.is_local:
        with _replacing(target.path) as part:
            shutil.copyfile(source.path, part)
    else:
        target.fs.cp_file(source.path, target.path)


def remove_files(files: Iterable[Location]) -> None:
    """Remove files; those that no longer exist are skipped."""

    def remove(file: Location) -> None:
        with contextlib.suppress(FileNotFoundError):
            file.fs.rm_file(file.path)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(remove, files))


def beside(uri: str, kind: str) -> str:
    """Return the URI of a file of some kind that belongs to a ``.json`` file: ``a.json`` to ``a.<kind>.json``."""
    return f"{uri.removesuffix('.json')}.{kind}.json"


def check_writable(folder: Location) -> None:
    """
    Check that a folder is writable: write and remove a small file.

    :raises OSError: The folder cannot be written.
    """
    probe = folder.join(f".{uuid.uuid4().hex}.probe")
    write_bytes(probe, b"")
    probe.fs.rm_file(probe.path)


def part_name(path: str) -> str:
    # The name is truncated, as it may already have the maximum length.
    folder, name = posixpath.split(path)
    return posixpath.join(folder, f".{name[:40]}.{uuid.uuid4().hex}{PART}")


def _unreadable(file: SourceFile, error: OSError) -> str:
    return f"{file.location.uri} cannot be read ({type(error).__name__}). Check its permissions."


def digest(location: Location) -> str:
    """Return the SHA-256 of a file."""
    total = hashlib.sha256()
    with location.fs.open(location.path, "rb") as file:
        while chunk := file.read(READ_BYTES):
            total.update(chunk)
    return total.hexdigest()
