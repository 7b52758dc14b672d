# SPDX-License-Identifier: Apache-2.0
"""The download operator with expired links, broken transfers and corrupt content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import PiktidDownloadError
from tests.support.fixtures import Start
from tests.support.shoot import Shoot, files, manifest

CERTAIN = ("content_md5", "x_goog_hash", "x_amz_checksum")


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
    """If several links of a job have expired, its results are requested once more."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")
    server.state.clock.advance(5)
    before = server.state.counters.requests["job_results"]
    server.faults.add("result_image", "status", times=3, **answer)

    # Links contain the second in which they were signed: delay the second response to get other links.
    server.faults.add("job_results", "delay", seconds=1.1, after=1)
    assert shoot.download(out)["files"] == 3

    assert server.state.counters.requests["job_results"] == before + 2


def test_links_that_expire_again_are_renewed_again(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """A link that expires a second time is renewed a second time."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    server.faults.add("result_image", "status", code=403, times=2)

    assert shoot.download(out)["files"] == 1


def test_job_whose_links_cannot_be_renewed_does_not_stop_the_others(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """If the links of one job cannot be renewed, the outputs of the other job are still downloaded."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    other = shoot.swap()
    server.faults.add("result_image", "status", code=403, path=shoot.link_part(0))
    server.faults.add("job_results", "status", code=404, after=1, times=None, path=shoot.job_id)

    with pytest.raises(PiktidDownloadError, match="1 of 2"):
        shoot.download(out, job_ids=[shoot.job_id, other])

    assert len(files(out)) == 1


@pytest.mark.parametrize("kind", ["truncate_silent", "html", "garbage_json"])
def test_invalid_content_is_downloaded_again(
    server: EmulatorServer, tmp_path: Path, out: Path, kind: str
) -> None:
    """Truncated or invalid content is downloaded again and is not stored under the final name."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    server.faults.add("result_image", kind)

    shoot.download(out)

    assert (out / "a_0_v0.jpg").read_bytes() == (tmp_path / "in" / "a.jpg").read_bytes()
    assert shoot.fetched() == 2


def test_image_that_stays_truncated_fails_the_task(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """An image that is truncated on every attempt fails the task, and no partial file remains."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg")
    server.faults.add("result_image", "truncate_silent", times=None, path=shoot.link_part(0))

    with pytest.raises(PiktidDownloadError, match=r"a_0_v0\.jpg.*truncated"):
        shoot.download(out)

    assert files(out) == ["b_0_v0.jpg"]
    assert [row["status"] for row in manifest(out)] == ["failed", "done"]


def test_broken_transfer_starts_from_the_beginning(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """A transfer that breaks off is repeated from the beginning."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    server.faults.add("result_image", "truncate")

    shoot.download(out)

    assert files(out) == ["a_0_v0.jpg"]
    assert (out / "a_0_v0.jpg").read_bytes() == (tmp_path / "in" / "a.jpg").read_bytes()


def test_link_of_another_scheme_is_not_followed(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """A link whose scheme is not http or https fails the download, and no file is written."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    object.__setattr__(server.state.settings, "public_url", "file:///etc")

    with pytest.raises(PiktidDownloadError, match="not an http"):
        shoot.download(out)

    assert files(out) == []


@pytest.mark.parametrize("checksum", [*CERTAIN, "etag"])
def test_download_with_a_checksum_decodes_nothing(
    start: Start, tmp_path: Path, out: Path, checksum: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the answer has a checksum that matches, the picture is not decoded."""
    shoot = Shoot(start(variants={"checksum": checksum}), tmp_path / "in", "a.jpg", "b.png")
    monkeypatch.setattr("airflow_provider_piktid.files.formats.decodes", None)

    assert shoot.download(out)["files"] == 2
    assert shoot.fetched() == 2


@pytest.mark.parametrize("checksum", CERTAIN)
@pytest.mark.parametrize(
    ("kind", "params"),
    [("flip", {"at": 0.5}), ("flip", {"at": 0.97}), ("truncate_silent", {})],
    ids=["inverted byte", "inverted byte near the end", "cut"],
)
def test_damaged_download_with_a_checksum_is_fetched_again(
    start: Start, tmp_path: Path, out: Path, checksum: str, kind: str, params: dict[str, Any]
) -> None:
    """Damage that no decoder finds is found by a checksum; the picture is downloaded again."""
    server = start(variants={"checksum": checksum})
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    server.faults.add("result_image", kind, **params)

    assert shoot.download(out)["files"] == 1
    assert (out / "a_0_v0.jpg").read_bytes() == (tmp_path / "in" / "a.jpg").read_bytes()
    assert shoot.fetched() == 2


def test_download_that_stays_damaged_fails_the_task(start: Start, tmp_path: Path, out: Path) -> None:
    """A picture that never matches its checksum is not stored, and the error names the header."""
    server = start(variants={"checksum": "content_md5"})
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg")
    server.faults.add("result_image", "flip", times=None, path=shoot.link_part(0))

    with pytest.raises(PiktidDownloadError, match=r"a_0_v0\.jpg was damaged .* \(content-md5\)"):
        shoot.download(out)

    assert files(out) == ["b_0_v0.jpg"]


def test_etag_that_is_no_md5_fails_no_download(start: Start, tmp_path: Path, out: Path) -> None:
    """An ETag that only looks like an MD5 of the content causes no second transfer."""
    shoot = Shoot(start(variants={"checksum": "opaque_etag"}), tmp_path / "in", "a.jpg", "b.png")

    assert shoot.download(out)["files"] == 2
    assert shoot.fetched() == 2


@pytest.mark.parametrize("checksum", [*CERTAIN, "etag"])
def test_stored_error_page_with_a_correct_checksum_is_no_result(
    start: Start, tmp_path: Path, out: Path, checksum: str
) -> None:
    """A file that is not an image is refused, although its checksum matches."""
    server = start(variants={"checksum": checksum})
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    blob = server.state.v2.jobs.get(shoot.job_id).outputs[0].blob
    assert blob is not None
    blob.path.write_bytes(b"<html>Be right back</html>")

    with pytest.raises(PiktidDownloadError, match="not an image"):
        shoot.download(out)

    assert files(out) == []
