# SPDX-License-Identifier: Apache-2.0
"""Waiting for jobs: how responses to status requests are interpreted."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import PiktidInvalidRequestError
from tests.support.batch import buy
from tests.support.watching import status_requests, watch

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("status", {"code": 503}),
        ("status", {"code": 429}),
        ("drop", {}),
        ("html", {}),
        ("garbage_json", {}),
        ("wrong_types", {}),
        ("truncate", {}),
    ],
    ids=["503", "429", "drop", "html", "garbage", "wrong types", "truncated"],
)
async def test_failed_status_requests_are_retried(
    server: EmulatorServer, kind: str, params: dict[str, Any]
) -> None:
    """Failed status requests and invalid responses do not end the wait."""
    server.faults.add("job_status", kind, times=3, **params)
    job_id = buy(server)

    watched = await watch(server, job_id, poll_interval=0.1, status_interval=0.1)

    assert watched.ended == {job_id: "completed"}
    assert server.faults.all_met()


async def test_invalid_request_raises(server: EmulatorServer) -> None:
    """HTTP 400 for a status request raises ``PiktidInvalidRequestError``."""
    server.faults.add("job_status", "status", code=400)

    with pytest.raises(PiktidInvalidRequestError):
        await watch(server, buy(server))


async def test_new_job_may_answer_404_at_first(start: Any) -> None:
    """HTTP 404 before the first HTTP 200 of a new job does not end the wait."""
    server = start(variants={"fresh_404": "4"})
    job_id = buy(server)

    watched = await watch(server, job_id, poll_interval=0.1)

    assert watched.ended == {job_id: "completed"}


async def test_unknown_job_is_lost_after_several_answers(server: EmulatorServer) -> None:
    """A job that answers 404 several times in a row, over some time, is lost; one answer is not enough."""
    began = time.monotonic()

    watched = await watch(server, "job-x", lost_seconds=0.4, lost_tries=3)

    assert watched.ended == {"job-x": "lost"}
    assert status_requests(server) >= 3
    assert time.monotonic() - began >= 0.4


@pytest.mark.parametrize("after", [0, 1], ids=["first answer", "after a 200"])
async def test_single_404_does_not_end_the_wait(server: EmulatorServer, after: int) -> None:
    """A job that is listed again after a 404 is waited for, also by a watcher that has just begun."""
    server.faults.add("job_status", "status", code=404, after=after, times=2)
    job_id = buy(server)

    watched = await watch(server, job_id, poll_interval=0.05, stream=False, lost_tries=3)

    assert watched.ended == {job_id: "completed"}


async def test_answers_404_are_counted_in_a_row(start: Any) -> None:
    """A status between two answers 404 starts the count again."""
    server = start(job_seconds=1.0)
    for after in (0, 2, 4, 6):
        server.faults.add("job_status", "status", code=404, after=after)
    job_id = buy(server)

    watched = await watch(server, job_id, poll_interval=0.02, stream=False, lost_tries=2, lost_seconds=0.0)

    assert watched.ended == {job_id: "completed"}


async def test_job_that_keeps_answering_404_after_200_is_lost(server: EmulatorServer) -> None:
    """A job that is known and then answers nothing but 404 is lost."""
    server.faults.add("job", "never_end")
    server.faults.add("job_status", "status", code=404, after=1, times=None)
    job_id = buy(server)

    watched = await watch(server, job_id, poll_interval=0.1, stream=False)

    assert watched.ended == {job_id: "lost"}


@pytest.mark.parametrize(("end", "word"), [("fail_job", "failed"), ("abort_job", "aborted")])
async def test_failed_and_aborted_jobs_end_the_wait(server: EmulatorServer, end: str, word: str) -> None:
    """A failed or aborted job ends the wait with that status."""
    server.faults.add("job", end)
    job_id = buy(server)

    assert (await watch(server, job_id)).ended == {job_id: word}


async def test_unknown_status_does_not_end_the_wait(server: EmulatorServer) -> None:
    """An unknown status does not end the wait."""
    server.faults.add("job", "unknown_status", word="archiving", seconds=0.3)
    job_id = buy(server)
    seen: list[str] = []

    watched = await watch(server, job_id, on_change=lambda job: seen.append(job.status))

    assert watched.ended == {job_id: "completed"}
    assert "archiving" in seen


async def test_wait_includes_post_processing(start: Any) -> None:
    """A completed job ends the wait only after its post-processing."""
    server = start(post_process_seconds=0.4)
    job_id = buy(server, post_process=True)

    seen: list[str | None] = []

    await watch(server, job_id, on_change=lambda job: seen.append(job.post_processing_status))

    assert seen[-1] == "completed"


async def test_each_change_is_reported_once(start: Any) -> None:
    """``on_change`` is called once for each change."""
    server = start(job_seconds=0.5)
    job_id = buy(server, images=3)
    seen: list[tuple[str, int | None]] = []

    await watch(
        server,
        job_id,
        poll_interval=0.02,
        stream=False,
        on_change=lambda job: seen.append((job.status, job.processed_images)),
    )

    assert len(seen) == len(set(seen))
    assert seen[-1] == ("completed", 3)
