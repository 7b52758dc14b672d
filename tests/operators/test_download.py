# SPDX-License-Identifier: Apache-2.0
"""The download operator: file names, reruns, invalid input and concurrency."""

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
from tests.support.parallel import Parallel
from tests.support.service import connection_json, picture
from tests.support.shoot import Shoot, files, manifest


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


# -- names and folders ------------------------------------------------------------------------------------------


def test_download_mirrors_folders_and_keeps_variations_apart(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """Images of the same name in two folders, with two variations each, become four files in two folders."""
    shoot = Shoot(server, tmp_path / "in", "red/a.jpg", "blue/a.jpg", num_variations=2)

    shoot.download(out)

    assert files(out) == ["blue/a_0_v0.jpg", "blue/a_1_v0.jpg", "red/a_0_v0.jpg", "red/a_1_v0.jpg"]
    for folder in ("red", "blue"):
        assert (out / folder / "a_0_v0.jpg").read_bytes() == (tmp_path / "in" / folder / "a.jpg").read_bytes()


def test_download_without_images_uses_a_folder_for_each_job(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """Without ``images`` the outputs of each job are written to a folder named after the job."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    second = shoot.swap()

    shoot.download(out, images=None, job_ids=[shoot.job_id, second])

    assert files(out) == sorted([f"{shoot.job_id}/a_0_v0.jpg", f"{second}/a_0_v0.jpg"])


def test_download_of_two_jobs_of_the_same_images_keeps_both(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """Two jobs of the same images do not overwrite each other's outputs."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")

    result = shoot.download(out, job_ids=[shoot.job_id, shoot.swap()])

    assert result["files"] == len(files(out)) == 2


def test_file_extension_follows_the_content(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """The file extension follows the content, and every output keeps a distinct name."""
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
def test_hostile_names_stay_below_output_path(
    server: EmulatorServer, tmp_path: Path, out: Path, name: str, archive: bool
) -> None:
    """Outputs with hostile names are all written, and none of them outside the output folder."""
    server.faults.add("job", "hostile_filename", original_filename=name, download_filename=name or None)
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg")

    result = shoot.download(out, images=None, archive=archive)

    assert result["files"] == 2
    assert len(files(out)) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


# -- the result -------------------------------------------------------------------------------------------------


def test_download_returns_counts_and_writes_a_manifest(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """The operator returns counts and URIs, and the manifest names the source of each file."""
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


def test_failed_outputs_are_reported_and_the_others_downloaded(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """A partly failed job is downloaded, and its failed output is listed in the manifest with the reason."""
    server.faults.add("job", "fail_image", indices=[1], message="no face")
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")

    result = shoot.download(out)

    assert (result["files"], result["failed"]) == (2, 1)
    assert [(row["status"], row["error"], row["file"]) for row in manifest(out)][1] == (
        "failed",
        "no face",
        None,
    )


def test_links_and_tokens_are_not_exposed(
    server: EmulatorServer, tmp_path: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The error, the logs and the manifest contain neither a signed link nor the token."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg")
    caplog.set_level(logging.DEBUG)
    server.faults.add("result_image", "status", code=403, times=None, path=shoot.link_part(0))

    with pytest.raises(PiktidDownloadError) as caught:
        shoot.download(out)

    texts = str(caught.value) + "".join(caught.value.failed) + caplog.text + json.dumps(manifest(out))
    assert "Signature" not in texts
    assert "piktid-emulator" not in texts


# -- reruns -----------------------------------------------------------------------------------------------------


def test_second_download_transfers_nothing(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """A second download of the same jobs returns the same result and transfers nothing."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg")
    first = shoot.download(out)
    before = shoot.fetched()

    assert shoot.download(out) == first
    assert shoot.fetched() == before


def test_second_download_transfers_only_missing_files(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """A rerun transfers only the file that was deleted."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")
    result = shoot.download(out)
    (out / "b_0_v0.jpg").unlink()
    before = shoot.fetched()

    assert shoot.download(out) == result
    assert shoot.fetched() == before + 1
    assert all(row["sha256"] for row in manifest(out))


def forget(result: dict[str, Any]) -> None:
    """Set the rows of a manifest to what they are when a worker is killed before it writes them again."""
    path = Path(result["manifest"].removeprefix("file://"))
    unknown = {"status": "pending", "size": None, "sha256": None}
    path.write_text(json.dumps([row | unknown for row in json.loads(path.read_bytes())]))


@pytest.mark.parametrize("left", [1.0, 0.5, 0.0], ids=["whole", "half", "empty"])
def test_download_after_a_kill_completes_its_own_file(
    server: EmulatorServer, tmp_path: Path, out: Path, left: float
) -> None:
    """A file that a killed task left, whole or in part, is compared with the output and completed."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    result = shoot.download(out)
    forget(result)
    whole = (out / "a_0_v0.jpg").read_bytes()
    (out / "a_0_v0.jpg").write_bytes(whole[: int(left * len(whole))])

    assert shoot.download(out) == result
    assert files(out) == ["a_0_v0.jpg"]
    assert (out / "a_0_v0.jpg").read_bytes() == whole


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "complete"])
def test_foreign_file_is_not_taken_for_an_output(
    server: EmulatorServer, tmp_path: Path, out: Path, killed: bool
) -> None:
    """A file of the same name and size, but other content, is kept, and the output gets another name."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    result = shoot.download(out)
    whole = (out / "a_0_v0.jpg").read_bytes()
    foreign = b"\xff\xd8\xff" + bytes(len(whole) - 5) + b"\xff\xd9"
    (out / "a_0_v0.jpg").write_bytes(foreign)
    if killed:
        forget(result)

    for _ in range(2):
        assert shoot.download(out)["files"] == 1
        (row,) = manifest(out)
        assert (out / "a_0_v0.jpg").read_bytes() == foreign
        assert (out / row["file"]).read_bytes() == whole
        assert (row["instead_of"], len(files(out))) == ("a_0_v0.jpg", 2)


def test_retry_after_a_failed_transfer_keeps_complete_files(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """After a failed transfer, a retry transfers only the file that failed."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")
    broken = server.faults.add("result_image", "truncate_silent", times=None, path=shoot.link_part(1))
    with pytest.raises(PiktidDownloadError, match="1 of 3"):
        shoot.download(out)
    server.faults.remove(broken)
    before = shoot.fetched()

    assert shoot.download(out)["files"] == 3
    assert shoot.fetched() == before + 1


def test_download_replaces_a_file_that_changed(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """A file whose size differs from the manifest is downloaded again."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    shoot.download(out)
    whole = (out / "a_0_v0.jpg").read_bytes()
    (out / "a_0_v0.jpg").write_bytes(whole[:50])

    shoot.download(out)

    assert (out / "a_0_v0.jpg").read_bytes() == whole


@pytest.mark.parametrize("overwrite", [False, True])
def test_uploads_of_two_folders_do_not_share_files(
    server: EmulatorServer, tmp_path: Path, out: Path, overwrite: bool
) -> None:
    """Images of equal names and contents, uploaded from two folders, keep their outputs apart, also in reruns."""
    shoots = [Shoot(server, tmp_path / name, "a.jpg", "b.jpg") for name in ("shirts", "shoes")]
    results = [shoot.download(out) for shoot in shoots]
    assert len(files(out)) == 4
    before = shoots[0].fetched()

    for shoot, result in zip(shoots, results, strict=True):
        assert shoot.download(out, overwrite=overwrite) == result

    rows = [row for path in (out / "_piktid").iterdir() for row in json.loads(path.read_bytes())]
    assert sorted(row["file"] for row in rows) == files(out)
    assert sorted(row["instead_of"] or "" for row in rows) == ["", "", "a_0_v0.jpg", "b_0_v0.jpg"]
    assert shoots[0].fetched() == before + (4 if overwrite else 0)


@pytest.mark.parametrize("overwrite", [False, True])
def test_download_keeps_a_file_of_other_origin(
    server: EmulatorServer, tmp_path: Path, out: Path, overwrite: bool
) -> None:
    """A file that no manifest names is kept, also with ``overwrite``, and the manifest names the output's."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    out.mkdir()
    (out / "a_0_v0.jpg").write_bytes(b"\xff\xd8\xff yesterday \xff\xd9")

    shoot.download(out, overwrite=overwrite)

    (row,) = manifest(out)
    assert (out / "a_0_v0.jpg").read_bytes() == b"\xff\xd8\xff yesterday \xff\xd9"
    assert (out / row["file"]).read_bytes() == (tmp_path / "in" / "a.jpg").read_bytes()
    assert row["instead_of"] == "a_0_v0.jpg"


def test_download_of_more_jobs_takes_the_files_of_an_earlier_one(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """A download of several jobs finds the files that a download of one of them wrote, and adds the others."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    shoot.download(out, images=None)
    shoot.download(out, images=None, job_ids=[shoot.job_id, shoot.swap()])

    assert len(files(out)) == 2


def test_overwrite_transfers_every_file_again(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """``overwrite=True`` transfers every file again."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg")
    shoot.download(out)
    before = shoot.fetched()

    shoot.download(out, overwrite=True)

    assert shoot.fetched() == before + 2


def test_partial_files_of_a_killed_run_are_removed(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """A rerun removes the partial files of its own download and keeps those of others."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    result = shoot.download(out)
    mark = Path(result["manifest"]).stem
    for name in (f".{mark}.1234.part", f"_piktid/.{mark}.json.99.part", ".manifest-other.1.part"):
        (out / name).write_bytes(b"half")

    shoot.download(out)

    assert files(out) == [".manifest-other.1.part", "a_0_v0.jpg"]


# -- invalid input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job_ids", [[], None, [[], None]], ids=["empty", "none", "mapped and empty"])
def test_download_of_no_jobs_fails(server: EmulatorServer, out: Path, job_ids: Any) -> None:
    """Empty ``job_ids`` fail the task without a retry."""
    with pytest.raises(AirflowFailException, match="job_ids is empty"):
        PiktidDownloadOperator(task_id="d", job_ids=job_ids, output_path=str(out)).execute({})


def test_download_takes_the_lists_of_a_mapped_swap(server: EmulatorServer, tmp_path: Path, out: Path) -> None:
    """``job_ids`` may be a list of lists from mapped tasks, with None for a skipped one."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    nested: Any = [[shoot.job_id], None, [shoot.swap(), shoot.job_id]]

    assert shoot.download(out, job_ids=nested)["files"] == 2


def test_download_of_an_unknown_job_fails_and_writes_nothing(server: EmulatorServer, out: Path) -> None:
    """An unknown job raises ``PiktidNotFoundError``, and no manifest is written."""
    with pytest.raises(PiktidNotFoundError, match="piktid_default"):
        PiktidDownloadOperator(task_id="d", job_ids=["job-x"], output_path=str(out)).execute({})

    assert not out.exists() or list(out.rglob("*")) == []


def test_unwritable_output_path_fails_before_results_are_requested(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """An ``output_path`` that cannot be written fails before the results are requested."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    out.write_text("a file in the way")
    before = server.state.counters.requests["job_results"]

    with pytest.raises(PiktidDownloadError, match=r"output_path .*out cannot be written"):
        shoot.download(out)

    assert server.state.counters.requests["job_results"] == before
    assert out.read_text() == "a file in the way"


def test_file_that_cannot_be_written_does_not_stop_the_others(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """If one file cannot be written, the others are, and the error names the file."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg", "b.jpg")
    (out / "a_0_v0.jpg" / "full").mkdir(parents=True)

    with pytest.raises(
        PiktidDownloadError, match=r"a_0_v0\.jpg: it could not be written \(IsADirectoryError\)"
    ):
        shoot.download(out)

    assert files(out) == ["b_0_v0.jpg"]


def test_unknown_file_at_the_manifest_path_is_not_overwritten(
    server: EmulatorServer, tmp_path: Path, out: Path
) -> None:
    """A file at the manifest's path that is not a manifest raises an error and is not overwritten."""
    shoot = Shoot(server, tmp_path / "in", "a.jpg")
    target = Path(shoot.download(out)["manifest"].removeprefix("file://"))
    target.write_text('[{"colour": "red"}]')

    with pytest.raises(PiktidDownloadError, match="is not a manifest"):
        shoot.download(out)

    assert target.read_text() == '[{"colour": "red"}]'


def test_download_with_a_wrong_token_fails_permanently(
    server: EmulatorServer, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong token fails the task without a retry, and the error starts with the connection id."""
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", connection_json(server.url, password="wrong-token"))

    with pytest.raises(AirflowFailException, match=r"^piktid_default: "):
        PiktidDownloadOperator(task_id="d", job_ids=["j"], output_path=str(out)).execute({})


def test_oldest_response_format_can_be_downloaded(start: Start, tmp_path: Path, out: Path) -> None:
    """Results in the oldest response format, with the link in ``url``, can be downloaded."""
    server = start(variants={"results": "seed", "result_url": "url"})
    shoot = Shoot(server, tmp_path / "in", "red/a.jpg", "blue/b.jpg")

    shoot.download(out)

    assert files(out) == ["blue/b_0_v0.jpg", "red/a_0_v0.jpg"]


# -- concurrency ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3])
def test_download_respects_max_concurrency(
    start: Start, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """The number of parallel downloads reaches ``max_concurrency`` and does not exceed it."""
    shoot = Shoot(start(latency=0.02), tmp_path / "in", "a.jpg", "b.jpg", "c.jpg", num_variations=4)
    fetches = Parallel(limit)
    fetch = AsyncPiktidClient.fetch

    class Ending:
        def __init__(self, stream: ByteStream) -> None:
            self._stream = stream
            self.checksum = stream.checksum

        async def chunks(self) -> AsyncIterator[bytes]:
            async for chunk in self._stream.chunks():
                yield chunk
            fetches.end()

    async def counted(client: AsyncPiktidClient, url: str, consume: Any) -> Any:
        await fetches.begin()
        return await fetch(client, url, lambda stream: consume(Ending(stream)))

    monkeypatch.setattr(AsyncPiktidClient, "fetch", counted)
    shoot.download(out, max_concurrency=limit)

    assert (fetches.begun, fetches.most) == (12, limit)
