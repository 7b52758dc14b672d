# SPDX-License-Identifier: Apache-2.0
"""Take pictures out of a job's ZIP. Names in it are hostile until proven: they are matched, never followed."""

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
    from airflow_provider_piktid.client import AsyncPiktidClient, ByteStream
    from airflow_provider_piktid.jobs.manifest import Row
    from airflow_provider_piktid.models.v2 import ImageResult

#: Largest picture taken out of a ZIP. More is a bomb: PiktID's largest outputs are 4K pictures.
MAX_ENTRY_BYTES = 256 * 1024 * 1024

#: What a ZIP that is broken, hostile or not to be had raises; RuntimeError stands for encryption.
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

Land = Callable[[AsyncIterator[bytes], "Row"], Awaitable[None]]


async def fetch_archive(
    client: AsyncPiktidClient, job_id: str, pairs: Sequence[tuple[Row, ImageResult]], land: Land
) -> None:
    """
    Fetch the ZIP of a job and land the entries that are recognised as its outputs.

    Whatever is wrong with the ZIP leaves its rows pending: they are fetched singly afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="piktid-") as folder:
        path = Path(folder) / "job.zip"
        try:
            link = await client.create_download(job_id)
            await client.fetch(link.download_url, lambda stream: _save(stream, path))
            with zipfile.ZipFile(path) as archive:
                for row, entry in _matched(archive, pairs):
                    await _take(archive, entry, row, land)
        except _BROKEN:
            return


async def _take(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, row: Row, land: Land) -> None:
    try:
        await land(_chunks(archive, entry), row)
    except _BROKEN:
        row.status = "pending"


async def _save(stream: ByteStream, path: Path) -> None:
    with path.open("wb") as file:
        async for chunk in stream.chunks():
            await asyncio.to_thread(file.write, chunk)


async def _chunks(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> AsyncIterator[bytes]:
    taken = 0
    with archive.open(entry) as file:
        while chunk := await asyncio.to_thread(file.read, READ_BYTES):
            taken += len(chunk)
            if taken > MAX_ENTRY_BYTES:
                raise PiktidDownloadError(f"{safe_name(entry.filename, 'entry')} unpacks to an absurd size")
            yield chunk


def _matched(
    archive: zipfile.ZipFile, pairs: Sequence[tuple[Row, ImageResult]]
) -> list[tuple[Row, zipfile.ZipInfo]]:
    """Find the entry of each output by the names that PiktID may have given it; only unique names count."""
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
