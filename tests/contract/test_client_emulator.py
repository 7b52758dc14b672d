# SPDX-License-Identifier: Apache-2.0
"""Every method of the client against the emulator, over a real socket."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from airflow_provider_piktid import exceptions as errors
from airflow_provider_piktid.client import (
    NO_RETRY,
    AsyncPiktidClient,
    ByteStream,
    PiktidClient,
    RetrySettings,
    verify_signature,
)
from airflow_provider_piktid.emulator import VARIANTS, EmulatorServer, Settings
from airflow_provider_piktid.models import JobResults
from airflow_provider_piktid.models.model_swap import ModelSwap

pytestmark = pytest.mark.anyio

TOKEN = "piktid-emulator"
SETTINGS = Settings(
    jobs_per_minute=0,
    active_jobs=0,
    job_seconds=0.05,
    post_process_seconds=0.05,
    preprocessing_seconds=0.05,
    transform=False,
)


@pytest.fixture(scope="module")
def shared() -> Iterator[EmulatorServer]:
    with EmulatorServer(SETTINGS) as server:
        yield server


@pytest.fixture
def emulator(shared: EmulatorServer) -> Iterator[EmulatorServer]:
    """The running emulator, with nothing in it and every switch at its default."""
    shared.state.clear()
    shared.faults.clear()
    yield shared
    for name, variant in VARIANTS.items():
        shared.state.variants.set(name, variant.default)


@pytest.fixture
async def client(emulator: EmulatorServer) -> AsyncIterator[AsyncPiktidClient]:
    async with connect(emulator) as found:
        yield found


def connect(emulator: EmulatorServer, **options: Any) -> AsyncPiktidClient:
    retry = options.pop("retry", RetrySettings(base=0.01))
    return AsyncPiktidClient(TOKEN, base_url=emulator.url, label="piktid_test", retry=retry, **options)


def picture(shade: int = 120) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (48, 64), (shade, 90, 60)).save(out, "JPEG")
    return out.getvalue()


async def read_all(stream: ByteStream) -> bytes:
    return b"".join([chunk async for chunk in stream.chunks()])


async def start_job(client: AsyncPiktidClient, images: int = 1, **options: Any) -> str:
    project = await client.ensure_project("spring")
    files = [
        (await client.upload_image(f"front {n}+é.jpg", picture(n), project_name="spring")).file_id
        for n in range(images)
    ]
    swap = ModelSwap(identity_code="PiktidSummer", project_id=project.project_id, **options)
    return (await client.create_job(swap, files)).job_id


async def ended(client: AsyncPiktidClient, job_id: str) -> JobResults:
    """Wait for a job: subscribe, request its status, and request it again at every event."""
    async with asyncio.timeout(60):
        while True:
            async for frame in client.stream_notifications(job_id=job_id):
                if frame.kind != "backfill" and await _status(client, job_id):
                    return await client.get_job_results(job_id)


async def _status(client: AsyncPiktidClient, job_id: str) -> bool:
    """Return whether the job has ended. A new job may not be found yet, and there is no event for that."""
    while True:
        try:
            return (await client.get_job(job_id)).done
        except errors.PiktidNotFoundError:
            await asyncio.sleep(0.02)


async def test_batch_from_upload_to_pictures_and_archive(client: AsyncPiktidClient) -> None:
    """Two images with two variations result in four outputs, by link and by ZIP."""
    job_id = await start_job(client, images=2, num_variations=2)
    results = await ended(client, job_id)
    assert results.status == "completed"
    assert sorted(image.key for image in results.results) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert results.credits_used == 4
    for image in results.results:
        assert image.download_url is not None
        assert (await client.fetch(image.download_url, read_all))[:2] == b"\xff\xd8"
    for link in (await client.create_download(job_id), await client.create_bulk_download([job_id])):
        content = await client.fetch(link.download_url, read_all)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert len(archive.namelist()) == 4
            assert archive.testzip() is None


async def test_identity_uploaded_listed_prepared_and_adopted(client: AsyncPiktidClient) -> None:
    """A second upload of the same name returns the same identity."""
    first = await client.upload_identity("ann.jpg", picture(), name="Ann", tag="t")
    second = await client.upload_identity("ann.jpg", picture(), name="Ann")
    assert first.identity_code == second.identity_code
    assert (await client.get_identity(first.identity_code)).name == "Ann"
    assert [item.identity_code async for item in client.iter_identities(search="ann", ownership="mine")] == [
        first.identity_code
    ]
    assert (await client.get_identity_status("PiktidPremium")).preprocessing_status == "completed"


async def test_listings_of_several_pages(client: AsyncPiktidClient) -> None:
    """A listing of several pages is read completely."""
    for number in range(103):
        await client.ensure_project(f"p{number}")
    names = [project.project_name async for project in client.iter_projects()]
    assert len(names) == len(set(names)) == 103


async def test_job_is_found_in_the_gallery_by_project(client: AsyncPiktidClient) -> None:
    """What a lost reply leaves behind can be found by project and image."""
    job_id = await start_job(client)
    await ended(client, job_id)
    project = await client.ensure_project("spring")
    jobs = [job async for job in client.iter_gallery_jobs(project_id=project.project_id)]
    assert [(job.job_id, job.status) for job in jobs] == [(job_id, "completed")]
    assert [job.job_id async for job in client.iter_gallery_jobs(project_id="other")] == []


async def test_regenerate_adds_a_version(client: AsyncPiktidClient) -> None:
    """The old version stays, the new one counts up."""
    job_id = await start_job(client)
    await ended(client, job_id)
    await client.regenerate_image(job_id, 0)
    versions = await client.get_image_versions(job_id, 0)
    assert sorted(image.version for image in versions) == [0, 1]


async def test_notifications_listed_streamed_and_deleted(client: AsyncPiktidClient) -> None:
    """Deleted notifications are no longer listed, and a second deletion does not raise."""
    job_id = await start_job(client)
    await ended(client, job_id)
    listed = await client.list_notifications(["batch_edit", "completed"], job_ids=[job_id])
    assert listed
    assert {item.job_id for item in listed} == {job_id}
    for item in listed * 2:
        assert item.id is not None
        await client.delete_notification(item.id)
    assert await client.list_notifications(["batch_edit", "completed"], job_ids=[job_id]) == []


async def test_post_processing_is_waited_for(client: AsyncPiktidClient) -> None:
    """The wait ends after post-processing has completed."""
    job_id = await start_job(client, post_process=True)
    await ended(client, job_id)
    job = await client.get_job(job_id)
    assert (job.should_post_process, job.post_processing_status) == (True, "completed")


async def test_webhook_set_tested_and_signed(client: AsyncPiktidClient) -> None:
    """Webhook deliveries have the documented signature."""
    received: asyncio.Queue[bytes] = asyncio.Queue()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        body = await reader.readexactly(int(lines[b"content-length"]))
        received.put_nowait(lines[b"x-webhook-signature"] + b" " + body)
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    with pytest.raises(errors.PiktidNotFoundError):
        await client.get_webhook()
    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    async with server, asyncio.timeout(60):
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        webhook = await client.set_webhook(url)
        await client.test_webhook()
        for _ in range(2):
            signature, body = (await received.get()).split(b" ", 1)
            assert webhook.secret is not None
            assert verify_signature(webhook.secret, body, signature.decode())
    assert (await client.get_webhook()).secret is None


async def test_credits_used_are_counted(client: AsyncPiktidClient) -> None:
    """Used credits are counted by period."""
    await ended(client, await start_job(client, images=2))
    used = await client.get_credits_used(resolution="day")
    assert used.total_credits == 2
    assert [period.job_count for period in used.summary] == [1]


def test_facade_runs_the_same_batch(emulator: EmulatorServer) -> None:
    """The sync client runs a batch with parallel uploads."""

    async def upload(client: AsyncPiktidClient) -> list[str]:
        tickets = await asyncio.gather(*(client.upload_image(f"{n}.jpg", picture(n)) for n in range(4)))
        return [ticket.file_id for ticket in tickets]

    with PiktidClient(TOKEN, base_url=emulator.url) as client:
        project = client.ensure_project("spring")
        images = client.run(upload)
        swap = ModelSwap(identity_code="PiktidSummer", project_id=project.project_id)
        job_id = client.create_job(swap, images).job_id
        assert client.run(ended, job_id).status == "completed"
        assert [job.job_id for job in client.iter_gallery_jobs()] == [job_id]


@pytest.mark.parametrize(
    "variants",
    [
        pytest.param({"events": "docs"}, id="1 event names of the reference"),
        pytest.param({"events": "seed"}, id="1 event names of the guide"),
        pytest.param({"job_id_key": "job_id"}, id="2 job_id only"),
        pytest.param({"job_id_key": "id_task"}, id="2 id_task only"),
        pytest.param({"result_url": "output"}, id="5 output only"),
        pytest.param({"result_url": "url"}, id="5 url only"),
        pytest.param({"post_process_default": "true"}, id="6 post-processing by default"),
        pytest.param({"upload_strict": "on"}, id="8 strict upload"),
        pytest.param({"echo_project": "on"}, id="8 project echoed"),
        pytest.param({"project_status": "200"}, id="10 project 200"),
        pytest.param({"project_conflict": "bare"}, id="10 bare conflict"),
        pytest.param({"job_status": "200"}, id="12 job 200"),
        pytest.param({"job_status": "201"}, id="12 job 201"),
        pytest.param({"fresh_404": "3"}, id="13 fresh job not found"),
        pytest.param({"results": "seed"}, id="14 results of the guide"),
        pytest.param({"results": "g1"}, id="14 results of the oldest reference"),
        pytest.param({"results": "seed", "result_url": "url"}, id="14 guide in full"),
        pytest.param({"draft_id": "image_result_id"}, id="16 image_result_id"),
        pytest.param({"draft_id": "both"}, id="16 both ids"),
        pytest.param({"engines": "seed"}, id="33 engines of the guide"),
        pytest.param({"post_process_event": "off"}, id="9 no event for post-processing"),
        pytest.param({"partial_rows": "finished"}, id="unfinished images left out"),
    ],
)
async def test_batch_ends_well_whatever_the_sources_mean(
    emulator: EmulatorServer, client: AsyncPiktidClient, variants: dict[str, str]
) -> None:
    """With every variant of the contract the batch succeeds without post-processing."""
    for name, value in variants.items():
        emulator.state.variants.set(name, value)
    await client.ensure_project("spring")
    job_id = await start_job(client, images=2)
    results = await ended(client, job_id)
    assert [image.key for image in results.results] == [(0, 0), (1, 0)]
    for image in results.results:
        assert image.download_url is not None
        assert await client.fetch(image.download_url, read_all)
    assert not (await client.get_job(job_id)).should_post_process


@pytest.mark.parametrize(
    "variants",
    [
        pytest.param({"identity_status": "200"}, id="11 identity 200"),
        pytest.param({"identity_conflict": "identity_code"}, id="11 identity_code"),
        pytest.param({"identity_conflict": "bare"}, id="11 bare conflict"),
    ],
)
async def test_taken_identity_is_adopted_whatever_the_conflict_says(
    emulator: EmulatorServer, client: AsyncPiktidClient, variants: dict[str, str]
) -> None:
    """The existing identity is returned with and without its code in the HTTP 409 response."""
    for name, value in variants.items():
        emulator.state.variants.set(name, value)
    first = await client.upload_identity("ann.jpg", picture(), name="Ann")
    assert (await client.upload_identity("a.jpg", picture(), name="Ann")).identity_code == first.identity_code


@pytest.mark.parametrize(
    ("variants", "kind"),
    [
        pytest.param({}, errors.PiktidRateLimitError, id="29 rate"),
        pytest.param({"retry_after": "seconds"}, errors.PiktidRateLimitError, id="Retry-After in seconds"),
        pytest.param({"retry_after": "date"}, errors.PiktidRateLimitError, id="Retry-After as a date"),
        pytest.param({"rate_429": "identity_cap"}, errors.PiktidQuotaError, id="29 maximum"),
    ],
)
async def test_refused_submission_has_its_own_error(variants: dict[str, str], kind: type[Exception]) -> None:
    """429 by rate with its waiting time, and the one that waiting does not resolve."""
    with EmulatorServer(replace(SETTINGS, jobs_per_minute=1, variants=variants)) as server:
        async with connect(server, retry=NO_RETRY) as client:
            await start_job(client)
            with pytest.raises(errors.PiktidAPIError) as caught:
                await start_job(client)
    assert type(caught.value) is kind
    if "retry_after" in variants:
        assert caught.value.retry_after is not None
        assert 0 < caught.value.retry_after <= 61


async def test_limit_of_active_jobs_is_its_own_error() -> None:
    """429 because the account's limit of active jobs is reached."""
    with EmulatorServer(replace(SETTINGS, active_jobs=1, job_seconds=60)) as server:
        async with connect(server) as client:
            await start_job(client)
            project_id = (await client.ensure_project("spring")).project_id
            image = (await client.upload_image("b.jpg", picture())).file_id
            swap = ModelSwap(identity_code="PiktidSummer", project_id=project_id)
            with pytest.raises(errors.PiktidActiveJobsError):
                await client.create_job(swap, [image], wait=False)


async def test_missing_credits_are_named() -> None:
    """402 names the credits needed; nothing starts."""
    with EmulatorServer(replace(SETTINGS, credits=1)) as server:
        async with connect(server) as client:
            with pytest.raises(errors.PiktidCreditsError) as caught:
                await start_job(client, images=2)
    assert caught.value.required_credits == 2


async def test_wrong_token_is_refused_at_once(emulator: EmulatorServer) -> None:
    """A wrong token raises an error with the connection's name."""
    async with AsyncPiktidClient("wrong", base_url=emulator.url, label="my_conn") as client:
        with pytest.raises(errors.PiktidAuthError, match="my_conn"):
            await client.ensure_project("spring")


async def test_expired_upload_link_is_renewed(emulator: EmulatorServer, client: AsyncPiktidClient) -> None:
    """An expired upload link is refused, and the upload requests a new one."""
    late = await client.request_upload("a.jpg")
    emulator.state.clock.advance(10_000)
    with pytest.raises(errors.PiktidLinkError):
        await client.put_upload(late, picture())
    emulator.faults.add("put_upload", "status", code=403, body="<Code>AccessDenied</Code>")
    ticket = await client.upload_image("a.jpg", picture())
    assert ticket.file_id != late.file_id
    assert emulator.faults.all_met()


@pytest.mark.parametrize(
    ("kind", "options", "jobs"),
    [
        pytest.param("drop", {}, 0, id="cut before"),
        pytest.param("drop_after", {}, 1, id="cut after"),
        pytest.param("html", {"done": True}, 1, id="HTML"),
        pytest.param("garbage_json", {"done": True}, 1, id="garbage"),
        pytest.param("truncate", {"done": True}, 1, id="answer cut off"),
        pytest.param("status", {"code": 500, "done": True}, 1, id="500 though started"),
        pytest.param("status", {"code": 503}, 0, id="503"),
        pytest.param("redirect", {}, 0, id="redirect"),
    ],
)
async def test_lost_submission_is_never_sent_twice(
    emulator: EmulatorServer, client: AsyncPiktidClient, kind: str, options: dict[str, Any], jobs: int
) -> None:
    """After a lost reply ``PiktidSubmissionError`` is raised and at most one job exists."""
    emulator.faults.add("model_swap", kind, **options)
    with pytest.raises(errors.PiktidSubmissionError):
        await start_job(client)
    assert len([job async for job in client.iter_gallery_jobs()]) == jobs
    assert emulator.faults.all_met()


@pytest.mark.parametrize(
    ("operation", "kind", "call"),
    [
        ("job_status", "drop", lambda client, job: client.get_job(job)),
        ("job_status", "truncate", lambda client, job: client.get_job(job)),
        ("job_results", "status", lambda client, job: client.get_job_results(job)),
        ("project", "drop_after", lambda client, job: client.ensure_project("autumn")),
        ("upload", "drop_after", lambda client, job: client.request_upload("x.jpg")),
        ("put_upload", "drop", lambda client, job: client.upload_image("x.jpg", picture())),
        (
            "identity_upload",
            "drop_after",
            lambda client, job: client.upload_identity("a", picture(), name="A"),
        ),
        ("download", "status", lambda client, job: client.create_download(job)),
        ("job_status", "extra_fields", lambda client, job: client.get_job(job)),
    ],
)
async def test_harmless_request_survives_one_fault(
    emulator: EmulatorServer,
    client: AsyncPiktidClient,
    operation: str,
    kind: str,
    call: Callable[[AsyncPiktidClient, str], Any],
) -> None:
    """A request that is safe to repeat is retried after a fault."""
    job_id = await start_job(client)
    await ended(client, job_id)
    emulator.faults.add(operation, kind)
    await call(client, job_id)
    assert emulator.faults.all_met()


@pytest.mark.parametrize("kind", ["html", "garbage_json", "wrong_types", "truncate_silent"])
async def test_answer_that_cannot_be_parsed_is_a_response_error(
    emulator: EmulatorServer, client: AsyncPiktidClient, kind: str
) -> None:
    """An invalid response raises ``PiktidResponseError``."""
    job_id = await start_job(client)
    emulator.faults.add("job_status", kind)
    with pytest.raises(errors.PiktidResponseError, match="piktid_test"):
        await client.get_job(job_id)


@pytest.mark.parametrize("kind", ["junk", "double", "reorder", "crlf", "null_data", "foreign"])
async def test_stream_with_invalid_frames_reports_the_end(
    emulator: EmulatorServer, client: AsyncPiktidClient, kind: str
) -> None:
    """Invalid, repeated, reordered and foreign frames do not hide the end of a job."""
    emulator.faults.add("events", kind, times=None)
    job_id = await start_job(client)
    async with asyncio.timeout(60):
        async for frame in client.stream_notifications():
            ours = frame.notification is not None and frame.notification.job_id == job_id
            if ours and (await client.get_job(job_id)).done:
                break


@pytest.mark.parametrize("kind", ["cut_after", "half"])
async def test_cut_stream_ends_or_breaks_and_can_be_read_again(
    emulator: EmulatorServer, client: AsyncPiktidClient, kind: str
) -> None:
    """The reader reconnects a broken stream, which then reports the end."""
    emulator.faults.add("events", kind, frames=1)
    job_id = await start_job(client)
    try:
        first = [frame async for frame in client.stream_notifications(job_id=job_id)]
    except errors.PiktidConnectionError:
        first = []
    assert len(first) <= 1
    assert (await ended(client, job_id)).status == "completed"


async def test_silent_stream_is_found_out(emulator: EmulatorServer, client: AsyncPiktidClient) -> None:
    """A silent stream raises ``PiktidConnectionError``."""
    emulator.faults.add("events", "silent")
    stream = client.stream_notifications(silence=0.05)
    with pytest.raises(errors.PiktidConnectionError):
        await anext(stream)


async def test_cut_download_is_fetched_again(emulator: EmulatorServer, client: AsyncPiktidClient) -> None:
    """A truncated image is complete at the second try; an expired link is an error."""
    results = await ended(client, await start_job(client))
    link = results.results[0].download_url
    assert link is not None
    whole = await client.fetch(link, read_all)
    emulator.faults.add("any", "truncate", keep=0.5)
    assert await client.fetch(link, read_all) == whole
    assert emulator.faults.all_met()
    emulator.state.clock.advance(10_000)
    with pytest.raises(errors.PiktidLinkError):
        await client.fetch(link, read_all)
