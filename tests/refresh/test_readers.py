# SPDX-License-Identifier: Apache-2.0
"""Readers of a catalogue: this package, pandas and DuckDB see the same rows, as the documentation says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_piktid.refresh import iter_rows, read_rows
from tests.support.catalogue import row, store_in

PAGE = Path(__file__).parents[2] / "docs" / "refresh.md"


def documented(language: str, word: str, folder: Path) -> str:
    """Return the example of the page, for a folder."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (block,) = (block for block in blocks if word in block)
    return str(block).replace("s3://shop-out/summer", str(folder))


def with_duckdb(folder: Path) -> list[tuple[Any, ...]]:
    import duckdb

    found = documented("sql", "read_json", folder)
    return duckdb.execute(f'SELECT relative, "at", job_id FROM ({found})').fetchall()


def with_pandas(folder: Path) -> list[tuple[Any, ...]]:
    names: dict[str, Any] = {}
    exec(documented("python", "pandas", folder), names)
    return list(names["rows"][["relative", "at", "job_id"]].itertuples(index=False, name=None))


def with_this_package(folder: Path) -> list[tuple[Any, ...]]:
    return [(found["relative"], found["at"], found["job_id"]) for found in iter_rows(str(folder))]


@pytest.fixture(params=["written", "merged", "removed"])
def catalogue(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue with history, in each of the states that a merge leaves."""
    store = store_in(tmp_path)
    store.write("1", [row("a.jpg", job_id="j1"), row("b.jpg", job_id="j1"), row("c.jpg", job_id="j1")])
    store.write("2", [row("a.jpg", job_id="j2", at=2.0, group_index=0)])
    store.write("3", [row("b.jpg", status="pruned", at=3.0), row("d.jpg", job_id="j3", at=3.0)])
    if request.param != "written":
        store.merge()
    if request.param == "removed":
        monkeypatch.setattr("airflow_provider_piktid.refresh.store.REPLACED_SECONDS", -1.0)
        store.merge()
        assert len(list((tmp_path / "_piktid" / "catalogue").iterdir())) == 1
    return tmp_path


@pytest.mark.parametrize("reader", [with_this_package, with_pandas, with_duckdb])
def test_every_reader_sees_the_current_rows(catalogue: Path, reader: Any) -> None:
    """History, removed sources and parts that a merge has replaced do not appear."""
    assert sorted(reader(catalogue)) == [("a.jpg", 2.0, "j2"), ("c.jpg", 1.0, "j1"), ("d.jpg", 3.0, "j3")]


def test_rows_are_sorted_by_source(catalogue: Path) -> None:
    """``read_rows`` returns what ``iter_rows`` yields, sorted."""
    assert read_rows(str(catalogue)) == sorted(iter_rows(str(catalogue)), key=lambda found: found["relative"])
