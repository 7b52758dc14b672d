# SPDX-License-Identifier: Apache-2.0
"""Uploads and downloads on a line that stalls and breaks; its times are scaled down, where they are arguments."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_piktid.client import PiktidClient, RetrySettings
from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.jobs.download import Download
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator
from tests.bench.photos import photos
from tests.support.line import SlowLine
from tests.support.service import connection_json
from tests.support.shoot import Shoot, files

COUNT = 10
SIZE = 300_000
#: A fiftieth of the default waits: an outage of 30 s is one of 0.6 s.
SCALE = 50
QUICK = RetrySettings(base=1 / SCALE, outage=90 / SCALE, outage_cap=8 / SCALE)
OUTAGE = 30 / SCALE


@pytest.fixture
def line(server: EmulatorServer) -> Iterator[SlowLine]:
    """A line to the emulator with 20 ms round trip and 4 MB/s."""
    with SlowLine(server.url, round_trip=0.02, bandwidth=4e6) as slow:
        yield slow


@pytest.fixture
def shoot(server: EmulatorServer, tmp_path: Path) -> Shoot:
    """Images of 300 kB whose swap has ended; they were uploaded on a fast line."""
    photos(tmp_path / "in", COUNT, SIZE)
    return Shoot(server, tmp_path / "in")


@pytest.fixture
def background() -> Iterator[Callable[..., Future[Any]]]:
    """Call a function in a thread."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens in another thread."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in a minute"
        time.sleep(0.005)


def client(line: SlowLine, **options: Any) -> PiktidClient:
    return PiktidClient("piktid-emulator", base_url=line.url, **({"retry": QUICK} | options))


def download(line: SlowLine, shoot: Shoot, out: Path, **options: Any) -> int:
    """Download all results with the default concurrency; return how many files there are."""
    folder = storage.locate(str(out))
    run = Download(
        folder,
        [shoot.job_id],
        images=list(shoot.images),
        overwrite=False,
        archive=False,
        concurrency=8,
        connection="piktid_default",
    )
    with client(line, **options) as connected:
        connected.run(run.run)
    run.raise_if_incomplete()
    return run.done


def upload(line: SlowLine, folder: Path, **options: Any) -> int:
    """Upload all images; return how many arrived."""
    task = PiktidUploadImagesOperator(task_id="upload", images=str(folder), project_name="spring")
    with client(line, **options) as connected:
        connected.ensure_project("spring")
        return len(connected.run(task._upload_all, task._files(), 8, {}))


def arrived(server: EmulatorServer) -> int:
    return sum(file.blob is not None for file in list(server.state.v2.files.values()))


def test_connection_that_stalls_does_not_stop_the_other_downloads(
    line: SlowLine, shoot: Shoot, tmp_path: Path, background: Callable[..., Future[Any]]
) -> None:
    """While one transfer stalls all others end; it goes on when its connection breaks."""
    line.down.stall_after = SIZE // 2
    running = background(download, line, shoot, tmp_path / "out")

    until(lambda: len([name for name in files(tmp_path / "out") if name.endswith(".jpg")]) == COUNT - 1)
    assert line.stalled.is_set()
    assert not running.done()
    line.cut()
    line.restore()

    assert running.result(60) == COUNT


def test_stalled_download_is_fetched_again_after_the_timeout(
    line: SlowLine, shoot: Shoot, tmp_path: Path
) -> None:
    """A connection without a byte for ``timeout`` seconds is given up, and its picture is fetched by another one."""
    line.down.stall_after = SIZE // 2

    assert download(line, shoot, tmp_path / "out", timeout=2.0) == COUNT
    assert line.stalled.is_set()
    assert shoot.fetched() > COUNT


def test_connection_that_stalls_does_not_stop_the_other_uploads(
    server: EmulatorServer, line: SlowLine, tmp_path: Path, background: Callable[..., Future[Any]]
) -> None:
    """While one transfer stalls all others end; it goes on when its connection breaks."""
    folder = photos(tmp_path / "in", COUNT, SIZE)
    line.up.stall_after = SIZE // 2
    running = background(upload, line, folder)

    until(lambda: arrived(server) == COUNT - 1)
    assert line.stalled.is_set()
    assert not running.done()
    line.cut()
    line.restore()

    assert running.result(60) == COUNT


@pytest.mark.parametrize("seconds", [OUTAGE, 2 * OUTAGE], ids=["30 s", "60 s"])
def test_download_goes_on_after_an_outage(
    line: SlowLine, shoot: Shoot, tmp_path: Path, background: Callable[..., Future[Any]], seconds: float
) -> None:
    """Without network for half a minute, and for a minute, no download fails; both are scaled down."""
    running = background(download, line, shoot, tmp_path / "out")
    until(lambda: line.down.carried > COUNT * SIZE // 3)

    line.cut()
    time.sleep(seconds)
    assert not running.done()
    line.restore()

    assert running.result(60) == COUNT


@pytest.mark.parametrize("seconds", [OUTAGE, 2 * OUTAGE], ids=["30 s", "60 s"])
def test_upload_goes_on_after_an_outage(
    line: SlowLine, tmp_path: Path, background: Callable[..., Future[Any]], seconds: float
) -> None:
    """Without network for half a minute, and for a minute, no upload fails; both are scaled down."""
    running = background(upload, line, photos(tmp_path / "in", COUNT, SIZE))
    until(lambda: line.up.carried > COUNT * SIZE // 3)

    line.cut()
    time.sleep(seconds)
    assert not running.done()
    line.restore()

    assert running.result(60) == COUNT


@pytest.mark.parametrize("what", ["download", "upload"])
def test_silence_is_waited_out_on_the_same_connections(
    line: SlowLine, shoot: Shoot, tmp_path: Path, background: Callable[..., Future[Any]], what: str
) -> None:
    """A network that loses everything for a while, shorter than the time-out, breaks no transfer."""
    if what == "download":
        running = background(download, line, shoot, tmp_path / "out")
        until(lambda: line.down.carried > COUNT * SIZE // 3)
    else:
        running = background(upload, line, tmp_path / "in")
        until(lambda: line.up.carried > COUNT * SIZE // 3)
    opened = line.opened

    line.silence()
    time.sleep(OUTAGE)
    assert not running.done()
    line.restore()

    assert running.result(60) == COUNT
    assert line.opened - opened <= 8


def test_archive_that_stalls_does_not_stop_the_next_one(
    server: EmulatorServer,
    line: SlowLine,
    shoot: Shoot,
    tmp_path: Path,
    background: Callable[..., Future[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While the ZIP of one job stalls, that of another one is unpacked."""
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", connection_json(line.url))
    jobs = [shoot.job_id, shoot.swap()]
    line.down.stall_after = SIZE

    def mend_the_line() -> bool:
        until(lambda: len([name for name in files(tmp_path / "out") if name.endswith(".jpg")]) == COUNT)
        stalled = line.stalled.is_set()
        line.cut()
        line.restore()
        return stalled

    # Airflow 2 refuses to run an operator on another thread.
    mending = background(mend_the_line)
    downloaded = shoot.download(tmp_path / "out", images=None, archive=True, job_ids=jobs)

    assert (downloaded["files"], mending.result(60)) == (2 * COUNT, True)
