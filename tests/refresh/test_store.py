# SPDX-License-Identifier: Apache-2.0
"""The parts of a catalogue: parallel writes, compaction and recovery."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_provider_piktid.exceptions import PiktidRecordError
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.jobs import manifest
from airflow_provider_piktid.refresh import catalogue
from airflow_provider_piktid.refresh.store import CatalogueStore, read_rows
from tests.support.catalogue import row, store_in


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "_piktid" / "catalogue").iterdir())


def test_parts_of_many_tasks_make_one_catalogue(tmp_path: Path) -> None:
    """Forty tasks write their parts at the same time, and no row is lost."""
    store = store_in(tmp_path)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: store.write(f"run-{n}", [row(f"{n}.jpg")]), range(40)))

    assert len(store.read().known) == 40
    assert len(parts(tmp_path)) == 40


def test_task_that_runs_again_replaces_its_part(tmp_path: Path) -> None:
    """A retried task replaces its part."""
    store = store_in(tmp_path)

    store.write("run-1", [row(status="failed")])
    store.write("run-1", [row(status="done")])

    assert [told["status"] for told in read_rows(str(tmp_path))] == ["done"]


def test_compaction_leaves_one_part_with_the_newest_rows(tmp_path: Path) -> None:
    """A compaction writes one part with the newest rows and removes the others."""
    store = store_in(tmp_path)
    store.write("1", [row("a.jpg", at=1.0), row("b.jpg", at=1.0)])
    store.write("2", [row("a.jpg", at=2.0, job_id="new")])
    before = read_rows(str(tmp_path))

    store.compact(store.read())

    (part,) = parts(tmp_path)
    assert read_rows(str(tmp_path)) == before
    assert len((tmp_path / "_piktid" / "catalogue" / part).read_text().splitlines()) == 2


def test_single_part_is_not_compacted(tmp_path: Path) -> None:
    """A catalogue of one part is not written again."""
    store = store_in(tmp_path)
    store.write("1", [row()])
    before = parts(tmp_path)

    store.compact(store.read())

    assert parts(tmp_path) == before


@pytest.mark.parametrize("step", ["write_bytes", "_remove"])
def test_crashed_compaction_loses_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """After a crash in a compaction every row is read once, and the next compaction completes it."""
    store = store_in(tmp_path)
    store.write("1", [row("a.jpg")])
    store.write("2", [row("b.jpg")])
    before = read_rows(str(tmp_path))

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(storage if step == "write_bytes" else CatalogueStore, step, crash)
        with pytest.raises(KeyboardInterrupt):
            store.compact(store.read())

    assert read_rows(str(tmp_path)) == before
    store.compact(store.read())
    assert (read_rows(str(tmp_path)), len(parts(tmp_path))) == (before, 1)


def test_parallel_compactions_lose_no_row(tmp_path: Path) -> None:
    """Two compactions of the same parts lose no row, also not one that was written in between."""
    store = store_in(tmp_path)
    for number in range(3):
        store.write(str(number), [row(f"{number}.jpg")])
    first, second = store.read(), store.read()
    store.write("late", [row("late.jpg")])

    store.compact(first)
    store.compact(second)

    assert [told["relative"] for told in read_rows(str(tmp_path))] == ["0.jpg", "1.jpg", "2.jpg", "late.jpg"]


def test_read_starts_over_if_parts_disappear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a compaction removes the listed parts, the read starts again."""
    store = store_in(tmp_path)
    store.write("1", [row("a.jpg")])
    store.write("2", [row("b.jpg")])
    snapshot = store.read()
    real = storage.sizes_below
    listed: list[bool] = []

    def list_then_compact(folder: storage.Location) -> dict[str, int]:
        found = real(folder)
        if not listed:
            listed.append(True)
            store.compact(snapshot)
        return found

    monkeypatch.setattr(storage, "sizes_below", list_then_compact)

    assert sorted(store.read().known) == ["a.jpg", "b.jpg"]


def test_damaged_part_is_moved_and_its_valid_rows_are_kept(tmp_path: Path) -> None:
    """A damaged part is moved to ``damaged``, and its valid rows are kept."""
    store = store_in(tmp_path)
    store.write("1", [row("a.jpg"), row("b.jpg")])
    (part,) = (tmp_path / "_piktid" / "catalogue").iterdir()
    part.write_bytes(part.read_bytes()[:-40])

    snapshot = store.read()
    store.compact(snapshot)

    assert snapshot.damaged == [part.name]
    assert [told["relative"] for told in read_rows(str(tmp_path))] == ["a.jpg"]
    assert (tmp_path / "_piktid" / "damaged" / part.name).is_file()
    assert store.read().damaged == []


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    """A catalogue with a newer schema raises, and its parts are not changed."""
    store = store_in(tmp_path)
    store.write("1", [row(schema=catalogue.SCHEMA_VERSION + 1)])
    before = parts(tmp_path)

    with pytest.raises(PiktidRecordError, match="schema 2"):
        store.read()

    assert parts(tmp_path) == before


@pytest.mark.parametrize(
    ("age", "identity", "found"),
    [(10, "PiktidSummer", "done"), (-10, "PiktidSummer", None), (10, "PiktidPremium", None)],
    ids=["newer than its source", "older than its source", "another identity"],
)
def test_lost_rows_are_recovered_from_manifests(
    tmp_path: Path, age: float, identity: str, found: str | None
) -> None:
    """A lost row is recovered from a manifest that is newer than the source and has the same identity."""
    now = time.time()
    lost = storage.SourceFile(storage.locate("/in/a.jpg"), "a.jpg", 100, "v1", now)
    told = manifest.Row(
        "file:///in/a.jpg", "a_0_v1.jpg", "job", 0, 0, 1, "onda", "done", identity_code=identity
    )
    target = storage.locate(str(tmp_path)).join(manifest.manifest_path(["job"]))
    storage.write_bytes(target, manifest.dump([told]))
    os.utime(target.path, (now + age, now + age))

    rows = store_in(tmp_path).recover(
        [lost], identity_code="PiktidSummer", key="key", producer="dag.plan", run="run"
    )

    assert [(each.relative, each.status) for each in rows] == ([("a.jpg", found)] if found else [])


def test_remove_outputs_stays_below_output_path(tmp_path: Path) -> None:
    """``remove_outputs`` removes no file outside the output folder and ignores missing files."""
    (tmp_path / "out").mkdir()
    for name in ("out/a.jpg", "b.jpg"):
        (tmp_path / name).touch()

    store_in(tmp_path / "out").remove_outputs(["a.jpg", "../b.jpg", "gone.jpg"])

    assert not (tmp_path / "out" / "a.jpg").exists()
    assert (tmp_path / "b.jpg").exists()
