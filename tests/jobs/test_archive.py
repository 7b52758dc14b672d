# SPDX-License-Identifier: Apache-2.0
"""Download of a job's outputs as a ZIP archive."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.jobs.archive import fetch_archive
from airflow_provider_piktid.jobs.manifest import Row
from airflow_provider_piktid.models import ImageResult
from tests.support.shoot import Shoot, files


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_archive_is_one_transfer_per_job(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """All outputs of a job are taken from one ZIP and get the same names as single downloads."""
    shoot = Shoot(server, tmp_path / "in", "red/a.jpg", "red/b.jpg", num_variations=2)

    result = shoot.download(out, archive=True)

    assert (result["files"], shoot.fetched(), server.state.counters.requests["zip"]) == (4, 0, 1)
    assert files(out) == ["red/a_0_v0.jpg", "red/a_1_v0.jpg", "red/b_0_v0.jpg", "red/b_1_v0.jpg"]


@pytest.mark.parametrize(
    ("operation", "kind", "params"),
    [
        pytest.param("download", "status", {"code": 400}, id="not available"),
        pytest.param("zip", "status", {"code": 404}, id="expired"),
        pytest.param("zip", "truncate_silent", {}, id="truncated"),
        pytest.param("zip", "html", {}, id="error page"),
    ],
)
def test_outputs_are_downloaded_singly_if_the_archive_fails(
    server: EmulatorServer, tmp_path: Path, out: Path, operation: str, kind: str, params: dict[str, Any]
) -> None:
    """If the ZIP cannot be downloaded or read, the outputs are downloaded one by one."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg")
    server.faults.add(operation, kind, times=None, **params)

    assert shoot.download(out, archive=True)["files"] == 2
    assert shoot.fetched() == 2


def test_hostile_archive_writes_only_expected_outputs(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """From a hostile ZIP only the expected outputs are extracted, all of them below the output folder."""
    entries = ["absolute", "parent", "backslash", "symlink", "duplicate", "bomb"]
    server.faults.add("job", "hostile_zip", entries=entries, bomb_bytes=300 * 1024**2)
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg")

    shoot.download(out, archive=True)

    assert files(out) == ["a_0_v0.jpg", "b_0_v0.jpg"]
    for name in ("a", "b"):
        assert (out / f"{name}_0_v0.jpg").read_bytes() == (tmp_path / "in" / f"{name}.jpg").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


def zipped(name: str, content: bytes) -> bytearray:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return bytearray(buffer.getvalue())


def corrupt(data: bytearray) -> bytearray:
    """Overwrite compressed bytes, which start after the local header and the name."""
    data[30 + len("a_0_v0.jpg") : 30 + len("a_0_v0.jpg") + 20] = b"\xff" * 20
    return data


def encrypted(data: bytearray) -> bytearray:
    """Set the encryption flag of the entry in both headers."""
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return data


def method(data: bytearray) -> bytearray:
    """Set an unknown compression method in both headers."""
    data[8] = data[data.index(b"PK\x01\x02") + 10] = 97
    return data


@pytest.mark.anyio
@pytest.mark.parametrize("spoil", [corrupt, encrypted, method])
async def test_entry_that_cannot_be_extracted_stays_pending(
    spoil: Callable[[bytearray], bytearray],
) -> None:
    """The row of a ZIP entry that cannot be extracted stays ``pending``."""
    content = bytes(spoil(zipped("a_0_v0.jpg", b"\xff\xd8\xff" + bytes(range(256)) * 40)))

    class Stream:
        async def chunks(self) -> Any:
            yield content

    class Client:
        async def create_download(self, job_id: str) -> Any:
            return SimpleNamespace(download_url="http://x")

        async def fetch(self, url: str, consume: Callable[[Any], Awaitable[Any]]) -> Any:
            return await consume(Stream())

    async def land(chunks: Any, row: Row, checksum: Any) -> None:
        async for _ in chunks:
            pass
        row.status = "done"

    row = Row(None, "a_0_v0.jpg", "j", 0, 0, 0, None, "pending")
    result = ImageResult(image_index=0, original_filename="a.jpg")

    await fetch_archive(Client(), "j", [(row, result)], land)  # type: ignore[arg-type]

    assert row.status == "pending"
