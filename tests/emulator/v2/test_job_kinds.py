# SPDX-License-Identifier: Apache-2.0
"""Another job type only needs a kind and a request reader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from airflow_provider_piktid.emulator.blobs import Blob
from airflow_provider_piktid.emulator.core import Core
from airflow_provider_piktid.emulator.settings import Settings
from airflow_provider_piktid.emulator.state import State
from airflow_provider_piktid.emulator.v2.entities import StoredFile
from airflow_provider_piktid.emulator.v2.job import Job, JobKind, Output, PlannedOutput
from airflow_provider_piktid.emulator.v2.paid_jobs import JobRequest, files_of, submit
from airflow_provider_piktid.emulator.wire import Check
from tests.emulator.conftest import Api, Serve, ended


class Combined(JobKind):
    """Combines all inputs into one output for each instruction."""

    job_type = "combined"
    auto_model = "seedream"

    def plan(self, files: Sequence[StoredFile], options: dict[str, Any]) -> list[PlannedOutput]:
        return [PlannedOutput(n, 0, tuple(files), f"look{n}.jpg") for n in range(options["instructions"])]

    def price(self, settings: Settings, options: dict[str, Any], planned: PlannedOutput) -> float:
        return 3.0

    def picture(self, core: Core, job: Job, output: Output, sources: list[Blob]) -> Blob:
        data = b"+".join(source.path.read_bytes() for source in sources)
        return core.folder.save(data, "image/jpeg")


def read(state: State, check: Check) -> JobRequest:
    files = files_of(state, check, check.texts("images"))
    return JobRequest(files, {"instructions": check.number("instructions", 1, 1, 10)})


def run(api: Api, images: list[str]) -> Job:
    """Run a job of this kind with two instructions to its end."""
    job = submit(api.server.state, Combined(), {"images": images, "instructions": 2}, read)
    api.await_event(lambda event: ended(event, job.job_id))
    return job


@pytest.fixture
def combined(api: Api) -> tuple[Api, Job, list[str]]:
    """A finished job with two inputs and two outputs."""
    images = [api.upload("front.jpg", b"front"), api.upload("back.jpg", b"back")]
    return api, run(api, images), images


def test_outputs_are_those_that_the_kind_plans(combined: tuple[Api, Job, list[str]]) -> None:
    """Two instructions make two outputs, and each lists all inputs."""
    api, job, images = combined
    rows = api.get(f"/jobs/{job.job_id}/results").json()["results"]
    assert [row["original_filename"] for row in rows] == ["look0.jpg", "look1.jpg"]
    assert [[item["uuid"] for item in row["inputs"]] for row in rows] == [images, images]


def test_picture_is_made_by_the_kind(combined: tuple[Api, Job, list[str]]) -> None:
    """The kind gets all inputs of an output, and ``model_used`` is its engine."""
    api, job, _ = combined
    row = api.get(f"/jobs/{job.job_id}/results").json()["results"][0]
    assert api.fetch(row["output"]["full_size"]).content == b"front+back"
    assert row["model_used"] == "seedream"


def test_price_is_that_of_the_kind(combined: tuple[Api, Job, list[str]]) -> None:
    """Each planned output costs the price of the kind, and so does a regenerated one."""
    api, job, _ = combined
    assert api.post(f"/jobs/{job.job_id}/regenerate/1").status_code == 200
    assert [(row["job_type"], row["credits"]) for row in api.server.state.ledger()] == [("combined", 9.0)]


def test_every_listing_names_the_kind(combined: tuple[Api, Job, list[str]]) -> None:
    """Status, gallery, billing and events have the job type of the kind."""
    api, job, _ = combined
    assert api.get(f"/jobs/{job.job_id}/status").json()["job_type"] == "combined"
    assert [row["job_id"] for row in api.get("/gallery/by-job", job_type="combined").json()["jobs"]] == [
        job.job_id
    ]
    assert [row["job_type"] for row in api.get("/billing/credits").json()["summary"]] == ["combined"]
    assert {
        n.data["job_type"] for n in api.server.state.v2.notifications.current() if n.name == "batch_edit"
    } == {"combined"}


def test_page_shows_every_input(combined: tuple[Api, Job, list[str]]) -> None:
    """The page shows all inputs of each output."""
    api, _, images = combined
    page = api.get("/").text
    assert [page.count(f"/_emulator/thumb/{file_id}") for file_id in images] == [2, 2]


def test_image_never_uploaded_fails_its_outputs(api: Api) -> None:
    """An input that was never uploaded fails every output that needs it."""
    ticket = api.post("/upload", {"filename": "back.jpg"}).json()["file_id"]
    job = run(api, [api.upload(), ticket])
    assert {output.error_message for output in job.outputs} == {"The image was never uploaded"}


def test_rate_window_belongs_to_the_kind(serve: Serve) -> None:
    """A reached rate limit of one type does not affect another."""
    api = serve(jobs_per_minute=1)
    assert [api.swap().status_code for _ in range(2)] == [202, 429]
    assert run(api, [api.upload()]).status == "completed"
