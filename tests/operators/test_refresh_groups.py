# SPDX-License-Identifier: Apache-2.0
"""A refresh whose sources are groups of files: one job for each, bought when one of its files is new or changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.operators.flat_to_model import PiktidFlatToModelOperator
from airflow_provider_piktid.operators.packshot import PiktidPackshotOperator
from airflow_provider_piktid.operators.recolor import PiktidGarmentRecolorOperator
from airflow_provider_piktid.refresh import read_rows
from tests.operators.test_refresh import outputs, upload_and_swap, wait_for_jobs
from tests.support.batch import jobs
from tests.support.refresh import Nights
from tests.support.service import picture

Change = Callable[[Path], Any]


def look(source: Path, name: str, *colors: str) -> Path:
    """Write a folder with an image of each colour."""
    for number, color in enumerate(colors):
        picture(source / name / f"{number}.jpg", color=color, size=(60 + len(color), 40))
    return source / name


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two looks of two flat lays each, and one of three."""
    look(tmp_path / "in", "17", "red", "green")
    look(tmp_path / "in", "18", "blue", "yellow")
    look(tmp_path / "in", "19", "black", "white", "gray")
    return tmp_path / "in"


@pytest.fixture
def nights(server: EmulatorServer, source: Path, tmp_path: Path) -> Nights:
    """A refresh of the looks."""
    options = {"instructions": [{"pose": "walking"}], "lost_reply_grace": 0.1}
    return Nights(
        str(source),
        str(tmp_path / "out"),
        operator=PiktidFlatToModelOperator,
        group_by="folder",
        options=options,
    )


def sizes(server: EmulatorServer) -> list[int]:
    """Number of images of each job."""
    return sorted(len(job["images"]) for job in jobs(server))


def test_each_folder_is_one_job(server: EmulatorServer, nights: Nights, source: Path) -> None:
    """All images of a folder go into one job; its row names them, and its output is named after the folder."""
    first = nights.run()

    assert (first.planned["listed"], first.planned["images"], sizes(server)) == (3, 3, [2, 2, 3])
    assert outputs(nights) == ["17_0-0_v0.jpg", "18_0-0_v0.jpg", "19_0-0_v0.jpg"]
    rows = {row["relative"]: row for row in read_rows(nights.output)}
    assert [Path(uri).name for uri in rows["19/"]["sources"]] == ["0.jpg", "1.jpg", "2.jpg"]
    assert rows["19/"]["source"] == f"file://{source}/19/"
    assert {row["status"] for row in rows.values()} == {"done"}
    assert nights.run().planned["unchanged"] == 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda folder: picture(folder / "0.jpg", color="pink"), "changed", id="changed"),
        pytest.param(lambda folder: picture(folder / "2.jpg", color="pink"), "changed", id="added"),
        pytest.param(lambda folder: (folder / "1.jpg").unlink(), "changed", id="removed"),
        pytest.param(lambda folder: os.utime(folder / "0.jpg", (1, 1)), "unchanged", id="touched"),
        pytest.param(
            lambda folder: (folder / "0.jpg").rename(folder / "z.jpg"), "unchanged", id="file renamed"
        ),
        pytest.param(lambda folder: folder.rename(folder.with_name("99")), "reused", id="folder renamed"),
        pytest.param(lambda folder: picture(folder / "sub" / "0.jpg"), "rejected", id="subfolder"),
        pytest.param(lambda folder: picture(folder.parent / "0.jpg"), "rejected", id="image in no folder"),
        pytest.param(lambda folder: (folder / "0.jpg").write_bytes(b"no image"), "rejected", id="no image"),
    ],
)
def test_group_is_bought_again_if_its_content_changed(
    server: EmulatorServer, nights: Nights, source: Path, change: Change, reason: str
) -> None:
    """Another content of one file buys its group again, once; other names and dates buy nothing."""
    nights.run()
    change(source / "17")

    night = nights.run()
    again = nights.run()

    is_new = reason == "rejected" and (source / "17" / "sub").exists()
    assert night.planned[reason] == (3 if reason == "unchanged" else 1)
    assert len(jobs(server)) == 3 + (reason == "changed") + is_new
    assert (again.planned["images"], len(jobs(server))) == (0, 3 + (reason == "changed") + is_new)


def test_equal_groups_are_bought_once(server: EmulatorServer, nights: Nights, source: Path) -> None:
    """Two folders with the same images, under other names, are one job, and each has its output."""
    look(source, "20", "green", "red")

    night = nights.run()

    assert (night.planned["images"], night.planned["reused"], len(jobs(server))) == (3, 1, 3)
    assert outputs(nights)[-1] == "20_0-0_v0.jpg"
    rows = {row["relative"]: row for row in read_rows(nights.output)}
    assert rows["20/"]["equal_to"] == "17/"
    assert all("/20/" in uri for uri in rows["20/"]["sources"])


def test_group_with_too_many_images_stops_only_itself(
    server: EmulatorServer, nights: Nights, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A group of eleven images is reported with what to change, and the others are bought."""
    look(source, "16", *[f"rgb({number}, 0, 0)" for number in range(11)])

    night = nights.run()

    assert (night.planned["rejected"], sizes(server), night.told["sources"]["done"]) == (1, [2, 2, 3], 3)
    assert nights.run(exclude=["16/10.jpg"]).planned["new"] == 1
    assert sizes(server) == [2, 2, 3, 10]


def test_known_group_that_is_refused_keeps_its_output(
    server: EmulatorServer, nights: Nights, source: Path
) -> None:
    """A group that grew too large, or got a subfolder, is not pruned, and its row stays."""
    nights.run()
    for number in range(20):
        picture(source / "17" / f"more{number}.jpg", color=f"rgb({number}, 0, 0)")
    picture(source / "18" / "!" / "0.jpg")

    night = nights.run(prune=True)

    assert (night.planned["deleted"], night.planned["rejected"]) == (0, 2)
    assert {"17/", "18/"} <= {row["relative"] for row in read_rows(nights.output) if row["status"] == "done"}
    assert {"17_0-0_v0.jpg", "18_0-0_v0.jpg"} <= set(outputs(nights))


def test_excluded_group_keeps_its_output(nights: Nights) -> None:
    """A group of which all images are excluded still exists, so that it is not pruned."""
    nights.run()

    night = nights.run(exclude=["17/*"], prune=True)

    assert (night.planned["listed"], night.planned["deleted"], len(outputs(nights))) == (2, 0, 3)


def test_removed_group_is_pruned(nights: Nights, source: Path) -> None:
    """The output of a folder that no longer exists is removed on request."""
    nights.run()
    (source / "17").rename(source.parent / "17")

    night = nights.run(prune=True)

    assert (night.planned["deleted"], outputs(nights)) == (1, ["18_0-0_v0.jpg", "19_0-0_v0.jpg"])


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(Path.unlink, id="removed"),
        pytest.param(lambda path: path.write_bytes(b"no image"), id="no image any more"),
    ],
)
def test_group_that_loses_a_file_before_its_upload_is_not_bought(
    server: EmulatorServer, nights: Nights, source: Path, damage: Change
) -> None:
    """An incomplete group would be paid for and bought again; it waits for the next night."""
    night = nights.begin()
    damage(source / "19" / "1.jpg")

    nights.finish(night)

    assert (sizes(server), night.told["sources"]["missing"]) == ([2, 2], 1)
    picture(source / "19" / "1.jpg", color="white", size=(65, 40))
    nights.run()
    assert sizes(server) == [2, 2, 3]


def test_killed_night_is_completed_without_paying_twice(server: EmulatorServer, nights: Nights) -> None:
    """A run that ends after its jobs, one with a lost reply, is downloaded by the next one."""
    server.faults.add("flat_2_model", "drop_after", times=1)
    server.faults.add("gallery_jobs", "status", code=400, times=None)
    upload_and_swap(nights, nights.begin(), 0)
    server.faults.clear()
    wait_for_jobs(server)

    nights.run()
    last = nights.run()

    assert (last.planned["unchanged"], sizes(server)) == (3, [2, 2, 3])
    assert [row["file"] for row in read_rows(nights.output)] == outputs(nights)


def test_options_that_change_back_buy_nothing(server: EmulatorServer, nights: Nights) -> None:
    """What was bought of a group with the same options before is found by the content of all its files."""
    nights.run()
    nights.run(rerun_key="2")

    night = nights.run()

    assert (night.planned["unfinished"], len(jobs(server))) == (3, 6)
    assert nights.run().planned["unchanged"] == 3


def test_damaged_catalogue_is_restored_from_manifests(server: EmulatorServer, nights: Nights) -> None:
    """The manifests name groups too, so that lost rows buy nothing again."""
    nights.run()
    (part,) = Path(nights.output, "_piktid", "catalogue").glob("*.gz")
    part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])

    night = nights.run()

    assert (night.batches, len(jobs(server))) == ([], 3)
    assert {row["status"] for row in read_rows(nights.output)} == {"done"}


def test_expression_groups_files_of_several_folders(
    server: EmulatorServer, tmp_path: Path, source: Path
) -> None:
    """Packshots of products whose views lie in several folders."""
    (source / "front").mkdir()
    (source / "back").mkdir()
    for number in ("17", "18"):
        for position, view in enumerate(("front", "back")):
            (source / number / f"{position}.jpg").rename(source / view / f"{number}.jpg")
    nights = Nights(
        str(source),
        str(tmp_path / "out"),
        operator=PiktidPackshotOperator,
        group_by=r"(?:front|back)/(\d+)\.jpg",
        options={"instructions": [{"style": "free"}, {"style": "flat_lay"}]},
    )

    night = nights.run()

    assert not night.errors
    assert (night.planned["images"], night.planned["rejected"], sizes(server)) == (2, 1, [2, 2])
    assert outputs(nights) == ["17_0-0_v0.jpg", "17_0-1_v0.jpg", "18_0-0_v0.jpg", "18_0-1_v0.jpg"]
    assert nights.run().planned["unchanged"] == 2


def test_grouping_later_keeps_the_outputs_of_single_images(
    server: EmulatorServer, nights: Nights, source: Path
) -> None:
    """A folder with one image has the content of that image: it is not bought again when folders become sources."""
    for path in source.rglob("*.jpg"):
        if path.name != "0.jpg":
            path.unlink()
    del nights.plan["group_by"]
    nights.run()

    night = nights.run(group_by="folder")

    assert (night.planned["reused"], len(jobs(server))) == (3, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"group_by": "("}, "not a regular expression", id="broken expression"),
        pytest.param({"group_by": "(nothing)"}, "has no group of images", id="matches nothing"),
        pytest.param(
            {"job_type": PiktidGarmentRecolorOperator.job_type, "options": {"reference_text": "red"}},
            "jobs that combine their images",
            id="type that combines nothing",
        ),
    ],
)
def test_wrong_grouping_fails_the_plan(
    server: EmulatorServer, nights: Nights, arguments: dict[str, Any], words: str
) -> None:
    """A wrong ``group_by`` fails the plan before anything is uploaded."""
    with pytest.raises(AirflowFailException, match=words):
        nights.begin(**arguments)

    assert sum(server.state.counters.requests.values()) == 0
