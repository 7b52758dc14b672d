# SPDX-License-Identifier: Apache-2.0
"""The upload operator: uploads, file names, concurrency and invalid input."""

from __future__ import annotations

import itertools
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_piktid.client import AsyncPiktidClient, PiktidClient
from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import (
    PiktidConnectionError,
    PiktidLinkError,
)
from airflow_provider_piktid.jobs.uploads import STATE_KEY, UPLOAD_KEPT_SECONDS
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator, unique_names
from tests.support.fixtures import Start
from tests.support.parallel import Parallel
from tests.support.service import connection_json, picture
from tests.support.tasks import TaskRun


def upload(images: Any, **arguments: Any) -> TaskRun:
    fixed: dict[str, Any] = {"task_id": "upload", "project_name": "spring"}
    return TaskRun(lambda: PiktidUploadImagesOperator(images=images, **(fixed | arguments)))


def shoot(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names or ("a.jpg", "b.png")):
        picture(folder / name, size=(16 + number, 16))
    return folder


def stored(server: EmulatorServer, file_id: str) -> bytes:
    blob = server.state.v2.files[file_id].blob
    assert blob is not None
    return blob.path.read_bytes()


def requests(server: EmulatorServer) -> dict[str, int]:
    return dict(server.state.counters.requests)


def test_upload_sends_every_image_unchanged(server: EmulatorServer, tmp_path: Path) -> None:
    """Every image is uploaded byte for byte to the project, and the result lists source and file id."""
    result = upload(str(shoot(tmp_path, "a.jpg", "sub/b.png"))).run()

    assert [image["relative"] for image in result["images"]] == ["a.jpg", "sub/b.png"]
    assert result["file_ids"] == [image["file_id"] for image in result["images"]]
    assert result["project_id"] == server.state.v2.project_named("spring").key  # type: ignore[union-attr]
    for image in result["images"]:
        assert stored(server, image["file_id"]) == (tmp_path / image["relative"]).read_bytes()
        assert image["source"] == f"file://{tmp_path}/{image['relative']}"


def test_upload_uses_an_existing_project(server: EmulatorServer, tmp_path: Path) -> None:
    """A second upload uses the existing project of that name."""
    shoot(tmp_path)

    first, second = upload(str(tmp_path)).run(), upload(str(tmp_path)).run()

    assert first["project_id"] == second["project_id"]
    assert set(first["file_ids"]).isdisjoint(second["file_ids"])


@pytest.fixture(params=["task state", "state_path", "record_beside"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Arguments of an upload of two images whose record is kept."""
    places: dict[str, dict[str, Any]] = {
        "task state": {},
        "state_path": {"state_path": str(tmp_path / "state")},
        "record_beside": {"record_beside": str(tmp_path / "batch.json")},
    }
    return {"images": str(shoot(tmp_path / "in")), **places[request.param]}


def test_upload_that_failed_halfway_is_resumed(server: EmulatorServer, kept: dict[str, Any]) -> None:
    """A try after one that failed sends only the images that had not arrived."""
    server.faults.add("put_upload", "status", code=413, after=1, times=None)
    task = upload(**kept, max_concurrency=1)
    with pytest.raises(AirflowFailException, match="413"):
        task.run()
    server.faults.clear()
    before = requests(server)["put_upload"]

    assert len(task.run()["file_ids"]) == 2
    assert requests(server)["put_upload"] == before + 1


def test_upload_that_runs_again_returns_the_same_file_ids(
    server: EmulatorServer, kept: dict[str, Any]
) -> None:
    """A task that runs again returns the same rows for unchanged files, and uploads nothing."""
    task = upload(**kept)
    first = task.run()
    sent = requests(server)["upload"]

    assert task.run() == first
    assert requests(server)["upload"] == sent


def test_upload_that_runs_again_uploads_changed_files(
    server: EmulatorServer, tmp_path: Path, kept: dict[str, Any]
) -> None:
    """A task that runs again uploads files whose content has changed, and only those."""
    task = upload(**kept)
    first = task.run()
    picture(tmp_path / "in" / "b.png", color="red")

    again = task.run()

    assert again["file_ids"][0] == first["file_ids"][0]
    assert again["file_ids"][1] != first["file_ids"][1]
    assert stored(server, again["file_ids"][1]) == (tmp_path / "in" / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("seconds", "arguments"),
    [
        pytest.param(UPLOAD_KEPT_SECONDS + 1, {}, id="older than PiktID keeps it"),
        pytest.param(0, {"project_name": "autumn"}, id="another project"),
    ],
)
def test_upload_that_runs_again_uploads_what_piktid_may_not_have(
    server: EmulatorServer, tmp_path: Path, seconds: float, arguments: dict[str, Any]
) -> None:
    """Files that PiktID may have removed, or has in another project, are uploaded again."""
    shoot(tmp_path)
    task = upload(str(tmp_path))
    first = task.run()
    assert task.store is not None
    record = task.store.get(STATE_KEY)
    task.store.set(STATE_KEY, record | {"uploaded_at": record["uploaded_at"] - seconds})
    other = upload(str(tmp_path), **arguments)
    other.store = task.store

    assert set(other.run()["file_ids"]).isdisjoint(first["file_ids"])


def test_upload_whose_record_cannot_be_written_succeeds(server: EmulatorServer, tmp_path: Path) -> None:
    """If the record cannot be written, the upload succeeds, as nothing was paid for; a rerun gets new file ids."""
    task = upload(str(shoot(tmp_path)))
    assert task.store is not None
    task.store.fail_writes = True

    first, second = task.run(), task.run()

    assert len(first["file_ids"]) == 2
    assert set(first["file_ids"]).isdisjoint(second["file_ids"])


def test_upload_renames_images_of_equal_names(server: EmulatorServer, tmp_path: Path) -> None:
    """Images of equal names in different folders are uploaded under distinct names."""
    result = upload(str(shoot(tmp_path, "red/a.jpg", "blue/a.jpg", "c.jpg"))).run()

    assert [image["filename"] for image in result["images"]] == ["blue__a.jpg", "c.jpg", "red__a.jpg"]


def test_upload_result_is_json_without_links(server: EmulatorServer, tmp_path: Path) -> None:
    """The result can be serialized as JSON and contains no presigned links."""
    result = upload(str(shoot(tmp_path))).run()

    assert "http" not in json.dumps(result)
    assert "Signature" not in json.dumps(result)


def test_upload_has_multiple_outputs() -> None:
    """``multiple_outputs`` is on, so that ``upload.output["file_ids"]`` works."""
    assert PiktidUploadImagesOperator(task_id="u", images="x", project_name="p").multiple_outputs is True


@pytest.mark.parametrize(
    ("extra", "arguments", "limit"),
    [
        ({}, {"max_concurrency": 1}, 1),
        ({}, {"max_concurrency": 3}, 3),
        ({"max_concurrency": 2}, {}, 2),
    ],
    ids=["1", "3", "of the connection"],
)
def test_upload_respects_max_concurrency(
    start: Start,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    extra: dict[str, Any],
    arguments: dict[str, Any],
    limit: int,
) -> None:
    """The number of parallel uploads reaches ``max_concurrency``, or that of the connection, and does not exceed it."""
    start(latency=0.02, extra=extra)
    shoot(tmp_path, *(f"{n}.jpg" for n in range(12)))
    puts = Parallel(limit)
    put = AsyncPiktidClient.put_upload

    async def counted(client: AsyncPiktidClient, *arguments: Any) -> None:
        await puts.begin()
        try:
            await put(client, *arguments)
        finally:
            puts.end()

    monkeypatch.setattr(AsyncPiktidClient, "put_upload", counted)

    upload(str(tmp_path), **arguments).run()

    assert (puts.begun, puts.most) == (12, limit)


@pytest.mark.parametrize("kind", ["drop", "status"])
def test_upload_retries_a_failed_transfer(
    server: EmulatorServer, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken connection or HTTP 503 during an upload is retried."""
    server.faults.add("put_upload", kind)
    result = upload(str(shoot(tmp_path))).run()

    assert all(stored(server, file_id) for file_id in result["file_ids"])
    assert server.faults.all_met()


def test_upload_renews_an_expired_link(server: EmulatorServer, tmp_path: Path) -> None:
    """If a presigned link has expired, a new one is requested."""
    body = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    server.faults.add("put_upload", "status", code=403, body=body)

    result = upload(str(shoot(tmp_path, "a.jpg"))).run()

    assert stored(server, result["file_ids"][0])
    assert requests(server)["upload"] == 2


def test_upload_error_contains_no_links(
    server: EmulatorServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    read_log: Callable[[], str],
) -> None:
    """If every link is refused, neither the error nor a log contains a signed link or the token."""
    server.faults.add("put_upload", "status", code=403, times=None)
    caplog.set_level(logging.DEBUG)

    with pytest.raises(PiktidLinkError) as caught:
        upload(str(shoot(tmp_path, "a.jpg"))).run()

    told = str(caught.value) + read_log()
    assert "Signature" not in told
    assert "piktid-emulator" not in told


# -- invalid input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda path: None, "does not exist", id="missing folder"),
        pytest.param(lambda path: path.mkdir(), "No image matches", id="empty folder"),
        pytest.param(lambda path: picture(path / "a.webp"), "No image matches", id="unsupported format"),
        pytest.param(
            lambda path: (shoot(path) / "t.jpg").write_text("hi"), "t.jpg: file content is not", id="text"
        ),
        pytest.param(lambda path: (shoot(path) / "e.jpg").touch(), "e.jpg is empty", id="empty file"),
        pytest.param(
            lambda path: picture(path / "w.webp").rename(path / "w.jpg"), "WEBP image", id="webp as jpg"
        ),
    ],
)
def test_upload_of_invalid_input_sends_no_request(
    server: EmulatorServer, tmp_path: Path, make: Any, words: str
) -> None:
    """Invalid input fails the task before the first request."""
    make(tmp_path / "in")

    with pytest.raises(AirflowFailException, match=words):
        upload(str(tmp_path / "in")).run()

    assert requests(server) == {}


def test_upload_of_an_empty_list_fails(server: EmulatorServer) -> None:
    """An empty list of images fails the task without a retry."""
    with pytest.raises(AirflowFailException, match="list of images is empty"):
        upload([]).run()


@pytest.mark.parametrize("name", ["", "  ", "x" * 129], ids=["empty", "blank", "too long"])
def test_upload_with_an_invalid_project_name_fails(server: EmulatorServer, tmp_path: Path, name: str) -> None:
    """An empty, blank or too long ``project_name`` fails the task before the first request."""
    with pytest.raises(AirflowFailException, match="project_name must have 1 to 128"):
        upload(str(shoot(tmp_path)), project_name=name).run()

    assert requests(server) == {}


@pytest.mark.parametrize("limit", [1, "1"], ids=["number", "rendered template"])
def test_upload_over_max_images_sends_no_request(server: EmulatorServer, tmp_path: Path, limit: Any) -> None:
    """More images than ``max_images`` fail the task before the first request."""
    with pytest.raises(AirflowFailException, match="2 images found, but max_images is 1"):
        upload(str(shoot(tmp_path)), max_images=limit).run()

    assert requests(server) == {}


def test_upload_with_a_wrong_token_fails_permanently(
    server: EmulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong token fails the task without a retry; the one-line error does not contain it."""
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", connection_json(server.url, password="wrong-token"))

    with pytest.raises(AirflowFailException, match=r"^piktid_default: ") as caught:
        upload(str(shoot(tmp_path))).run()

    assert "\n" not in str(caught.value)
    assert "wrong-token" not in str(caught.value)


def test_upload_to_an_unreachable_host_can_be_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unreachable host raises an error that Airflow retries and that names the host."""

    async def at_once(seconds: float) -> None:
        return None

    patient = dict(PiktidClient.__init__.__kwdefaults__ or {})
    monkeypatch.setattr(PiktidClient.__init__, "__kwdefaults__", patient | {"sleep": at_once})
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", connection_json("http://127.0.0.1:9"))

    with pytest.raises(PiktidConnectionError, match=r"127\.0\.0\.1"):
        upload(str(shoot(tmp_path))).run()


# -- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("relatives", "names"),
    [
        (["a.jpg", "b.jpg"], ["a.jpg", "b.jpg"]),
        (["x/a.jpg", "y/a.jpg"], ["x__a.jpg", "y__a.jpg"]),
        (["x/a.jpg", "y/A.JPG"], ["x__a.jpg", "y__A.JPG"]),
        (["x/a.jpg", "x__a.jpg", "y/a.jpg"], ["x__a.jpg", "1_x__a.jpg", "y__a.jpg"]),
        (["1_x__a.jpg", "x__a.jpg", "x/a.jpg", "y/a.jpg"], None),
    ],
    ids=["different", "folders", "case", "collision", "collision twice"],
)
def test_unique_names(relatives: list[str], names: list[str] | None) -> None:
    """Names are unique, ignoring case, in any order of the files."""
    if names is not None:
        assert unique_names(relatives) == names
    for order in itertools.permutations(relatives):
        assert len({name.lower() for name in unique_names(order)}) == len(relatives)


def test_name_that_is_not_utf8_can_be_uploaded(server: EmulatorServer, tmp_path: Path) -> None:
    """A file whose name is not valid UTF-8 is uploaded."""
    shoot(tmp_path, "a.jpg")
    os.rename(tmp_path / "a.jpg", os.fsencode(str(tmp_path)) + b"/\xff.jpg")

    result = upload(str(tmp_path)).run()

    assert stored(server, result["file_ids"][0])
    json.dumps(result)
