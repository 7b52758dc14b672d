# SPDX-License-Identifier: Apache-2.0
"""
The file format of a part of a catalogue: lines of JSON, sorted by source, compressed.

A part is a series of gzip members of about one megabyte of lines each, which any reader of gzip takes as one file. So
a part is written and read piece by piece, and a damaged byte costs the rows of one piece, not those of a whole part.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.files import storage

if TYPE_CHECKING:
    from airflow_provider_piktid.files.storage import Location

ENDING = ".jsonl.gz"

#: Parts of the first version of the catalogue, which are not compressed.
PLAIN_ENDING = ".jsonl"

#: Lines in one gzip member, in bytes.
MEMBER_BYTES = 1024 * 1024

#: A part is read in chunks of this size.
READ_BYTES = 1024 * 1024

#: The fastest level: the others are up to 15 % smaller, and take several times as long.
LEVEL = 1

_GZIP = 16 + zlib.MAX_WBITS
_MAGIC = b"\x1f\x8b\x08"


def pack(rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Yield the gzip members of a part. A name that is not valid UTF-8 is escaped."""
    lines: list[bytes] = []
    size = 0
    for row in rows:
        line = json.dumps(row, ensure_ascii=False).encode(errors="backslashreplace")
        lines.append(line + b"\n")
        size += len(line)
        if size >= MEMBER_BYTES:
            yield _compress(lines)
            lines, size = [], 0
    if lines:
        yield _compress(lines)


def _compress(lines: list[bytes]) -> bytes:
    encoder = zlib.compressobj(LEVEL, wbits=_GZIP)
    return encoder.compress(b"".join(lines)) + encoder.flush()


def read(part: Location) -> Iterator[Any]:
    """Yield the JSON values of a part; None for lines, or a piece, that cannot be read."""
    with part.fs.open(part.path, "rb", block_size=storage.BLOCK_BYTES) as file:
        chunks = iter(lambda: file.read(READ_BYTES), b"")
        if part.path.endswith(ENDING):
            pieces = unpack(chunks)
        else:
            # Splits lines in C; fsspec's own files do so in Python.
            buffered = io.BufferedReader(file, READ_BYTES)
            pieces = iter(lambda: b"".join(buffered.readlines(READ_BYTES)), b"")
        for piece in pieces:
            yield from [None] if piece is None else _values(piece)


def _values(piece: bytes) -> list[Any]:
    from pydantic_core import from_json

    lines = [line for line in piece.split(b"\n") if line.strip()]
    try:
        # Half of the time that one call of the standard library for each line takes.
        values: list[Any] = from_json(b"[" + b",".join(lines) + b"]", cache_strings="keys")
    except ValueError:
        # Also for names that are not valid UTF-8, which only the standard library reads.
        return [_value(line) for line in lines]
    return values


def _value(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def unpack(chunks: Iterable[bytes]) -> Iterator[bytes | None]:
    """Yield the content of each gzip member; None for a damaged one, after which the next one is sought."""
    # What was read of the current member, or, while the next one is sought, the end of what was searched.
    raw, text = b"", b""
    decoder = zlib.decompressobj(_GZIP)
    for chunk in chunks:
        rest = chunk
        while rest:
            try:
                text += decoder.decompress(rest)
            except zlib.error:
                yield None
                raw, text = raw + rest, b""
                start = raw.find(_MAGIC, 1)
                rest, raw = (b"", b"\0" + raw[-2:]) if start < 0 else (raw[start:], b"")
            else:
                raw += rest
                rest = decoder.unused_data
                if not decoder.eof:
                    break
                yield text
                raw, text = b"", b""
            decoder = zlib.decompressobj(_GZIP)
    if raw:
        # The file ends within a member: its complete lines are right, as far as there are any.
        yield text.rpartition(b"\n")[0] or None
        yield None
