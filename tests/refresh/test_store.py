# SPDX-License-Identifier: Apache-2.0
"""The parts of a catalogue: parallel writes, and how they are put together."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_piktid.exceptions import PiktidRecordError
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.refresh import catalogue, parts
from airflow_provider_piktid.refresh.store import REPLACED, REPLACED_SECONDS, read_rows, to_merge
from tests.support.catalogue import row, store_in


def files_of(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "_piktid" / "catalogue").iterdir())


def test_parts_of_many_tasks_make_one_catalogue(tmp_path: Path) -> None:
    """Forty tasks write their parts at the same time, and no row is lost."""
    store = store_in(tmp_path)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: store.write(f"run-{n}", [row(f"{n}.jpg")]), range(40)))

    assert len(store.read().known) == 40
    assert len(store.parts()) == 40


def test_task_that_runs_again_replaces_its_part(tmp_path: Path) -> None:
    """A retried task replaces its part."""
    store = store_in(tmp_path)

    store.write("run-1", [row(status="failed")])
    store.write("run-1", [row(status="done")])

    assert [told["status"] for told in read_rows(str(tmp_path))] == ["done"]


def test_merged_part_has_the_newest_rows(tmp_path: Path) -> None:
    """A merge writes one part with the newest rows, which counts instead of the others."""
    store = store_in(tmp_path)
    store.write("1", [row("a.jpg", at=1.0), row("b.jpg", at=1.0)])
    store.write("2", [row("a.jpg", at=2.0, job_id="new")])
    before = read_rows(str(tmp_path))

    store.merge()

    (part,) = store.parts()
    assert read_rows(str(tmp_path)) == before
    assert [told["relative"] for told in parts.read(store.folder.join(part))] == ["a.jpg", "b.jpg"]


def test_single_part_is_not_merged(tmp_path: Path) -> None:
    """A catalogue of one part is not written again."""
    store = store_in(tmp_path)
    store.write("1", [row()])
    before = files_of(tmp_path)

    store.merge()

    assert files_of(tmp_path) == before


@pytest.mark.parametrize(
    ("sizes", "merged"),
    [
        ([], 0),
        ([5], 0),
        ([5, 5], 2),
        ([1, 3, 100], 2),
        ([1, 4], 0),
        ([1, 10, 11, 12, 1000], 4),
        ([10, 10, 10, 90], 4),
        ([10, 10, 10, 91], 3),
    ],
    ids=str,
)
def test_small_parts_are_merged_where_it_pays(sizes: list[int], merged: int) -> None:
    """A part is written again only together with at least a third of its size."""
    named = {f"part-{number}": size for number, size in enumerate(sizes)}

    assert sorted(named[name] for name in to_merge(named)) == sorted(sizes)[:merged]


def test_each_row_is_written_a_few_times_in_a_thousand_nights() -> None:
    """In nights of equal size, what all merges write grows with the logarithm of what there is."""
    sizes: dict[str, int] = {}
    written = 0
    for night in range(1000):
        sizes[f"night-{night}"] = 100
        if chosen := to_merge(sizes):
            sizes[f"merged-{night}"] = sum(sizes.pop(name) for name in chosen)
            written += sizes[f"merged-{night}"]

    assert written <= 10 * 1000 * 100
    assert len(sizes) <= 8


@pytest.mark.parametrize("write", [1, 2], ids=["before the merged part", "before the list of replaced ones"])
def test_crashed_merge_loses_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: int) -> None:
    """After a crash in a merge every row is read once, and the next merge completes it."""
    store = store_in(tmp_path)
    store.write("1", [row("a.jpg")])
    store.write("2", [row("b.jpg")])
    before = read_rows(str(tmp_path))
    real, calls = storage.write_bytes, []

    def crash(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == write:
            raise KeyboardInterrupt
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_bytes", crash)
        with pytest.raises(KeyboardInterrupt):
            store.merge()

    assert read_rows(str(tmp_path)) == before
    store.merge()
    assert (read_rows(str(tmp_path)), len(store.parts())) == (before, 1)


def test_part_written_during_a_merge_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that writes its part again while it is merged loses no row."""
    store = store_in(tmp_path)
    store.write("1", [row("a.jpg")])
    store.write("2", [row("b.jpg")])
    real = storage.write_bytes

    def write_again(place: storage.Location, content: Any) -> None:
        real(place, content)
        if "merged" in place.path:
            monkeypatch.undo()
            store.write("2", [row("b.jpg", at=2.0), row("late.jpg")])

    monkeypatch.setattr(storage, "write_bytes", write_again)
    store.merge()

    assert [(told["relative"], told["at"]) for told in read_rows(str(tmp_path))] == [
        ("a.jpg", 1.0),
        ("b.jpg", 2.0),
        ("late.jpg", 1.0),
    ]


def test_replaced_parts_stay_for_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who listed the parts before a merge can read them after it; later they are removed."""
    store = store_in(tmp_path)
    store.write("1", [row("a.jpg")])
    store.write("2", [row("b.jpg")])
    listed = store.parts()

    store.merge()
    assert [relative for relative, _ in store.states(listed)] == ["a.jpg", "b.jpg"]

    later = time.time() + REPLACED_SECONDS + 60
    monkeypatch.setattr(time, "time", lambda: later)
    store.merge()
    assert files_of(tmp_path) == list(store.parts())
    assert [told["relative"] for told in read_rows(str(tmp_path))] == ["a.jpg", "b.jpg"]


def test_parts_of_the_running_night_are_not_merged(tmp_path: Path) -> None:
    """The parts of the run whose plan merges stay, and its summary reads only those."""
    store = store_in(tmp_path)
    store.write("old-1", [row("a.jpg")])
    store.write("old-2", [row("b.jpg")])
    store.write("new-plan", [row("c.jpg", run="new")])

    store.merge(without="new")

    others = list(store.parts())
    store.write("new-batch", [row("a.jpg", run="new", at=2.0)])
    assert "part-new-plan.jsonl.gz" in others
    assert [told["relative"] for told in store.rows_of("new", others)] == ["a.jpg", "c.jpg"]
    assert [told["relative"] for told in store.rows_of("old", None)] == []


@pytest.mark.parametrize("later", ["another part", "a merge"])
def test_rows_of_a_run_are_sought_everywhere_after_a_later_one(tmp_path: Path, later: str) -> None:
    """If a later run has written, a row counts for the earlier one only if it is still the newest."""
    store = store_in(tmp_path)
    store.write("old-1", [row("a.jpg", run="old"), row("b.jpg", run="old")])
    others = list(store.parts())

    store.write("new-1", [row("a.jpg", run="new", at=2.0)])
    if later == "a merge":
        store.merge()

    assert [told["relative"] for told in store.rows_of("old", others)] == ["b.jpg"]


def test_pruned_source_is_hidden_and_forgotten_in_a_merge_of_all(tmp_path: Path) -> None:
    """A row that says ``pruned`` hides older ones; a merge of all parts leaves nothing of the source."""
    store = store_in(tmp_path)
    store.write("1", [row("a.jpg"), row("b.jpg")])
    store.write("2", [row("a.jpg", status="pruned", at=2.0)])
    assert [told["relative"] for told in read_rows(str(tmp_path))] == ["b.jpg"]

    store.merge()

    assert [relative for relative, _ in store.states()] == ["b.jpg"]


def test_pruned_source_stays_hidden_in_a_merge_of_some(tmp_path: Path) -> None:
    """A merge that leaves older rows elsewhere keeps the row that hides them."""
    store = store_in(tmp_path)
    store.write("1", [row(f"{number}.jpg", sha256=hex(hash(str(number)))) for number in range(500)])
    store.write("2", [row("0.jpg", status="pruned", at=2.0)])
    store.write("3", [row("1.jpg", at=2.0)])

    store.merge()

    assert len(store.parts()) == 2
    assert "0.jpg" not in [told["relative"] for told in read_rows(str(tmp_path))]


def test_rows_of_the_first_format_are_read(tmp_path: Path) -> None:
    """A catalogue of plain, unsorted parts is taken over as it is."""
    store = store_in(tmp_path)
    folder = tmp_path / "_piktid" / "catalogue"
    folder.mkdir(parents=True)
    whole = [row("a.jpg", schema=1), row("c.jpg", schema=1)]
    batch = [row("z.jpg", schema=1), row("a.jpg", schema=1, at=2.0), row("b.jpg", schema=1)]
    for name, rows in (("part-00000000000000000001-whole", whole), ("part-run-batch-0001", batch)):
        lines = "".join(json.dumps(vars(item)) + "\n" for item in rows)
        (folder / f"{name}.jsonl").write_text(lines)

    found = [(told["relative"], told["at"]) for told in read_rows(str(tmp_path))]
    store.merge()

    assert found == [("a.jpg", 2.0), ("b.jpg", 1.0), ("c.jpg", 1.0), ("z.jpg", 1.0)]
    assert [(told["relative"], told["at"]) for told in read_rows(str(tmp_path))] == found
    assert all(name.endswith(parts.ENDING) for name in store.parts())


def test_damaged_part_is_kept_and_its_valid_rows_count(tmp_path: Path) -> None:
    """A damaged part is copied to ``damaged``, and its valid rows are kept."""
    store = store_in(tmp_path)
    (tmp_path / "_piktid" / "catalogue").mkdir(parents=True)
    part = tmp_path / "_piktid" / "catalogue" / "part-1.jsonl"
    part.write_text("".join(json.dumps(vars(row(name))) + "\n" for name in ("a.jpg", "b.jpg"))[:-40])

    snapshot = store.read()
    store.merge(snapshot.damaged)

    assert snapshot.damaged == {part.name}
    assert [told["relative"] for told in read_rows(str(tmp_path))] == ["a.jpg"]
    assert (tmp_path / "_piktid" / "damaged" / part.name).is_file()
    assert store.read().damaged == set()


def test_damaged_list_of_replaced_parts_loses_no_row(tmp_path: Path) -> None:
    """Without the list, replaced parts are read again; their rows are older or equal."""
    store = store_in(tmp_path)
    store.write("1", [row("a.jpg", at=1.0)])
    store.write("2", [row("a.jpg", at=2.0), row("b.jpg")])
    store.merge()
    before = read_rows(str(tmp_path))

    (tmp_path / "_piktid" / REPLACED).write_text("[")

    assert read_rows(str(tmp_path)) == before


def test_part_that_is_not_sorted_is_refused(tmp_path: Path) -> None:
    """Rows that are out of order would be taken for new sources."""
    store = store_in(tmp_path)
    content = b"".join(parts.pack([vars(row("b.jpg")), vars(row("a.jpg"))]))
    storage.write_bytes(store.folder.join("part-1.jsonl.gz"), content)

    with pytest.raises(PiktidRecordError, match=r"part-1.jsonl.gz is not sorted.*Nothing was submitted"):
        store.read()


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    """A catalogue with a newer schema raises, and its parts are not changed."""
    store = store_in(tmp_path)
    store.write("1", [row(schema=catalogue.SCHEMA_VERSION + 1)])
    before = files_of(tmp_path)

    with pytest.raises(PiktidRecordError, match="schema 3"):
        store.read()

    assert files_of(tmp_path) == before
