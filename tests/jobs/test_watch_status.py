# SPDX-License-Identifier: Apache-2.0
"""Waiting for jobs: what the answers to a status request mean."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import PiktidInvalidRequestError
from tests.support.batch import buy
from tests.support.service import emulator
from tests.support.watching import status_requests, watch

pytestmark = pytest.mark.anyio


@pytest.fixture
def start() -> Iterator[Callable[..., EmulatorServer]]:
    """Start emulators with given settings."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(emulator(**({"job_seconds": 0.2} | settings)))


@pytest.fixture
def server(start: Callable[..., EmulatorServer]) -> EmulatorServer:
    return start()


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
async def test_answers_that_say_nothing_are_waited_out(
    server: EmulatorServer, kind: str, params: dict[str, Any]
) -> None:
    """A job is not given up because the service has a bad minute."""
    server.faults.add("job_status", kind, times=3, **params)
    job_id = buy(server)

    watched = await watch(server, job_id, poll_interval=0.1, status_interval=0.1)

    assert watched.ended == {job_id: "completed"}
    assert server.faults.all_met()


async def test_refusal_that_waiting_does_not_mend_is_raised(server: EmulatorServer) -> None:
    """A request that is wrong stays wrong."""
    server.faults.add("job_status", "status", code=400)

    with pytest.raises(PiktidInvalidRequestError):
        await watch(server, buy(server))


async def test_fresh_job_may_be_unknown_for_a_while(start: Any) -> None:
    """Before its first 200 a young job answers 404; that is no loss."""
    server = start(variants={"fresh_404": "4"})
    job_id = buy(server)

    watched = await watch(server, job_id, poll_interval=0.1, submitted_at={job_id: time.time()})

    assert watched.ended == {job_id: "completed"}


async def test_job_that_stays_unknown_is_lost_after_the_window(server: EmulatorServer) -> None:
    """The tolerance ends."""
    watched = await watch(
        server, "job-x", poll_interval=0.1, fresh_seconds=0.4, submitted_at={"job-x": time.time()}
    )

    assert watched.ended == {"job-x": "lost"}
    assert status_requests(server) >= 2


async def test_old_job_that_is_unknown_is_lost_at_once(server: EmulatorServer) -> None:
    """There is nothing to hope for."""
    assert (await watch(server, "job-x")).ended == {"job-x": "lost"}


async def test_job_that_vanishes_after_its_first_answer_is_lost(server: EmulatorServer) -> None:
    """The window counts before the first 200 only."""
    server.faults.add("job", "never_end")
    server.faults.add("job_status", "status", code=404, after=1, times=None)
    job_id = buy(server)

    watched = await watch(server, job_id, poll_interval=0.1, submitted_at={job_id: time.time()}, stream=False)

    assert watched.ended == {job_id: "lost"}


@pytest.mark.parametrize(("end", "word"), [("fail_job", "failed"), ("abort_job", "aborted")])
async def test_bad_ends_are_ends(server: EmulatorServer, end: str, word: str) -> None:
    """What an end means is decided elsewhere; the wait is over."""
    server.faults.add("job", end)
    job_id = buy(server)

    assert (await watch(server, job_id)).ended == {job_id: word}


async def test_unknown_word_is_no_end(server: EmulatorServer) -> None:
    """A status that nobody has heard of is waited out."""
    server.faults.add("job", "unknown_status", word="archiving", seconds=0.3)
    job_id = buy(server)
    seen: list[str] = []

    watched = await watch(server, job_id, on_change=lambda job: seen.append(job.status))

    assert watched.ended == {job_id: "completed"}
    assert "archiving" in seen


async def test_post_processing_belongs_to_the_job(start: Any) -> None:
    """A completed job whose post-processing runs has not ended, event or not."""
    server = start(post_process_seconds=0.4)
    job_id = buy(server, post_process=True)

    watched = await watch(server, job_id)

    assert watched.jobs[job_id].post_processing_status == "completed"


async def test_changes_are_told_once_each(start: Any) -> None:
    """The log shows progress, not polling."""
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
