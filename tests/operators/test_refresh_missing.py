# SPDX-License-Identifier: Apache-2.0
"""A refresh notices outputs that somebody removed, and ends the search for outputs that nobody can download."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.walk import iter_sizes
from airflow_provider_piktid.refresh import plan, read_rows
from tests.operators.test_refresh import bought, outputs, requests, statuses
from tests.support.refresh import Nights


def remove(nights: Nights, name: str = "a_0_v0.jpg") -> bytes:
    path = Path(nights.output, name)
    content = path.read_bytes()
    path.unlink()
    return content


def forget_jobs(server: EmulatorServer) -> None:
    server.faults.add("job_results", "status", code=404, times=None)


def test_removed_output_is_downloaded_again(server: EmulatorServer, nights: Nights) -> None:
    """An output that was removed is back after the next run, and nothing is bought or counted again."""
    nights.run()
    content = remove(nights)

    second = nights.run()
    asked = requests(server)
    third = nights.run()

    assert (second.planned["lost"], second.batches, bought(server)) == (1, [], 2)
    assert Path(nights.output, "a_0_v0.jpg").read_bytes() == content
    assert (second.told["sources"]["done"], second.told["credits"]) == (1, None)
    assert (third.planned["lost"], third.planned["unchanged"], requests(server)) == (0, 2, asked)
    assert {row["credits"] for row in read_rows(nights.output)} == {1.0}


def test_output_of_another_size_is_downloaded_again(server: EmulatorServer, nights: Nights) -> None:
    """An output that was cut short counts as missing."""
    nights.run()
    path = Path(nights.output, "a_0_v0.jpg")
    content = path.read_bytes()
    path.write_bytes(content[:100])

    nights.run()

    assert (path.read_bytes(), bought(server)) == (content, 2)


def test_only_missing_variations_are_downloaded_again(server: EmulatorServer, nights: Nights) -> None:
    """The other variations of the source keep their files."""
    options = {"num_variations": 3}
    nights.run(swap=options, options=options)
    remove(nights, "a_1_v0.jpg")

    second = nights.run(swap=options, options=options)

    assert (second.xcom["late", -1]["done"], len(outputs(nights)), bought(server)) == (3, 6, 2)
    assert set(statuses(nights).values()) == {"done"}


def test_removed_output_of_a_copy_is_copied_again(
    server: EmulatorServer, nights: Nights, source: Path
) -> None:
    """A source with equal content has the output: no request is needed."""
    (source / "c.jpg").write_bytes((source / "a.jpg").read_bytes())
    nights.run()
    asked = requests(server)
    content = remove(nights, "c_0_v0.jpg")

    nights.run()

    assert (Path(nights.output, "c_0_v0.jpg").read_bytes(), requests(server)) == (content, asked)


def test_output_that_piktid_no_longer_has_is_reported_and_not_bought(
    server: EmulatorServer, nights: Nights
) -> None:
    """The source is lost: each plan says so, none asks PiktID again, and a run without other work buys nothing."""
    nights.run()
    remove(nights)
    forget_jobs(server)
    second = nights.run()
    assert (second.told["sources"]["lost"], statuses(nights)["a.jpg"]) == (1, "lost")
    assert "removed" in next(row["error"] for row in read_rows(nights.output) if row["relative"] == "a.jpg")
    asked = requests(server)

    third = nights.run()

    assert (third.planned["lost"], third.planned["images"]) == (1, 0)
    assert (requests(server), bought(server)) == (asked, 2)


def test_lost_output_is_bought_again_on_request(server: EmulatorServer, nights: Nights) -> None:
    """With ``rebuild_missing`` a run first asks PiktID for the output; the next one buys it."""
    nights.run()
    remove(nights)
    forget_jobs(server)
    nights.run(rebuild_missing="True")
    assert bought(server) == 2
    server.faults.clear()

    third = nights.run(rebuild_missing="True")
    fourth = nights.run(rebuild_missing="True")

    assert (third.planned["rebuild"], bought(server), len(outputs(nights))) == (1, 3, 2)
    assert fourth.planned["unchanged"] == 2


def test_lost_output_that_comes_back_is_done(server: EmulatorServer, nights: Nights) -> None:
    """Somebody restores the file: the source is done, also with ``rebuild_missing``."""
    nights.run()
    content = remove(nights)
    forget_jobs(server)
    nights.run()
    Path(nights.output, "a_0_v0.jpg").write_bytes(content)

    nights.run(rebuild_missing=True)

    assert (statuses(nights)["a.jpg"], bought(server)) == ("done", 2)


def test_renamed_source_of_a_lost_output_is_not_bought(
    server: EmulatorServer, nights: Nights, source: Path
) -> None:
    """A rename does not buy what a plan has only reported so far; PiktID is asked for it first."""
    nights.run()
    remove(nights)
    (source / "a.jpg").rename(source / "z.jpg")

    second = nights.run()

    assert (second.batches, bought(server)) == ([], 2)
    assert "z_0_v0.jpg" in outputs(nights) or nights.run().planned["images"] == 0
    nights.run()
    assert (statuses(nights)["z.jpg"], bought(server)) == ("done", 2)


def test_output_that_no_run_can_download_fails(server: EmulatorServer, nights: Nights) -> None:
    """After ``max_late_runs`` runs the source counts as failed; it is told, and bought again by a later run."""
    server.faults.add("result_image", "status", code=404, times=None)
    for _ in range(3):
        nights.run(max_late_runs=2)
    assert set(statuses(nights).values()) == {"pending"}

    fourth = nights.run(max_late_runs=2)
    assert (fourth.planned["expired"], fourth.batches, bought(server)) == (2, [], 2)
    assert fourth.told["sources"]["failed"] == 2
    server.faults.clear()
    fifth = nights.run(max_late_runs=2)

    assert (fifth.planned["failed"], set(statuses(nights).values()), bought(server)) == (2, {"done"}, 4)


def test_one_listing_of_the_outputs_for_each_plan(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    """No request is made for a single file."""
    nights.run()
    listed = []

    def listing(folder: storage.Location, **options: Any) -> Iterator[tuple[str, int]]:
        listed.append(folder.path)
        return iter_sizes(folder, **options)

    monkeypatch.setattr(plan, "iter_sizes", listing)
    nights.begin()

    assert listed.count(nights.output) == 1
