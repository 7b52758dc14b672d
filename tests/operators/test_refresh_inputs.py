# SPDX-License-Identifier: Apache-2.0
"""A refresh with a server whose results do not name their inputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.refresh import read_rows
from tests.operators.test_refresh import bought, statuses, upload_and_swap, wait_for_jobs
from tests.support.fixtures import Start
from tests.support.refresh import Nights
from tests.support.service import pictures


@pytest.fixture(params=["seed", "g1"])
def server(start: Start, request: pytest.FixtureRequest) -> EmulatorServer:
    """An emulator whose results have the fields of the oldest documents."""
    return start(variants={"results": request.param}, extra={"images_per_job": 3})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three images of different content."""
    return pictures(tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")


@pytest.fixture
def nights(server: EmulatorServer, source: Path, tmp_path: Path) -> Nights:
    """A refresh of the images, three in each batch."""
    return Nights(str(source), str(tmp_path / "out"), images_per_batch=3)


def test_vanished_source_does_not_fail_the_others(
    server: EmulatorServer, nights: Nights, source: Path
) -> None:
    """One source of three is deleted before the upload; the outputs of the other two are downloaded."""
    night = nights.begin()
    (source / "a.jpg").unlink()

    nights.batch(night, 0, {})

    assert (statuses(nights), bought(server)) == ({"b.jpg": "done", "c.jpg": "done"}, 2)


def test_one_late_output_of_a_job_is_matched_by_position(server: EmulatorServer, nights: Nights) -> None:
    """One of three downloads fails; the next run downloads it and buys nothing."""
    nights.run()
    expected = Path(nights.output, "b_0_v0.jpg").read_bytes()
    Path(nights.output, "b_0_v0.jpg").unlink()

    second = nights.run()

    assert (second.told["sources"]["done"], bought(server)) == (1, 3)
    assert Path(nights.output, "b_0_v0.jpg").read_bytes() == expected


def test_job_of_a_run_that_ended_is_downloaded(server: EmulatorServer, nights: Nights) -> None:
    """The rows made from the records of a run name position and file name of each source."""
    night = nights.begin()
    upload_and_swap(nights, night, 0)
    wait_for_jobs(server)

    second = nights.run()

    assert (second.batches, bought(server), set(statuses(nights).values())) == ([], 3, {"done"})
    assert [(row["image_index"], row["filename"]) for row in read_rows(nights.output)] == [
        (0, "a.jpg"),
        (1, "b.jpg"),
        (2, "c.jpg"),
    ]
