# SPDX-License-Identifier: Apache-2.0
"""A refresh buys equal content once: renamed, moved and duplicated sources."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.refresh import read_rows
from airflow_provider_piktid.refresh.outputs import OutputFolder
from tests.operators.test_refresh import bought, outputs, statuses, upload_and_swap, wait_for_jobs
from tests.support.fixtures import Start
from tests.support.refresh import Nights
from tests.support.service import picture


def output_of(nights: Nights, relative: str) -> bytes:
    (file,) = (row["file"] for row in read_rows(nights.output) if row["relative"] == relative)
    return Path(nights.output, file).read_bytes()


def duplicate(source: Path, name: str, other: str) -> None:
    (source / other).parent.mkdir(exist_ok=True)
    (source / other).write_bytes((source / name).read_bytes())


@pytest.mark.parametrize("prune", [False, True])
@pytest.mark.parametrize("name", ["z.jpg", "more/a.jpg", "A.jpg", "a.png"])
def test_renamed_source_keeps_its_output_for_free(
    server: EmulatorServer, nights: Nights, source: Path, prune: bool, name: str
) -> None:
    """A renamed or moved source has its output under the new name, and nothing is bought."""
    nights.run()
    before = output_of(nights, "a.jpg")
    (source / name).parent.mkdir(exist_ok=True)
    (source / "a.jpg").rename(source / name)

    second = nights.run(prune=prune)
    third = nights.run(prune=prune)

    assert (second.planned["reused"], second.batches, bought(server)) == (1, [], 2)
    assert (output_of(nights, name), second.told["reused"], second.told["sources"]["done"]) == (before, 1, 1)
    assert (third.planned["reused"], third.planned["unchanged"], bought(server)) == (0, 2, 2)
    assert len(outputs(nights)) == (2 if prune else 3)


def test_credits_of_a_copy_are_not_counted_again(nights: Nights, source: Path) -> None:
    """The row of a copy names its job and the source that it was bought for, and has no credits."""
    nights.run()
    duplicate(source, "a.jpg", "copy.jpg")

    night = nights.run()

    rows = {row["relative"]: row for row in read_rows(nights.output)}
    assert (rows["copy.jpg"]["equal_to"], rows["copy.jpg"]["credits"]) == ("a.jpg", None)
    assert rows["copy.jpg"]["job_id"] == rows["a.jpg"]["job_id"]
    assert (rows["a.jpg"]["equal_to"], night.told["credits"]) == (None, None)


def test_equal_sources_of_one_night_are_bought_once(
    server: EmulatorServer, nights: Nights, source: Path
) -> None:
    """Three names of one content: one is submitted, and each name has its output."""
    duplicate(source, "a.jpg", "c.jpg")
    duplicate(source, "a.jpg", "d/a.jpg")

    first = nights.run()
    second = nights.run()

    assert (first.planned["images"], first.planned["reused"], bought(server)) == (2, 2, 2)
    assert (first.told["sources"]["done"], first.told["sources"]["missing"], first.told["reused"]) == (
        4,
        0,
        2,
    )
    assert (outputs(nights), first.told["credits"]) == (
        ["a_0_v0.jpg", "b_0_v0.jpg", "c_0_v0.jpg", "d/a_0_v0.jpg"],
        2.0,
    )
    assert output_of(nights, "d/a.jpg") == output_of(nights, "a.jpg") != output_of(nights, "b.jpg")
    assert (second.planned["unchanged"], bought(server)) == (4, 2)


def test_every_variation_is_copied(server: EmulatorServer, nights: Nights, source: Path) -> None:
    """With several variations, a copy and a renamed source have all of them."""
    options = {"num_variations": 3}
    duplicate(source, "a.jpg", "c.jpg")
    nights.run(swap=options, options=options)
    (source / "b.jpg").rename(source / "z.jpg")

    nights.run(swap=options, options=options)

    assert bought(server) == 2
    assert [name for name in outputs(nights) if name.startswith(("c", "z"))] == [
        f"{stem}_{group}_v0.jpg" for stem in "cz" for group in range(3)
    ]


def test_sources_that_exchanged_their_names_exchange_their_outputs(
    server: EmulatorServer, nights: Nights, source: Path
) -> None:
    """Two known contents change places: no output is overwritten before it is copied."""
    for name, color in (("a.jpg", "red"), ("b.jpg", "blue")):
        picture(source / name, size=(30, 20), color=color)
    nights.run()
    before = {name: output_of(nights, name) for name in ("a.jpg", "b.jpg")}
    (source / "a.jpg").rename(source / "temporary")
    (source / "b.jpg").rename(source / "a.jpg")
    (source / "temporary").rename(source / "b.jpg")

    nights.run()

    assert bought(server) == 2
    assert (output_of(nights, "a.jpg"), output_of(nights, "b.jpg")) == (before["b.jpg"], before["a.jpg"])
    assert not list((Path(nights.output) / "_piktid" / "copies").iterdir())


def test_interrupted_exchange_is_completed_by_download(
    server: EmulatorServer, nights: Nights, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan dies while it copies: no file is taken for what an older row says about it."""
    nights.run()
    before = {name: output_of(nights, name) for name in ("a.jpg", "b.jpg")}
    (source / "a.jpg").rename(source / "temporary")
    (source / "b.jpg").rename(source / "a.jpg")
    (source / "temporary").rename(source / "b.jpg")
    real, copied = storage.copy_file, []

    def die(origin: storage.Location, target: storage.Location) -> None:
        copied.append(target)
        if len(copied) == 4:
            raise MemoryError
        real(origin, target)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "copy_file", die)
        with pytest.raises(MemoryError):
            nights.begin()
    nights.run()

    assert bought(server) == 2
    assert (output_of(nights, "a.jpg"), output_of(nights, "b.jpg")) == (before["b.jpg"], before["a.jpg"])


def test_pending_output_is_delivered_under_each_name(start: Start, source: Path, tmp_path: Path) -> None:
    """A job outlasts the night in which its source got a second name; later nights deliver to both."""
    server = start(job_seconds=2.0)
    nights = Nights(str(source), str(tmp_path / "out"), images_per_batch=2)
    duplicate(source, "a.jpg", "c.jpg")
    nights.run(swap={"timeout": 0.3})
    duplicate(source, "b.jpg", "d.jpg")

    second = nights.begin()
    assert (second.planned["unfinished"], second.planned["reused"], second.batches) == (3, 1, [])
    wait_for_jobs(server)
    nights.run()

    assert (set(statuses(nights).values()), len(outputs(nights)), bought(server)) == ({"done"}, 4, 2)
    assert output_of(nights, "c.jpg") == output_of(nights, "a.jpg")
    assert output_of(nights, "d.jpg") == output_of(nights, "b.jpg")


def test_equal_sources_survive_a_run_that_ended_before_collect(
    server: EmulatorServer, nights: Nights, source: Path
) -> None:
    """The records of a run name all sources of an output; the next run delivers to each."""
    duplicate(source, "a.jpg", "c.jpg")
    night = nights.begin()
    upload_and_swap(nights, night, 0)
    wait_for_jobs(server)

    second = nights.run()

    assert (second.planned["unfinished"], second.batches, bought(server)) == (3, [], 2)
    assert outputs(nights) == ["a_0_v0.jpg", "b_0_v0.jpg", "c_0_v0.jpg"]
    assert nights.run().planned["unchanged"] == 3


def test_source_equal_to_one_of_unknown_fate_is_not_bought(
    server: EmulatorServer, nights: Nights, source: Path
) -> None:
    """The request of equal content may have been paid for: its copy is reported as unknown too."""
    night = nights.begin()
    server.faults.add("model_swap", "drop_before")
    upload_and_swap(nights, night, 0, lost_reply_grace=0.0)
    duplicate(source, "a.jpg", "c.jpg")
    nights.run()

    third = nights.run()

    assert (third.planned["unknown"], third.planned["images"], bought(server)) == (3, 0, 0)


def test_equal_sources_share_their_attempts(server: EmulatorServer, nights: Nights, source: Path) -> None:
    """A content that failed twice is not submitted again under another name."""
    server.faults.add("job", "fail_job", times=None)
    nights.run(max_attempts=2)
    (source / "a.jpg").rename(source / "z.jpg")
    second = nights.run(max_attempts=2)
    assert (second.planned["failed"], bought(server)) == (2, 4)
    duplicate(source, "z.jpg", "y.jpg")

    third = nights.run(max_attempts=2)

    assert (third.planned["given_up"], third.batches, bought(server)) == (3, [], 4)


def test_source_that_changed_before_the_upload_is_not_copied(
    server: EmulatorServer, nights: Nights, source: Path
) -> None:
    """Only what was uploaded decides: the other name of the planned content is bought by the next run."""
    duplicate(source, "a.jpg", "c.jpg")
    night = nights.begin()
    picture(source / "a.jpg", size=(90, 40), color="green")
    nights.batch(night, 0, {})
    assert "c.jpg" not in statuses(nights)

    nights.run()

    assert (statuses(nights)["c.jpg"], bought(server)) == ("done", 3)
    assert output_of(nights, "c.jpg") != output_of(nights, "a.jpg")


def test_other_options_are_another_purchase(server: EmulatorServer, nights: Nights, source: Path) -> None:
    """Equal content with other options is bought, once for all its names."""
    duplicate(source, "a.jpg", "c.jpg")
    nights.run()

    night = nights.run(options={"num_variations": 2}, swap={"num_variations": 2})

    assert (night.planned["images"], night.planned["reused"], bought(server)) == (2, 1, 4)
    assert len(outputs(nights)) == 6


def test_only_sources_of_a_known_size_are_read(
    nights: Nights, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new source is read if a known one has its size; unchanged ones and other sizes are not."""
    nights.run()
    duplicate(source, "a.jpg", "c.jpg")
    picture(source / "large.jpg", size=(200, 100))
    real, read = storage.digest, []

    def digest(place: storage.Location) -> str:
        read.append(Path(place.path).name)
        return real(place)

    monkeypatch.setattr(storage, "digest", digest)

    nights.begin()
    assert read == ["c.jpg"]


def test_exchange_with_a_source_that_is_not_downloaded_buys_nothing(
    server: EmulatorServer, nights: Nights
) -> None:
    """One of two sources is paid for and not downloaded when they exchange their contents."""
    night = nights.begin(images_per_batch=1)
    nights.batch(night, 0, {})
    server.faults.add("job_results", "status", code=404, times=None)
    nights.batch(night, 1, {})
    server.faults.clear()
    assert sorted(statuses(nights).values()) == ["done", "pending"]
    one, two = Path(nights.source, "a.jpg"), Path(nights.source, "b.jpg")
    contents = one.read_bytes(), two.read_bytes()
    one.write_bytes(contents[1])
    two.write_bytes(contents[0])

    for _ in range(3):
        nights.run()

    assert (bought(server), set(statuses(nights).values())) == (2, {"done"})
    sums = {row["relative"]: row["source_sha256"] for row in read_rows(nights.output)}
    assert sums == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (one, two)}


@pytest.mark.parametrize("exchange", [False, True])
def test_outputs_are_copied_within_the_folder(tmp_path: Path, exchange: bool) -> None:
    """A copy replaces its target whole; one whose source is gone is reported."""
    for name in "ab":
        (tmp_path / name).write_text(name)
    folder = OutputFolder(storage.locate(str(tmp_path)))
    pairs: dict[str, Any] = {"a": "b", "b": "a"} if exchange else {"sub/c": "a", "d": "none"}

    lost = folder.copy(pairs)

    if exchange:
        assert (lost, (tmp_path / "a").read_text(), (tmp_path / "b").read_text()) == (set(), "b", "a")
    else:
        assert (lost, (tmp_path / "sub" / "c").read_text()) == ({"d"}, "a")
