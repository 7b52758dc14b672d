# SPDX-License-Identifier: Apache-2.0
"""Listings in the order of paths: local folders, S3, and other stores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from airflow_provider_piktid.files import storage, walk
from airflow_provider_piktid.files.storage import Location
from tests.support.s3 import bucket_in, s3_server, stock

#: Names whose order differs if folders are listed first, by name without slash, or by the letters alone.
NAMES = (
    "a/1.jpg",
    "a/b/1.jpg",
    "a-b.jpg",
    "a.jpg",
    "a0.jpg",
    "ab/1.jpg",
    "B.jpg",
    "b/z.jpg",
    "\u00e9/1.jpg",
    "_piktid/part.gz",
    "\U0001f600.jpg",
    "\uffee.jpg",
)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(params=["local", "s3", "memory"])
def folder(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Location]:
    """Yield an empty folder of a store."""
    if request.param == "local":
        yield storage.locate(str(tmp_path))
    elif request.param == "s3":
        with bucket_in(request.getfixturevalue("endpoint"), monkeypatch) as bucket:
            yield storage.locate(f"{bucket}/in")
    else:
        yield Location(fsspec.filesystem("memory"), f"/{tmp_path.name}", "memory://")


def fill(folder: Location, names: Any = NAMES) -> None:
    for name in names:
        storage.write_bytes(folder.join(name), name.encode())


@pytest.mark.parametrize("without", [None, "_piktid"])
def test_files_are_listed_in_the_order_of_their_paths(folder: Location, without: str | None) -> None:
    """Paths come in the order of their characters, with sizes; one folder may be left out."""
    fill(folder)

    found = [(name, info["size"]) for name, info in walk.walk(folder, without=without)]

    names = sorted(name for name in NAMES if not (without and name.startswith(without)))
    assert found == [(name, len(name.encode())) for name in names]


@pytest.mark.parametrize("names", [["x.jpg"], ["a/x.jpg"], ["a/x.jpg", "b.jpg"]], ids=len)
def test_folder_with_few_entries_is_listed(folder: Location, names: list[str]) -> None:
    """One file, one folder, or one of each."""
    fill(folder, names)

    assert [name for name, _ in walk.walk(folder)] == names


def test_missing_folder_has_no_files(folder: Location) -> None:
    """A folder that does not exist is empty."""
    assert list(walk.walk(folder.join("none"))) == []


@pytest.mark.parametrize("relative", ["", "a", "a/b", "none"])
def test_sizes_in_one_folder(folder: Location, relative: str) -> None:
    """The files of one folder are listed without those below it, by their path below the whole folder."""
    fill(folder)

    found = walk.sizes_in(folder, relative)

    assert found == {name: len(name.encode()) for name in NAMES if name.rpartition("/")[0] == relative}


def test_pages_of_s3_are_read_as_they_are_needed(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prefix with several pages is listed completely; the second page is requested before it is needed."""
    with bucket_in(endpoint, monkeypatch) as bucket:
        place = storage.locate(f"{bucket}/in")
        names = [f"{number:04d}.jpg" for number in range(1500)]
        stock(f"{bucket}/in", names)
        asked: list[dict[str, Any]] = []
        call = place.fs.call_s3

        def counted(*method: str, **more: Any) -> Any:
            asked.append(more)
            return call(*method, **more)

        monkeypatch.setattr(place.fs, "call_s3", counted)

        assert [name for name, _ in walk.walk(place)] == names
        assert ["ContinuationToken" in more for more in asked] == [False, True]


@pytest.mark.parametrize("pages", [0, 1, 2, 5])
def test_long_listing_of_s3_is_continued_by_folders(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    """Wherever the first pages end, within a folder or between two, each file is listed once and in order."""
    with bucket_in(endpoint, monkeypatch) as bucket:
        place = storage.locate(f"{bucket}/in")
        fill(place, [*NAMES, *(f"a/c{number}.jpg" for number in range(5))])
        expected = list(walk.walk(place))
        call = place.fs.call_s3
        monkeypatch.setattr(place.fs, "call_s3", lambda *method, **more: call(*method, **more, MaxKeys=3))
        monkeypatch.setattr(walk, "PAGES", pages)
        assert list(walk.walk(place)) == expected
        monkeypatch.setattr(place.fs, "call_s3", small_pages(call))

        assert list(walk.walk(place)) == expected
        assert [name for name, _ in walk.walk(place, without="a")] == [
            name for name, _ in expected if not name.startswith("a/")
        ]


def small_pages(call: Any) -> Any:
    """Return a listing with three keys on each page, and all folders on one."""

    def smaller(*method: str, **more: Any) -> Any:
        return call(*method, **more, **({} if "Delimiter" in more else {"MaxKeys": 3}))

    return smaller


def test_many_first_level_folders_are_one_listing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A request for each folder would take longer than one listing of all."""
    monkeypatch.setattr(walk, "MANY_FOLDERS", 3)
    place = Location(fsspec.filesystem("memory"), f"/{tmp_path.name}", "memory://")
    fill(place)

    assert [name for name, _ in walk.walk(place)] == sorted(NAMES)


def test_listing_out_of_order_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison of two listings would take what comes too late for removed."""
    place = Location(fsspec.filesystem("memory"), f"/{tmp_path.name}", "memory://")
    files = [(f"{place.path}/{name}", {"size": 0}) for name in "ba"]
    monkeypatch.setattr(walk, "_streams", lambda *_: iter([lambda: iter([files])]))

    with pytest.raises(OSError, match="not listed in order: 'a' after 'b'"):
        list(walk.walk(place))


def test_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without permission is not taken for an empty one, whose sources were removed."""
    (tmp_path / "closed").mkdir()
    real = os.scandir

    def scandir(path: str) -> Any:
        if path.endswith("closed"):
            raise PermissionError(path)
        return real(path)

    # Root, as in many containers, may list every folder.
    monkeypatch.setattr(os, "scandir", scandir)

    with pytest.raises(PermissionError):
        list(walk.walk(storage.locate(str(tmp_path))))


def test_links_are_followed_to_files_only(tmp_path: Path) -> None:
    """A link to a file has the size of its target; one to a folder is skipped; a dangling one is empty."""
    (tmp_path / "in").mkdir()
    (tmp_path / "target.jpg").write_bytes(b"12345")
    (tmp_path / "in" / "a.jpg").symlink_to(tmp_path / "target.jpg")
    (tmp_path / "in" / "b.jpg").symlink_to(tmp_path / "none")
    (tmp_path / "in" / "c.jpg").symlink_to(tmp_path)

    found = [(name, info["size"]) for name, info in walk.walk(storage.locate(str(tmp_path / "in")))]

    assert found == [("a.jpg", 5), ("b.jpg", 0)]
