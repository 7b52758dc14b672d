# SPDX-License-Identifier: Apache-2.0
"""Ends of an account's jobs are found, each at least once, whatever happens to stream, token and process."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Any

import pytest

from airflow_provider_piktid.client import PiktidClient
from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.jobs.end_memory import SAVE_SECONDS, WEBHOOK_KEY, end_key, with_webhook_end
from airflow_provider_piktid.jobs.end_watch import WatchTimes
from airflow_provider_piktid.jobs.ended import EndedJob, JobFilter
from tests.support.batch import buy
from tests.support.ends import SHORT, AssetStore, burst, quiet, watching
from tests.support.fixtures import Start
from tests.support.service import connection_json
from tests.support.watching import NEVER, until

pytestmark = pytest.mark.anyio

CONN = "AIRFLOW_CONN_PIKTID_DEFAULT"


def ended(server: EmulatorServer, **options: Any) -> str:
    """Start a job and complete it; return its id."""
    job_id = buy(server, **options)
    server.state.complete_job(job_id)
    return job_id


def requests(server: EmulatorServer, operation: str) -> int:
    return int(server.state.stats()["operations"].get(operation, {}).get("requests", 0))


def ids(jobs: list[EndedJob]) -> list[str]:
    return [job.job_id for job in jobs]


async def test_end_is_reported_with_what_the_consumer_needs(server: EmulatorServer) -> None:
    """The status, type and project are those of the job; the id is one of its notifications'."""
    async with watching() as watcher:
        job_id = ended(server)
        (job,) = await burst(watcher)

    kept = [n.id for n in server.state.v2.notifications.current() if n.data.get("job_id") == job_id]
    assert job.notification_id in kept
    assert dataclasses.replace(job, notification_id=None) == EndedJob(
        job_id, "completed", "model_swap", "shoot"
    )


async def test_end_before_the_watch_began_is_reported(server: EmulatorServer) -> None:
    """PiktID keeps notifications for ten minutes, so ends of this time are found."""
    job_id = ended(server)
    async with watching() as watcher:
        assert ids(await burst(watcher)) == [job_id]


async def test_burst_is_one_report(start: Start) -> None:
    """Ends between two reports are reported together, and each only once, under however many notifications."""
    server = start(job_seconds=600, active_jobs=0)
    first, *more = [buy(server) for _ in range(9)]
    async with watching(gather=1.0) as watcher:
        server.state.complete_job(first)
        assert ids(await burst(watcher)) == [first]
        began = time.monotonic()
        # At once: nine purchases may take longer than a burst is gathered.
        for job_id in more:
            server.state.complete_job(job_id)
        assert sorted(ids(await burst(watcher))) == sorted(more)
        assert time.monotonic() - began > 0.5
        assert await quiet(watcher)


async def test_only_ends_that_are_wanted_are_reported(server: EmulatorServer) -> None:
    """Failed jobs, and jobs of another project, are left out."""
    server.faults.add("job", "fail_job")
    failed = buy(server)
    async with watching(JobFilter(("failed",), projects=("shoot",))) as watcher:
        ended(server)
        server.state.fail_job(failed)
        (job,) = await burst(watcher)
    assert (job.job_id, job.status) == (failed, "failed")


async def test_no_notification_is_deleted(server: EmulatorServer) -> None:
    """Other readers of the account find every notification."""
    async with watching() as watcher:
        ended(server)
        await burst(watcher)
    assert requests(server, "notification_delete") == 0


async def test_status_decides(server: EmulatorServer) -> None:
    """A notification that says too early that a job has ended is not reported; the end is."""
    server.faults.add("job", "never_end")
    job_id = buy(server)
    async with watching() as watcher:
        server.state.publish("completed", {"job_id": job_id, "status": "completed"})
        assert await quiet(watcher)
    async with watching() as watcher:
        server.state.complete_job(job_id)
        assert ids(await burst(watcher)) == [job_id]


async def test_post_processing_is_waited_for(start: Start) -> None:
    """A job whose post-processing still runs has not ended, and no notification says when it has."""
    server = start(post_process_seconds=0.8)
    async with watching() as watcher:
        job_id = ended(server, post_process=True)
        assert ids(await burst(watcher)) == [job_id]
    assert server.state.v2.jobs.get(job_id).post_processing_status == "completed"


async def test_lost_notification_of_the_end_is_made_up_for(server: EmulatorServer) -> None:
    """A job that was heard of is asked for from time to time until it has ended."""
    server.faults.add("job", "lose_notifications")
    async with watching() as watcher:
        job_id = buy(server)
        server.state.publish("batch_edit", {"job_id": job_id, "status": "processing"})
        assert ids(await burst(watcher)) == [job_id]
    assert len(server.state.v2.notifications.current()) == 1


async def test_image_that_is_made_again_is_no_end(server: EmulatorServer) -> None:
    """A new version of an image of a job that ended before the watch is not its end."""
    job_id = ended(server)
    server.state.v2.notifications.clear()
    server.state.clock.advance(60)
    async with watching() as watcher:
        server.state.publish("image_result", {"job_id": job_id, "status": "completed"})
        assert await quiet(watcher, 1.0)


async def test_foreign_frames_do_no_harm(server: EmulatorServer) -> None:
    """Notifications of unknown jobs, without a job, and of other forms neither end the watch nor are reported."""
    odd: list[dict[str, Any]] = [
        {},
        {"job_id": None},
        {"job_id": "gone", "status": "completed"},
        {"job_id": "../../project", "status": "completed"},
        {"job_id": "x" * 5000, "status": "completed"},
        {"id_task": ["a"], "status": {"a": 1}},
        {"job_id": "näme", "status": "Completed"},
    ]
    async with watching() as watcher:
        for data in odd:
            server.state.publish("batch_edit", data)
        job_id = ended(server)
        assert ids(await burst(watcher)) == [job_id]


# -- failures ---------------------------------------------------------------------------------------------------


async def test_unknown_connection_is_told_once_and_waited_for(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The watch goes on when the connection is there, without a restart."""
    async with watching(conn_id="piktid_mended") as watcher:
        waiting = asyncio.create_task(burst(watcher))
        await until(lambda: "piktid_mended" in caplog.text)
        await asyncio.sleep(2 * SHORT.retry)
        monkeypatch.setenv("AIRFLOW_CONN_PIKTID_MENDED", connection_json(server.url))
        job_id = ended(server)
        assert ids(await waiting) == [job_id]
    told = [record for record in caplog.records if "piktid_mended" in record.getMessage()]
    assert len([record for record in told if record.levelname == "WARNING"]) == 1


async def test_wait_for_a_connection_costs_nothing() -> None:
    """Between two attempts nothing is done."""
    async with watching(conn_id="piktid_unknown", times=WatchTimes()) as watcher:
        assert await quiet(watcher, 0.1)
        before = time.process_time()
        assert await quiet(watcher, 0.6)
    assert time.process_time() - before < 0.3


async def test_gallery_that_fails_holds_up_nothing(server: EmulatorServer) -> None:
    """After a long outage what the stream reports is reported, also if the list of jobs cannot be read."""
    store = AssetStore()
    store.set("piktid_job_events", {"ids": [], "ends": [], "seen_at": time.time() - 3600, "version": 1})
    server.faults.add("gallery_jobs", "status", status=500, times=1000)
    async with watching(store=store) as watcher:
        await burst_of_one(server, watcher)
    assert requests(server, "gallery_jobs") >= 1


async def test_refused_token_is_looked_up_again(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A token that is revoked and later replaced in the connection costs no end and no restart."""
    monkeypatch.setenv(CONN, connection_json(server.url, password="revoked"))
    async with watching() as watcher:
        waiting = asyncio.create_task(burst(watcher))
        await until(lambda: "at present" in caplog.text)
        job_id = ended(server)
        monkeypatch.setenv(CONN, connection_json(server.url))
        assert ids(await waiting) == [job_id]
    assert "revoked" not in caplog.text


async def test_broken_stream_costs_no_end(server: EmulatorServer) -> None:
    """Ends while the stream is broken are found when it is open again."""
    async with watching() as watcher:
        await burst_of_one(server, watcher)
        server.faults.add("events", "no_stream", times=1)
        server.state.v2.notifications.close()
        job_id = ended(server)
        assert ids(await burst(watcher)) == [job_id]


async def burst_of_one(server: EmulatorServer, watcher: Any) -> None:
    job_id = ended(server)
    assert ids(await burst(watcher)) == [job_id]


async def test_without_a_stream_the_gallery_is_looked_through(server: EmulatorServer) -> None:
    """Where no stream can be opened, ends are found in the gallery."""
    server.faults.add("events", "no_stream", times=1000)
    async with watching() as watcher:
        job_id = ended(server)
        (job,) = await burst(watcher)
        assert (job.job_id, job.notification_id) == (job_id, None)
        assert await quiet(watcher, 1.0)


# -- memory -----------------------------------------------------------------------------------------------------


async def saved(store: AssetStore, watcher: Any) -> None:
    """Let the watch go on until the last report is stored."""
    async with asyncio.timeout(SAVE_SECONDS + 15):
        going = asyncio.create_task(watcher.next_burst())
        await until(lambda: bool(store.value.get("ids")))
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)


async def test_report_is_remembered_over_a_restart(server: EmulatorServer) -> None:
    """What was reported and stored is not reported again; what followed is."""
    store = AssetStore()
    async with watching(store=store) as watcher:
        await burst_of_one(server, watcher)
        await saved(store, watcher)
    job_id = ended(server)
    async with watching(store=store) as watcher:
        assert ids(await burst(watcher)) == [job_id]
        assert await quiet(watcher)


async def test_report_is_not_remembered_at_once(server: EmulatorServer) -> None:
    """A process that ends right after a report may not have stored its event: the end is reported again."""
    store = AssetStore()
    async with watching(store=store) as watcher:
        job_id = ended(server)
        assert ids(await burst(watcher)) == [job_id]
        assert await quiet(watcher)
    async with watching(store=store) as watcher:
        assert ids(await burst(watcher)) == [job_id]


async def test_without_a_store_a_restart_reports_again(server: EmulatorServer) -> None:
    """Before Airflow 3.3 nothing is remembered: ends of the last ten minutes are reported again."""
    job_id = ended(server)
    for _ in range(2):
        async with watching() as watcher:
            assert ids(await burst(watcher)) == [job_id]


async def test_ends_of_a_long_outage_are_found_in_the_gallery(server: EmulatorServer) -> None:
    """After an outage that is longer than PiktID keeps notifications, ends are found in the list of jobs."""
    store = AssetStore()
    store.set("piktid_job_events", {"ids": [], "ends": [], "seen_at": time.time() - 3600, "version": 1})
    during = ended(server)
    server.state.v2.notifications.clear()
    async with watching(store=store) as watcher:
        (job,) = await burst(watcher)
        assert job == EndedJob(during, "completed", "model_swap", "shoot", None)
        await burst_of_one(server, watcher)
        assert await quiet(watcher)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="nothing"),
        pytest.param("text", id="text"),
        pytest.param({"version": 99, "ids": [1]}, id="later version"),
        pytest.param({"version": 1, "ids": "no", "ends": [3], "seen_at": "x"}, id="other types"),
        pytest.param({"version": 1, "seen_at": 9e18}, id="far ahead"),
    ],
)
async def test_unreadable_memory_is_no_memory(server: EmulatorServer, value: Any) -> None:
    """What another version stored does not stop the watch."""
    store = AssetStore()
    if value is not None:
        store.set("piktid_job_events", value)
    job_id = ended(server)
    async with watching(store=store) as watcher:
        assert ids(await burst(watcher)) == [job_id]


class OneAssetOnly(AssetStore):
    """A store of a trigger that several assets share, which Airflow refuses."""

    async def aget(self, key: str, default: Any = None) -> Any:
        raise ValueError("Task has 2 concrete inlets and outlets")


async def test_refused_memory_is_told_once(server: EmulatorServer, caplog: pytest.LogCaptureFixture) -> None:
    """Without a memory the watch goes on, and the log says so."""
    job_id = ended(server)
    async with watching(store=OneAssetOnly()) as watcher:
        assert ids(await burst(watcher)) == [job_id]
    assert sum("not remembered" in record.getMessage() for record in caplog.records) == 1


async def test_store_that_fails_does_not_stop_the_watch(server: EmulatorServer) -> None:
    """While the memory cannot be written, ends are reported."""
    store = AssetStore()
    store.fail_writes = True
    async with watching(store=store) as watcher:
        for _ in range(2):
            await burst_of_one(server, watcher)


class HeldStore(AssetStore):
    """A store that answers who asks for the webhook's ends only after ``go`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.go.set()

    async def aget(self, key: str, default: Any = None) -> Any:
        if key == WEBHOOK_KEY:
            await self.go.wait()
        return await super().aget(key, default)


def webhook_reports(store: AssetStore, key: str | None) -> None:
    """Note an end as the receiver of the webhook does."""
    store.set(WEBHOOK_KEY, with_webhook_end(store.get(WEBHOOK_KEY), str(key)))


async def test_end_that_the_webhook_has_reported_is_left_out(server: EmulatorServer) -> None:
    """If the webhook reports to the same asset, the watcher reports only what the webhook did not."""
    store = HeldStore()
    webhook_reports(store, "earlier")
    async with watching(store=store) as watcher:
        store.go.clear()
        waiting = asyncio.create_task(burst(watcher))
        both, lost = ended(server), ended(server)
        with PiktidClient("piktid-emulator", base_url=server.url) as client:
            webhook_reports(store, end_key(client.get_job(both)))
        store.go.set()
        assert ids(await waiting) == [lost]
        assert await quiet(watcher)


@pytest.mark.parametrize("known", [True, False], ids=["known at the start", "known at the first end"])
async def test_webhook_of_the_same_asset_goes_first(server: EmulatorServer, known: bool) -> None:
    """What the webhook has not reported yet is held back, also if the watcher learns only now that there is one."""
    store = AssetStore()
    if known:
        webhook_reports(store, "earlier")
    async with watching(store=store, times=dataclasses.replace(SHORT, webhook=NEVER)) as watcher:
        webhook_reports(store, "another")
        ended(server)
        assert await quiet(watcher)


async def test_end_that_the_webhook_never_reports_is_reported(server: EmulatorServer) -> None:
    """The watcher waits for the webhook only for some time."""
    store = AssetStore()
    async with watching(store=store) as watcher:
        webhook_reports(store, "another")
        job_id = ended(server)
        assert ids(await burst(watcher)) == [job_id]


async def test_memory_is_bounded(server: EmulatorServer) -> None:
    """At most 500 ids and ends are stored, the newest ones."""
    from airflow_provider_piktid.jobs.end_memory import LIMIT, EndMemory
    from airflow_provider_piktid.models.v2 import Job

    store = AssetStore()
    memory = EndMemory(store)
    for number in range(LIMIT + 50):
        job = Job(job_id=f"job-{number}", status="completed", updated_at=str(number))
        memory.add([number], job)
    assert not memory.knows_notification(49)
    assert memory.knows_notification(LIMIT + 49)


def test_times_are_those_of_the_documentation() -> None:
    """The default intervals are those that the page on job events names."""
    assert WatchTimes() != SHORT
    assert (WatchTimes().running, WatchTimes().gallery, WatchTimes().stream) == (120, 60, 540)
