# SPDX-License-Identifier: Apache-2.0
"""Upload from and download to a bucket, against a local S3 server."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_piktid.common.records import ObjectRecords, choose_store
from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import PiktidDownloadError
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.walk import sizes_below
from airflow_provider_piktid.jobs.submission import STATE_KEY, JobRecord, plan
from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator
from tests.support.batch import JPEG, jobs, swap_run
from tests.support.tasks import TaskInstance, TaskRun

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

SECRET = "aws-very-secret"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The URL of a local S3 server."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """A new bucket for each test, with the connection ``s3t``."""
    connection = {
        "conn_type": "aws",
        "login": "key",
        "password": SECRET,
        "extra": {"endpoint_url": endpoint, "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_S3T", json.dumps(connection))
    name = "b" + str(abs(hash(request.node.name)))
    store = storage.locate(f"s3://s3t@{name}/")
    store.fs.mkdir(name)
    yield f"s3://s3t@{name}"
    store.fs.rm(name, recursive=True)


def put(bucket: str, *names: str, content: bytes = JPEG) -> None:
    for name in names:
        storage.write_bytes(storage.locate(f"{bucket}/{name}"), content)


def names(folder: str) -> list[str]:
    return sorted(sizes_below(storage.locate(folder)))


def upload(images: Any) -> dict[str, Any]:
    operator = PiktidUploadImagesOperator(task_id="upload", images=images, project_name="spring")
    result: dict[str, Any] = TaskRun(lambda: operator).run()
    return result


def download(job_ids: list[str], output_path: str, **arguments: Any) -> dict[str, Any]:
    operator = PiktidDownloadOperator(
        task_id="download", job_ids=job_ids, output_path=output_path, **arguments
    )
    result: dict[str, Any] = TaskRun(lambda: operator).run()
    return result


@pytest.mark.parametrize("given", ["in", "in/", "in/**/*.jpg", ["in/red", "in/blue"]], ids=str)
def test_batch_from_bucket_to_bucket(
    server: EmulatorServer,
    bucket: str,
    given: str | list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A batch reads a prefix, glob or list, mirrors its folders, and leaves no local files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    put(bucket, "in/red/a.jpg", "in/blue/a.jpg", "in/blue/b 100%#.jpg", "in/notes.txt", "in2/x.jpg")
    images = f"{bucket}/{given}" if isinstance(given, str) else [f"{bucket}/{one}" for one in given]

    uploaded = upload(images)
    job_ids = swap_run(server, uploaded["file_ids"], project_id=uploaded["project_id"]).run()
    result = download(job_ids, f"{bucket}/out/today", images=uploaded["images"])

    found = names(f"{bucket}/out/today")
    assert found[1:] == ["blue/a_0_v0.jpg", "blue/b 100%#_0_v0.jpg", "red/a_0_v0.jpg"]
    assert found[0].startswith("_piktid/manifest-")
    assert uploaded["images"][0]["source"] == f"{bucket}/in/blue/a.jpg"
    rows = storage.read_json(storage.locate(result["manifest"]))
    assert [row["status"] for row in rows or []] == ["done"] * 3
    assert list(tmp_path.iterdir()) == []


def test_second_download_to_a_bucket_transfers_nothing(server: EmulatorServer, bucket: str) -> None:
    """A rerun on another worker finds the manifest and the files in the bucket and transfers nothing."""
    job_ids = swap_run(server, 2).run()
    first = download(job_ids, f"{bucket}/out")
    fetched = server.state.counters.requests["result_image"]

    assert download(job_ids, f"{bucket}/out") == first
    assert server.state.counters.requests["result_image"] == fetched


def test_archive_is_unpacked_into_a_bucket(server: EmulatorServer, bucket: str) -> None:
    """With ``archive=True`` the images of the ZIP are written to the bucket."""
    job_ids = swap_run(server, 2).run()

    assert download(job_ids, f"{bucket}/out", archive=True)["files"] == 2
    assert len(names(f"{bucket}/out")) == 3


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ("missing/", "does not exist"),
        ("in/*.png", "No image matches"),
        ("in/text.jpg", "not a supported image format"),
    ],
)
def test_invalid_input_in_a_bucket_fails_before_any_request(
    server: EmulatorServer, bucket: str, images: str, words: str
) -> None:
    """Invalid input in a bucket fails before any request, and the error contains no secret."""
    put(bucket, "in/text.jpg", content=b"hello")

    with pytest.raises(AirflowFailException, match=words) as caught:
        upload(f"{bucket}/{images}")

    assert SECRET not in str(caught.value)
    assert not server.state.counters.requests


def test_download_to_a_missing_bucket_fails_before_any_transfer(server: EmulatorServer, bucket: str) -> None:
    """A download to a bucket that does not exist fails before any transfer, and the error names the path."""
    job_ids = swap_run(server, 1).run()

    with pytest.raises(PiktidDownloadError, match="s3://s3t@no-such-bucket/out cannot be written"):
        download(job_ids, "s3://s3t@no-such-bucket/out")
    assert server.state.counters.requests["result_image"] == 0


def test_job_record_is_stored_in_a_bucket(server: EmulatorServer, bucket: str) -> None:
    """With ``state_path`` in a bucket, a retry without a task state store re-attaches to the jobs."""
    task = swap_run(server, 1, state_path=f"{bucket}/state")
    task.store = None

    assert task.run() == task.run()
    assert len(jobs(server)) == 1
    assert len(names(f"{bucket}/state")) == 1


def test_record_is_read_back_from_a_bucket(bucket: str) -> None:
    """A record saved by one store object is loaded by another."""
    context = {"ti": TaskInstance()}
    store = choose_store(context, f"{bucket}/state/", STATE_KEY, JobRecord.from_json)
    assert isinstance(store, ObjectRecords)
    assert store.load() is None

    store.save(plan([2, 1], fingerprint="f", now=1.0))

    assert choose_store(context, f"{bucket}/state", STATE_KEY, JobRecord.from_json).load() == plan(
        [2, 1], fingerprint="f", now=1.0
    )
