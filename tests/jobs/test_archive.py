# SPDX-License-Identifier: Apache-2.0
"""A job's ZIP is a shortcut: matched by names, never followed, made up for where it fails."""

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
    """All outputs come out of the ZIP, with the names they have otherwise."""
    shoot = Shoot(server, tmp_path / "in", "red/a.jpg", "red/b.jpg", num_variations=2)

    result = shoot.download(out, archive=True)

    assert (result["files"], shoot.fetched(), server.state.counters.requests["zip"]) == (4, 0, 1)
    assert files(out) == ["red/a_0_v0.jpg", "red/a_1_v0.jpg", "red/b_0_v0.jpg", "red/b_1_v0.jpg"]


@pytest.mark.parametrize(
    ("operation", "kind", "params"),
    [
        pytest.param("download", "status", {"code": 400}, id="not to be had"),
        pytest.param("zip", "status", {"code": 404}, id="expired"),
        pytest.param("zip", "truncate_silent", {}, id="cut off"),
        pytest.param("zip", "html", {}, id="error page"),
    ],
)
def test_archive_that_fails_is_made_up_for_singly(
    server: EmulatorServer, tmp_path: Path, out: Path, operation: str, kind: str, params: dict[str, Any]
) -> None:
    """A ZIP is a shortcut, not a condition."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg")
    server.faults.add(operation, kind, times=None, **params)

    assert shoot.download(out, archive=True)["files"] == 2
    assert shoot.fetched() == 2


def test_hostile_archive_does_no_harm(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """Absolute and climbing paths, links, doubles and bombs: only our outputs come out, and inside."""
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
    """Spoil the packed bytes, which begin behind the local header and the name."""
    data[30 + len("a_0_v0.jpg") : 30 + len("a_0_v0.jpg") + 20] = b"\xff" * 20
    return data


def encrypted(data: bytearray) -> bytearray:
    """Claim that the entry is encrypted, in both headers."""
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return data


def method(data: bytearray) -> bytearray:
    """Claim a compression that nobody has."""
    data[8] = data[data.index(b"PK\x01\x02") + 10] = 97
    return data


@pytest.mark.anyio
@pytest.mark.parametrize("spoil", [corrupt, encrypted, method])
async def test_archive_that_cannot_be_unpacked_leaves_its_rows_open(
    spoil: Callable[[bytearray], bytearray],
) -> None:
    """Whatever is wrong inside, the outputs are fetched singly afterwards."""
    content = bytes(spoil(zipped("a_0_v0.jpg", b"\xff\xd8\xff" + bytes(range(256)) * 40)))

    class Stream:
        async def chunks(self) -> Any:
            yield content

    class Client:
        async def create_download(self, job_id: str) -> Any:
            return SimpleNamespace(download_url="http://x")

        async def fetch(self, url: str, consume: Callable[[Any], Awaitable[Any]]) -> Any:
            return await consume(Stream())

    async def land(chunks: Any, row: Row) -> None:
        async for _ in chunks:
            pass
        row.status = "done"

    row = Row(None, "a_0_v0.jpg", "j", 0, 0, 0, None, "pending")
    result = ImageResult(image_index=0, original_filename="a.jpg")

    await fetch_archive(Client(), "j", [(row, result)], land)  # type: ignore[arg-type]

    assert row.status == "pending"
