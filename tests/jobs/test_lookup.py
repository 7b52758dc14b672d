# SPDX-License-Identifier: Apache-2.0
"""A job whose id is unknown is found by its images and options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from airflow_provider_piktid.client import PiktidClient, RetrySettings
from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import PiktidServerError
from airflow_provider_piktid.jobs.lookup import OLD_IN_A_ROW, SCAN_LIMIT, Lookup, find_job, look_up
from airflow_provider_piktid.models.model_swap import ModelSwap
from tests.support.batch import buy, jobs

#: 2026-01-01T00:00:00Z in epoch seconds.
NEW_YEAR = 1767225600.0


SWAP = ModelSwap(identity_code="PiktidSummer", project_id="prj")

#: The status response for a job that this request started.
STATUS: dict[str, Any] = {
    "job_id": "job-1",
    "job_type": "model_swap",
    "status": "processing",
    "identity_code": "PiktidSummer",
    "total_images": 2,
    "processing_options": {"model": "auto", "num_variations": 1},
}


def row(*file_ids: str, uuid: bool = True) -> list[dict[str, Any]]:
    return [
        {"image_index": index, "inputs": [{"uuid": file_id} if uuid else {}]}
        for index, file_id in enumerate(file_ids)
    ]


def listed(job_id: str = "job-1", **fields: Any) -> dict[str, Any]:
    whole = {
        "job_id": job_id,
        "job_status": "processing",
        "project_key": "prj",
        "created_at": "2026-01-01T00:10:00Z",
        "images": row("a", "b"),
    }
    return whole | fields


class Gallery:
    """Lists the given jobs and records the requests."""

    def __init__(
        self,
        *jobs: dict[str, Any],
        results: dict[str, Any] | None = None,
        status: dict[str, Any] | None = None,
        refuses: str = "",
        ignores: str = "",
    ) -> None:
        self.jobs = list(jobs)
        self.results = results
        self.status = STATUS | (status or {})
        self.refuses = refuses
        self.ignores = ignores
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url.raw_path.decode()))
        if request.url.path.endswith("/status"):
            return httpx.Response(200, json=self.status)
        if request.url.path.endswith("/results"):
            return httpx.Response(404) if self.results is None else httpx.Response(200, json=self.results)
        if self.refuses and self.refuses in request.url.params:
            return httpx.Response(422, json={"error": "Invalid request"})
        page, size = int(request.url.params["page"]), int(request.url.params["per_page"])
        if self.ignores and self.ignores in request.url.params:
            return httpx.Response(200, json={"jobs": [], "pagination": {"has_next": False, "page": page}})
        chosen = self.jobs[(page - 1) * size : page * size]
        more = page * size < len(self.jobs)
        return httpx.Response(200, json={"jobs": chosen, "pagination": {"has_next": more, "page": page}})

    def find(self, *, since: float = NEW_YEAR, known: set[str] | None = None) -> str | None:
        return self.look_up(since=since, known=known).job_id

    def look_up(
        self, *, since: float = NEW_YEAR, known: set[str] | None = None, batch: Sequence[str] = ()
    ) -> Lookup:
        transport = httpx.MockTransport(self)
        with PiktidClient("t", transport=transport, retry=RetrySettings(max_attempts=1)) as client:
            return look_up(client, SWAP, ["a", "b"], since=since, known=known or set(), batch=batch)


@pytest.mark.parametrize(
    ("job", "found"),
    [
        pytest.param(listed(), True, id="same images"),
        pytest.param(listed(images=row("b", "a")), True, id="another order"),
        pytest.param(listed(images=row("a", "a", "b", "b")), True, id="two variations of each"),
        pytest.param(listed(images=row("a")), True, id="running, one image finished"),
        pytest.param(
            listed(images=row("a"), job_status="completed"), False, id="completed with fewer images"
        ),
        pytest.param(listed(images=row("a", "b", "c")), False, id="more images"),
        pytest.param(listed(images=row("c", "d")), False, id="other images"),
        pytest.param(listed(created_at="2025-12-31T23:59:59Z"), False, id="too old"),
        pytest.param(listed(created_at="2026-01-01T00:10:00"), True, id="time without a zone"),
        pytest.param(listed(created_at="yesterday"), True, id="invalid time"),
        pytest.param(listed(created_at=None), True, id="no time"),
    ],
)
def test_job_is_found_by_its_images(job: dict[str, Any], found: bool) -> None:
    """A job with exactly these images, in any order, that is not older than ``since`` is found."""
    assert Gallery(job).find() == ("job-1" if found else None)


def test_known_job_is_skipped() -> None:
    """A job id that is already known is skipped."""
    assert Gallery(listed("known"), listed("wanted")).find(known={"known"}) == "wanted"


def test_job_of_another_type_is_skipped() -> None:
    """A listed job of another type is skipped without a further request."""
    gallery = Gallery(listed(job_type="flat_2_model"))

    assert gallery.find() is None
    assert len(gallery.asked) == 1


@pytest.mark.parametrize(
    "status",
    [
        pytest.param({"identity_code": "PiktidPremium"}, id="other identity"),
        pytest.param({"processing_options": {"model": "onda", "num_variations": 1}}, id="other engine"),
        pytest.param({"processing_options": {"model": "auto", "num_variations": 2}}, id="more variations"),
        pytest.param({"total_images": 1}, id="fewer images"),
        pytest.param({"should_post_process": True}, id="with post-processing"),
        pytest.param({"processing_options": None}, id="options missing"),
        pytest.param({"identity_code": None}, id="identity missing"),
    ],
)
def test_job_with_other_options_is_not_returned(status: dict[str, Any]) -> None:
    """A job of the same images with other or missing options is not returned."""
    assert Gallery(listed(), status=status).find() is None


def old(number: int) -> dict[str, Any]:
    return listed(f"old-{number}", created_at=f"2025-01-{number % 28 + 1:02}T00:00:00Z")


def test_search_ends_at_jobs_that_are_too_old() -> None:
    """The search ends once enough jobs in a row are too old and listed newest first."""
    gallery = Gallery(*[old(0)] * 300)

    assert gallery.look_up() == Lookup()
    assert len(gallery.asked) == 1


@pytest.mark.parametrize(
    "before",
    [
        pytest.param([old(0)] * (OLD_IN_A_ROW - 1), id="a few old jobs first"),
        pytest.param([old(number) for number in range(25)] * 8, id="not sorted"),
        pytest.param(
            [
                listed(f"old-{day}", created_at=f"2025-{day // 28 + 1:02}-{day % 28 + 1:02}")
                for day in range(300)
            ],
            id="oldest first",
        ),
    ],
)
def test_job_is_found_whatever_the_order(before: list[dict[str, Any]]) -> None:
    """A listing that is not sorted, or oldest first, is searched up to the limit."""
    assert Gallery(*before, listed("wanted")).find() == "wanted"


def test_search_covers_pages_up_to_a_limit() -> None:
    """The search reads further pages until ``SCAN_LIMIT`` jobs."""
    others = [listed(f"other-{number}", images=row("x")) for number in range(SCAN_LIMIT)]

    assert Gallery(*others[:250], listed("wanted")).find() == "wanted"
    assert Gallery(*others).look_up() == Lookup()
    (doubt,) = Gallery(*others, listed("wanted")).look_up().doubts
    assert f"more than {SCAN_LIMIT} newer jobs" in doubt


def test_images_are_read_from_the_results_if_not_listed() -> None:
    """If the listing does not contain the input ids, they are read from the job's results."""
    gallery = Gallery(
        listed(images=row("a", "b", uuid=False)),
        results={"job_id": "job-1", "status": "processing", "results": row("a", "b")},
    )

    assert gallery.find() == "job-1"


def test_job_without_images_is_not_returned() -> None:
    """A listed job without images is not returned."""
    assert Gallery(listed(images=[])).find() is None


@pytest.mark.parametrize("kind", ["refuses", "ignores"])
def test_search_works_without_the_project_filter(kind: str) -> None:
    """If PiktID refuses the text id, or lists nothing for it, the search compares the projects itself."""
    filtering: dict[str, Any] = {kind: "project_id"}
    gallery = Gallery(listed("foreign", project_key="other"), listed("wanted"), **filtering)

    assert gallery.find() == "wanted"


def test_images_that_the_listing_leaves_out_are_read_from_the_results() -> None:
    """The listing has at most 50 outputs of a job; if some images are missing there, the results are read."""
    gallery = Gallery(
        listed(images=row("a"), job_status="completed"),
        results={"job_id": "job-1", "status": "completed", "results": row("a", "b")},
    )

    assert gallery.find() == "job-1"


@pytest.mark.parametrize(
    ("job", "status", "doubtful"),
    [
        pytest.param(listed(images=[]), {}, True, id="no picture listed yet"),
        pytest.param(
            listed(images=[]), {"identity_code": "PiktidPremium"}, False, id="... of another identity"
        ),
        pytest.param(listed(), {"processing_options": None}, True, id="options not told"),
        pytest.param(listed(images=row("b", "c")), {}, True, id="images split in another way"),
        pytest.param(
            listed(images=row("a", "b", "c", "d")), {"total_images": 4}, True, id="larger jobs before"
        ),
        pytest.param(
            listed(images=row("a"), job_status="completed"),
            {"total_images": 1},
            True,
            id="smaller jobs before",
        ),
        pytest.param(
            listed(images=row("b", "c")),
            {"identity_code": "PiktidPremium"},
            False,
            id="... of another identity",
        ),
        pytest.param(listed(images=row("x", "y")), {}, False, id="images of others"),
    ],
)
def test_job_that_may_be_of_this_task_is_a_doubt(
    job: dict[str, Any], status: dict[str, Any], doubtful: bool
) -> None:
    """Without a record, a job of which too little is told, or with some of the task's images, is a doubt."""
    found = Gallery(job, status=status).look_up(batch=["a", "b", "c", "d"])

    assert found.job_id is None
    assert bool(found.doubts) is doubtful
    assert all("job-1" in doubt for doubt in found.doubts)


def test_job_list_that_cannot_be_read_raises(server: EmulatorServer) -> None:
    """If the job list cannot be read, the error is raised instead of returning None."""
    server.faults.add("gallery_jobs", "status", code=503, times=None)

    with (
        PiktidClient("piktid-emulator", base_url=server.url, retry=RetrySettings(max_attempts=1)) as client,
        pytest.raises(PiktidServerError),
    ):
        find_job(client, SWAP, ["a"], since=0.0, known=set())


def test_job_is_found_at_the_emulator(server: EmulatorServer) -> None:
    """A job that was submitted to the emulator is found by its images."""
    job_id = buy(server, images=3)
    (bought,) = jobs(server)
    project = server.state.v2.project_named("shoot")
    assert project is not None

    with PiktidClient("piktid-emulator", base_url=server.url) as client:
        job = ModelSwap(identity_code="PiktidSummer", project_id=project.key)
        found = find_job(client, job, bought["images"], since=0.0, known=set())

    assert found == job_id
