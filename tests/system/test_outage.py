# SPDX-License-Identifier: Apache-2.0
"""Half a minute without network in the middle of an upload and of a download, with the times that users have."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator
from tests.bench.photos import photos
from tests.support.line import SlowLine
from tests.support.service import connection_json
from tests.support.shoot import Shoot
from tests.support.tasks import TaskRun

pytestmark = pytest.mark.chaos

COUNT, SIZE = 10, 1_000_000
BANDWIDTH = 2e6
OUTAGE = 30.0
#: Longest wait between two attempts during an outage, with its jitter.
LONGEST_WAIT = 9.6
#: Seconds after the outage: all images again, the wait, and a busy machine.
SOON = COUNT * SIZE / BANDWIDTH + LONGEST_WAIT + 15


@pytest.fixture
def line(server: EmulatorServer) -> Iterator[SlowLine]:
    with SlowLine(server.url, round_trip=0.1, bandwidth=BANDWIDTH) as slow:
        yield slow


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("upload", "cut"),
        pytest.param("upload", "silence", marks=pytest.mark.exhaustive),
        pytest.param("download", "cut", marks=pytest.mark.exhaustive),
        ("download", "silence"),
    ],
)
def test_transfer_goes_on_after_half_a_minute_without_network(
    server: EmulatorServer,
    line: SlowLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    kind: str,
) -> None:
    """The operator ends with all images soon after the network is back, whether connections broke or not."""
    folder = photos(tmp_path / "in", COUNT, SIZE)
    work: Callable[[], int]
    if what == "upload":
        task = PiktidUploadImagesOperator(task_id="upload", images=str(folder), project_name="spring")
        work, direction = lambda: len(TaskRun(lambda: task).run()["file_ids"]), line.up
    else:
        shoot = Shoot(server, folder)
        work, direction = lambda: int(shoot.download(tmp_path / "out")["files"]), line.down
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", connection_json(line.url))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work)
        deadline = time.monotonic() + 60
        while direction.carried < COUNT * SIZE // 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        getattr(line, kind)()
        time.sleep(OUTAGE)
        assert not running.done()
        line.restore()
        back = time.monotonic()

        assert running.result(300) == COUNT

    seconds = time.monotonic() - back
    print(f"{what}, {kind} of {OUTAGE:g} s: complete {seconds:.1f} s after it")
    assert seconds < SOON
