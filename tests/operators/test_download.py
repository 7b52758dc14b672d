# SPDX-License-Identifier: Apache-2.0
"""The download operator: every output under a name of its own, whole or not there, fetched once."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_piktid.client import AsyncPiktidClient, ByteStream
from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import PiktidDownloadError, PiktidNotFoundError
from airflow_provider_piktid.files.formats import sniff
from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from tests.support.fixtures import Start
from tests.support.service import connection_json, picture
from tests.support.shoot import Shoot, files, manifest


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


# -- names and folders ------------------------------------------------------------------------------------------


def test_download_mirrors_folders_and_keeps_variations_apart(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """Two pictures of one name, two variations of each: four files in two folders."""
    shoot = Shoot(server, tmp_path / "in", "red/a.jpg", "blue/a.jpg", num_variations=2)

    shoot.download(out)

    assert files(out) == ["blue/a_0_v0.jpg", "blue/a_1_v0.jpg", "red/a_0_v0.jpg", "red/a_1_v0.jpg"]
    for folder in ("red", "blue"):
        assert (out / folder / "a_0_v0.jpg").read_bytes() == (tmp_path / "in" / folder / "a.jpg").read_bytes()


def test_download_without_the_upload_list_gives_each_job_a_folder(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """The jobs alone are enough."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    second = shoot.swap()

    shoot.download(out, images=None, job_ids=[shoot.job_id, second])

    assert files(out) == sorted([f"{shoot.job_id}/a_0_v0.jpg", f"{second}/a_0_v0.jpg"])


def test_download_of_two_jobs_of_the_same_pictures_keeps_both(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """Two identities on one shoot do not overwrite each other."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")

    result = shoot.download(out, job_ids=[shoot.job_id, shoot.swap()])

    assert result["files"] == len(files(out)) == 2


def test_download_names_files_by_their_content(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """The server copies the ending of the input, which may lie; names stay apart all the same."""
    folder = tmp_path / "in"
    picture(folder / "a.png").rename(folder / "a.jpg")
    picture(folder / "a.png", size=(5, 5))
    picture(folder / "b.jpg").rename(folder / "b.png")
    shoot = Shoot(server, folder)

    shoot.download(out)

    assert sorted(Path(name).suffix for name in files(out)) == [".jpg", ".png", ".png"]
    assert {sniff((out / name).read_bytes()) for name in files(out) if name.endswith("png")} == {"png"}
    assert {row["file"] for row in manifest(out)} == set(files(out))


@pytest.mark.parametrize(
    "name", ["../../evil.jpg", "/etc/evil.jpg", "..\\evil.jpg", "a\0b.jpg", "x" * 5000, "", "_piktid", ".."]
)
@pytest.mark.parametrize("archive", [False, True], ids=["singly", "archive"])
def test_hostile_names_stay_in_the_folder(
    server: EmulatorServer, tmp_path: Path, out: Path, name: str, archive: bool
) -> None:
    """Whatever the server calls an output, it lies below the output folder, and all are there."""
    server.faults.add("job", "hostile_filename", original_filename=name, download_filename=name or None)
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg")

    result = shoot.download(out, images=None, archive=archive)

    assert result["files"] == 2
    assert len(files(out)) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


# -- what it gives ----------------------------------------------------------------------------------------------


def test_download_counts_and_describes_what_it_wrote(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """The next task gets counts and URIs; the manifest says where each file comes from."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg")

    result = shoot.download(out)

    size = sum((out / name).stat().st_size for name in files(out))
    assert (result["files"], result["failed"], result["bytes"]) == (2, 0, size)
    assert result["output_path"] == f"file://{out}"
    assert Path(result["manifest"].removeprefix("file://")).is_file()
    row = manifest(out)[0]
    assert (row["source"], row["file"], row["status"]) == (
        f"file://{tmp_path}/in/a.jpg",
        "a_0_v0.jpg",
        "done",
    )
    assert (row["job_id"], row["identity_code"], row["job_credits_used"]) == (shoot.job_id, "PiktidSummer", 2)


def test_failed_outputs_are_told_and_the_others_fetched(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """A job that failed in part is welcome: what it gave is kept."""
    server.faults.add("job", "fail_image", indices=[1], message="no face")
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")

    result = shoot.download(out)

    assert (result["files"], result["failed"]) == (2, 1)
    assert [(row["status"], row["error"], row["file"]) for row in manifest(out)][1] == (
        "failed",
        "no face",
        None,
    )


def test_links_and_tokens_are_nowhere(
    server: EmulatorServer, tmp_path: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither result, nor manifest, nor any log, nor an error holds a signed link or the token."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg")
    caplog.set_level(logging.DEBUG)
    server.faults.add("result_image", "status", code=403, times=None, path=shoot.link_part(0))

    with pytest.raises(PiktidDownloadError) as caught:
        shoot.download(out)

    texts = str(caught.value) + "".join(caught.value.failed) + caplog.text + json.dumps(manifest(out))
    assert "Signature" not in texts
    assert "piktid-emulator" not in texts


# -- again ------------------------------------------------------------------------------------------------------


def test_download_again_fetches_nothing(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """A cleared task costs no transfers."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg")
    first = shoot.download(out)
    before = shoot.fetched()

    assert shoot.download(out) == first
    assert shoot.fetched() == before


@pytest.mark.parametrize("state", ["pending", "done"], ids=["killed in the middle", "file lost later"])
def test_download_again_fetches_only_what_is_missing(
    server: EmulatorServer, tmp_path: Path, out: Path, state: str
) -> None:
    """The manifest is written before the first file, and a file that has its name is whole."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")
    result = shoot.download(out)
    rows = [
        row | ({"status": "pending", "size": None, "sha256": None} if state == "pending" else {})
        for row in manifest(out)
    ]
    Path(result["manifest"].removeprefix("file://")).write_text(json.dumps(rows))
    (out / "b_0_v0.jpg").unlink()
    before = shoot.fetched()

    assert shoot.download(out) == result
    assert shoot.fetched() == before + 1
    assert all(row["sha256"] for row in manifest(out))


def test_download_after_a_failure_fetches_only_what_is_missing(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """What arrived whole is kept when others do not."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")
    broken = server.faults.add("result_image", "truncate_silent", times=None, path=shoot.link_part(1))
    with pytest.raises(PiktidDownloadError, match="1 of 3"):
        shoot.download(out)
    server.faults.remove(broken)
    before = shoot.fetched()

    assert shoot.download(out)["files"] == 3
    assert shoot.fetched() == before + 1


def test_download_replaces_a_file_that_changed(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """A file of another size is not the one that was fetched."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    shoot.download(out)
    whole = (out / "a_0_v0.jpg").read_bytes()
    (out / "a_0_v0.jpg").write_bytes(whole[:50])

    shoot.download(out)

    assert (out / "a_0_v0.jpg").read_bytes() == whole


def test_download_replaces_a_file_of_another_job(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """Yesterday's result of the same picture does not pass for today's, and the manifest says so."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    shoot.download(out)
    before = shoot.fetched()
    (out / "a_0_v0.jpg").write_bytes(b"\xff\xd8\xff yesterday \xff\xd9")

    shoot.download(out / "..", output_path=str(out), job_ids=[shoot.swap()])

    assert (out / "a_0_v0.jpg").read_bytes() == (tmp_path / "in" / "a.jpg").read_bytes()
    assert shoot.fetched() == before + 1
    rows = [row for path in (out / "_piktid").iterdir() for row in json.loads(path.read_bytes())]
    assert [row["replaces"] for row in rows if row["job_id"] != shoot.job_id] == [True]


def test_overwrite_fetches_again(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """On request everything is fetched anew."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg")
    shoot.download(out)
    before = shoot.fetched()

    shoot.download(out, overwrite=True)

    assert shoot.fetched() == before + 2


def test_half_files_of_a_killed_run_are_removed(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """What a worker left when it was killed goes with the next run; other runs' files stay."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    result = shoot.download(out)
    mark = Path(result["manifest"]).stem
    for name in (f".{mark}.1234.part", f"_piktid/.{mark}.json.99.part", ".manifest-other.1.part"):
        (out / name).write_bytes(b"half")

    shoot.download(out)

    assert files(out) == [".manifest-other.1.part", "a_0_v0.jpg"]


# -- bad input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job_ids", [[], None, [[], None]], ids=["empty", "none", "mapped and empty"])
def test_download_of_no_jobs_fails(server: EmulatorServer, out: Path, job_ids: Any) -> None:
    """Nothing to do is a mistake in the DAG."""
    with pytest.raises(AirflowFailException, match="job_ids is empty"):
        PiktidDownloadOperator(task_id="d", job_ids=job_ids, output_path=str(out)).execute({})


def test_download_takes_the_lists_of_a_mapped_swap(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """A mapped task gives a list for each of its instances, None for a skipped one."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    nested: Any = [[shoot.job_id], None, [shoot.swap(), shoot.job_id]]

    assert shoot.download(out, job_ids=nested)["files"] == 2


def test_download_of_an_unknown_job_fails_and_writes_nothing(server: EmulatorServer, out: Path) -> None:
    """No manifest of nothing is left."""
    with pytest.raises(PiktidNotFoundError, match="piktid_default"):
        PiktidDownloadOperator(task_id="d", job_ids=["job-x"], output_path=str(out)).execute({})

    assert not out.exists() or list(out.rglob("*")) == []


def test_unwritable_output_is_told_before_anything_is_fetched(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """The message names the path; results stay at PiktID."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    out.write_text("a file in the way")
    before = server.state.counters.requests["job_results"]

    with pytest.raises(PiktidDownloadError, match=r"output_path .*out cannot be written"):
        shoot.download(out)

    assert server.state.counters.requests["job_results"] == before
    assert out.read_text() == "a file in the way"


def test_output_that_cannot_be_written_later_is_told(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """A folder in the way of one file costs that file only."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg")
    (out / "a_0_v0.jpg" / "full").mkdir(parents=True)

    with pytest.raises(
        PiktidDownloadError, match=r"a_0_v0\.jpg: it could not be written \(IsADirectoryError\)"
    ):
        shoot.download(out)

    assert files(out) == ["b_0_v0.jpg"]


def test_manifest_that_is_none_is_not_overwritten(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """Whatever lies there may be of use to somebody."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    target = Path(shoot.download(out)["manifest"].removeprefix("file://"))
    target.write_text('[{"colour": "red"}]')

    with pytest.raises(PiktidDownloadError, match="is not a manifest"):
        shoot.download(out)

    assert target.read_text() == '[{"colour": "red"}]'


def test_download_with_a_wrong_token_fails_at_once(
    server: EmulatorServer, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line with the connection id, no retry."""
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", connection_json(server.url, password="wrong-token"))

    with pytest.raises(AirflowFailException, match=r"^piktid_default: "):
        PiktidDownloadOperator(task_id="d", job_ids=["j"], output_path=str(out)).execute({})


def test_oldest_answers_can_be_downloaded(start: Start, tmp_path: Path, out: Path) -> None:
    """Results of four fields, with the link under its old name, are enough."""
    server = start(variants={"results": "seed", "result_url": "url"})
    shoot = Shoot(server, tmp_path / "in", "red/a.jpg", "blue/b.jpg")

    shoot.download(out)

    assert files(out) == ["blue/b_0_v0.jpg", "red/a_0_v0.jpg"]


# -- pace -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3])
def test_download_keeps_to_its_concurrency(
    start: Start, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Exactly as many files arrive at once as asked for, counted from the request to the last byte."""
    shoot = Shoot(start(latency=0.02), tmp_path / "in", "a.jpg", "b.jpg", "c.jpg", num_variations=4)
    open_now = 0
    seen: list[int] = []
    fetch = AsyncPiktidClient.fetch

    class Ending:
        def __init__(self, stream: ByteStream) -> None:
            self._stream = stream

        async def chunks(self) -> AsyncIterator[bytes]:
            nonlocal open_now
            async for chunk in self._stream.chunks():
                yield chunk
            open_now -= 1

    async def counted(client: AsyncPiktidClient, url: str, consume: Any) -> Any:
        nonlocal open_now
        open_now += 1
        seen.append(open_now)
        return await fetch(client, url, lambda stream: consume(Ending(stream)))

    monkeypatch.setattr(AsyncPiktidClient, "fetch", counted)
    shoot.download(out, max_concurrency=limit)

    assert len(seen) == 12
    assert max(seen) == limit
