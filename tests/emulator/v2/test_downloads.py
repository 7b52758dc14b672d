# SPDX-License-Identifier: Apache-2.0
"""Archives."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest


def archive(api: Any, body: dict[str, Any], path: str = "/download") -> zipfile.ZipFile:
    link = api.post(path, body).json()["download_url"]
    return zipfile.ZipFile(io.BytesIO(api.fetch(link).content))


def test_archive_holds_each_output_by_name(api: Any) -> None:
    """Entries are named by stem, variation and version, and contain the outputs."""
    image = api.upload("front.jpg", b"pixels")
    job_id = api.run([image], swap_options={"num_variations": 2})
    with archive(api, {"job_id": job_id}) as found:
        assert found.namelist() == ["front_0_v0.jpg", "front_1_v0.jpg"]
        assert found.read("front_1_v0.jpg") == b"pixels"


def test_archive_keeps_inputs_of_the_same_name_apart(api: Any) -> None:
    """Two inputs with the same name have two entries."""
    job_id = api.run([api.upload("a.jpg", b"1"), api.upload("a.jpg", b"2")])
    with archive(api, {"job_id": job_id}) as found:
        assert sorted(found.read(name) for name in found.namelist()) == [b"1", b"2"]
        assert len(set(found.namelist())) == 2


def test_bulk_archive_has_a_folder_for_each_job(api: Any) -> None:
    """Several jobs are in one archive."""
    jobs = [api.run(), api.run()]
    with archive(api, {"job_ids": jobs}, "/download/bulk") as found:
        assert found.namelist() == [f"{job}/front_0_v0.jpg" for job in jobs]


def test_bulk_archive_of_more_than_a_hundred_images_is_refused(api: Any) -> None:
    """A bulk archive contains at most 100 images."""
    image = api.upload()
    jobs = [api.run([image] * 10, swap_options={"num_variations": 4}) for _ in range(3)]
    assert api.post("/download/bulk", {"job_ids": jobs}).status_code == 422
    assert api.post("/download/bulk", {"job_ids": jobs[:2]}).status_code == 200


@pytest.mark.parametrize(
    ("variants", "status"), [({}, 404), ({"zip_expired": "410"}, 410)], ids=["default", "gone"]
)
def test_archive_link_expires(serve: Callable[..., Any], variants: dict[str, str], status: int) -> None:
    """A link has its expiry time, and works repeatedly until then."""
    api = serve(variants=variants)
    answer = api.post("/download", {"job_id": api.run()}).json()
    left = datetime.fromisoformat(answer["expires"]) - datetime.now(UTC)
    assert 3500 < left.total_seconds() <= 3600
    assert [api.fetch(answer["download_url"]).status_code for _ in range(2)] == [200, 200]
    api.server.state.clock.advance(3601)
    assert api.fetch(answer["download_url"]).status_code == status


def test_archive_without_images_is_refused(api: Any) -> None:
    """A job without completed images returns 400; an unknown job returns 404."""
    api.server.faults.add("job", "fail_image")
    assert api.post("/download", {"job_id": api.run()}).status_code == 400
    assert api.post("/download", {"job_id": "job_nothing"}).status_code == 404
