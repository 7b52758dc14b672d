# SPDX-License-Identifier: Apache-2.0
"""The file format of a part: pieces of compressed lines, of which damage costs only one."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_piktid.files import storage
from airflow_provider_piktid.refresh import parts


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Rows that make about ten pieces."""
    monkeypatch.setattr(parts, "MEMBER_BYTES", 2000)
    noise = random.Random(7)
    return [
        {"relative": f"{number:04d}.jpg", "sha256": f"{noise.getrandbits(256):064x}"} for number in range(200)
    ]


def read(content: bytes, tmp_path: Path, name: str = "part.jsonl.gz") -> list[Any]:
    path = tmp_path / name
    path.write_bytes(content)
    return list(parts.read(storage.locate(str(path))))


def chunked(content: bytes, size: int) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def test_part_is_one_gzip_file(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    """A part of many pieces is read by anything that reads gzip, and by this package."""
    pieces = list(parts.pack(rows))
    content = b"".join(pieces)

    assert len(pieces) > 5
    assert len(gzip.decompress(content).splitlines()) == len(rows)
    assert read(content, tmp_path) == rows


@pytest.mark.parametrize("size", [1, 2, 3, 17, 1000, 10**6])
def test_pieces_are_found_in_chunks_of_any_size(rows: list[dict[str, Any]], size: int) -> None:
    """Where the chunks of a file end does not matter."""
    content = b"".join(parts.pack(rows))

    found = b"".join(piece or b"<damaged>" for piece in parts.unpack(chunked(content, size)))

    assert found == gzip.decompress(content)


@pytest.mark.parametrize("size", [64, 10**6])
@pytest.mark.parametrize("seed", range(20))
def test_flipped_bit_costs_one_piece(
    rows: list[dict[str, Any]], tmp_path: Path, seed: int, size: int
) -> None:
    """A flipped bit anywhere is noticed, no wrong row is read, and the rows of at most two pieces are lost."""
    pieces = list(parts.pack(rows))
    content = bytearray(b"".join(pieces))
    place = random.Random(seed)
    content[place.randrange(len(content))] ^= 1 << place.randrange(8)

    texts = list(parts.unpack(chunked(bytes(content), size)))

    found = [line for text in texts if text is not None for line in text.splitlines()]
    whole = gzip.decompress(b"".join(pieces)).splitlines()
    lost = set(whole) - set(found)
    if not lost:
        # The bit has no meaning, as the date in a header.
        assert found == whole
        return
    assert None in texts
    assert set(found) <= set(whole)
    assert len(lost) <= 2 * -(-len(rows) // len(pieces)) + 2


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.3, 0.5, 0.99])
def test_part_that_ends_early_keeps_its_complete_lines(
    rows: list[dict[str, Any]], tmp_path: Path, keep: float
) -> None:
    """The rows before the end count, and the damage is noticed, unless nothing is there."""
    content = b"".join(parts.pack(rows))

    values = read(content[: int(keep * len(content))], tmp_path)

    found = [value for value in values if value is not None]
    assert found == rows[: len(found)]
    assert len(found) >= int(keep * len(rows)) - 25
    assert (None in values) == (keep > 0)


@pytest.mark.parametrize("name", ["part.jsonl", "part.jsonl.gz"])
def test_line_that_is_not_json_is_one_bad_value(tmp_path: Path, name: str) -> None:
    """The other lines of the piece count."""
    text = b'{"a": 1}\n{"a": \n\n{"a": "\\udcff"}\n'

    values = read(gzip.compress(text) if name.endswith("gz") else text, tmp_path, name)

    assert values == [{"a": 1}, None, {"a": "\udcff"}]


def test_names_are_kept(tmp_path: Path) -> None:
    """A name of any characters is read back unchanged."""
    named = [
        {"relative": name}
        for name in ("a b.jpg", "\u00fcml\u00e4ut.jpg", "\udcff.jpg", "line\nbreak\u2028.jpg")
    ]

    assert read(b"".join(parts.pack(named)), tmp_path) == named
