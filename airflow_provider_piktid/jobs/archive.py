# SPDX-License-Identifier: Apache-2.0
"""Extract images from a job's ZIP. Names in it are not trusted: they are only compared, never used as paths."""

from __future__ import annotations

import asyncio
import lzma
import posixpath
import struct
import tempfile
import zipfile
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.exceptions import PiktidDownloadError, PiktidError
from airflow_provider_piktid.files.names import safe_name
from airflow_provider_piktid.files.storage import READ_BYTES

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidClient, ByteStream, Checksum
    from airflow_provider_piktid.jobs.manifest import Row
    from airflow_provider_piktid.models.v2 import ImageResult

#: Maximum size of an extracted image. PiktID's largest outputs are 4K images, so a larger entry is a ZIP bomb.
MAX_ENTRY_BYTES = 256 * 1024 * 1024

#: Errors of a ZIP that is broken, malicious or not available; RuntimeError means that it is encrypted.
_BROKEN = (
    PiktidError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    OverflowError,
)

Receive = Callable[[AsyncIterator[bytes], "Row", "Checksum | None"], Awaitable[None]]


async def fetch_archive(
    client: AsyncPiktidClient, job_id: str, pairs: Sequence[tuple[Row, ImageResult]], receive: Receive
) -> None:
    """
    Download the ZIP of a job and extract the entries that match its outputs.

    If the ZIP cannot be used, its rows stay pending and are downloaded one by one afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="piktid-") as folder:
        path = Path(folder) / "job.zip"
        try:
            link = await client.create_download(job_id)
            await client.fetch(link.download_url, lambda stream: _save(stream, path))
            with zipfile.ZipFile(path) as archive:
                for row, entry in _matched(archive, pairs):
                    await _extract(archive, entry, row, receive)
        except _BROKEN:
            return


async def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, row: Row, receive: Receive) -> None:
    from airflow_provider_piktid.client import Checksum

    checksum = Checksum("crc32", entry.CRC.to_bytes(4, "big"), "the ZIP's directory")
    try:
        await receive(_chunks(archive, entry), row, checksum)
    except _BROKEN:
        row.status = "pending"


async def _save(stream: ByteStream, path: Path) -> None:
    with path.open("wb") as file:
        async for chunk in stream.chunks():
            await asyncio.to_thread(file.write, chunk)


async def _chunks(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> AsyncIterator[bytes]:
    unpacked = 0
    with archive.open(entry) as file:
        while chunk := await asyncio.to_thread(file.read, READ_BYTES):
            unpacked += len(chunk)
            if unpacked > MAX_ENTRY_BYTES:
                raise PiktidDownloadError(
                    f"{safe_name(entry.filename, 'entry')} unpacks to more than {MAX_ENTRY_BYTES} bytes."
                )
            yield chunk


def _matched(
    archive: zipfile.ZipFile, pairs: Sequence[tuple[Row, ImageResult]]
) -> list[tuple[Row, zipfile.ZipInfo]]:
    """Find the entry of each output by the names that PiktID may use for it; ambiguous names are ignored."""
    entries: dict[str, list[zipfile.ZipInfo]] = {}
    for entry in archive.infolist():
        # The upper half of the external attributes is the Unix mode; 0o12 in its type bits is a symlink.
        if not entry.is_dir() and (entry.external_attr >> 28) != 0o12:
            entries.setdefault(posixpath.basename(entry.filename.replace("\\", "/")), []).append(entry)
    matched = []
    for row, result in pairs:
        for name in _names(row, result):
            if len(entries.get(name, [])) == 1:
                matched.append((row, entries.pop(name)[0]))
                break
    return matched


def _names(row: Row, result: Any) -> list[str]:
    stem, extension = posixpath.splitext(
        posixpath.basename((result.original_filename or "").replace("\\", "/"))
    )
    names = [result.download_filename, f"{stem}_{result.group_index}_v{result.version}{extension}"]
    if result.group_index == 0:
        names.append(f"{stem}_v{result.version}{extension}")
    return [posixpath.basename(name) for name in names if name]
