# SPDX-License-Identifier: Apache-2.0
"""What can go wrong on the way of a download: nothing half-written, and no more lost than must be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import PiktidDownloadError
from tests.support.shoot import Shoot, files, manifest


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.mark.parametrize(
    "answer",
    [
        {"code": 403},
        {"code": 404},
        {"code": 410},
        {"code": 400, "body": "<Message>Request has expired</Message>"},
    ],
    ids=["403", "404", "410", "400 expired"],
)
def test_expired_links_are_renewed_once_per_job(
    server: EmulatorServer, tmp_path: Path, out: Path, answer: dict[str, Any]
) -> None:
    """However many links have expired, the results are asked for once more."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")
    server.state.clock.advance(5)
    before = server.state.counters.requests["job_results"]
    server.faults.add("result_image", "status", times=3, **answer)

    # The first answer of results gives links of this second; the second one, others.
    server.faults.add("job_results", "delay", seconds=1.1, after=1)
    assert shoot.download(out)["files"] == 3

    assert server.state.counters.requests["job_results"] == before + 2


def test_links_that_expire_again_are_renewed_again(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """A download may outlast several lives of its links."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    server.faults.add("result_image", "status", code=403, times=2)

    assert shoot.download(out)["files"] == 1


def test_renewal_that_is_refused_loses_that_job_only(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """A job that vanished in between does not take the others with it."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    other = shoot.swap()
    server.faults.add("result_image", "status", code=403, path=shoot.link_part(0))
    server.faults.add("job_results", "status", code=404, after=1, times=None, path=shoot.job_id)

    with pytest.raises(PiktidDownloadError, match="1 of 2"):
        shoot.download(out, job_ids=[shoot.job_id, other])

    assert len(files(out)) == 1


@pytest.mark.parametrize("kind", ["truncate_silent", "html", "garbage_json"])
def test_content_that_is_no_whole_picture_is_fetched_again(
    server: EmulatorServer, tmp_path: Path, out: Path, kind: str
) -> None:
    """A picture that arrived cut off, or an error page, never gets the final name."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    server.faults.add("result_image", kind)

    shoot.download(out)

    assert (out / "a_0_v0.jpg").read_bytes() == (tmp_path / "in" / "a.jpg").read_bytes()
    assert shoot.fetched() == 2


def test_picture_that_stays_cut_off_is_left_out(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """After three tries the task fails, names the file, and leaves nothing half-written."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg")
    server.faults.add("result_image", "truncate_silent", times=None, path=shoot.link_part(0))

    with pytest.raises(PiktidDownloadError, match=r"a_0_v0\.jpg.*truncated"):
        shoot.download(out)

    assert files(out) == ["b_0_v0.jpg"]
    assert [row["status"] for row in manifest(out)] == ["failed", "done"]


def test_connection_that_breaks_in_the_middle_starts_over(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """The half that came is thrown away."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    server.faults.add("result_image", "truncate")

    shoot.download(out)

    assert files(out) == ["a_0_v0.jpg"]
    assert (out / "a_0_v0.jpg").read_bytes() == (tmp_path / "in" / "a.jpg").read_bytes()


def test_link_of_another_scheme_is_not_followed(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """A link is followed over http(s) only; the others are still fetched."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    object.__setattr__(server.state.settings, "public_url", "file:///etc")

    with pytest.raises(PiktidDownloadError, match="no http"):
        shoot.download(out)

    assert files(out) == []
