# SPDX-License-Identifier: Apache-2.0
"""Sources are found and read in pieces; files appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_piktid.exceptions import PiktidImageError
from airflow_provider_piktid.files import receive, storage
from airflow_provider_piktid.files.formats import V2_FORMATS
from airflow_provider_piktid.files.search import find_images
from airflow_provider_piktid.files.storage import Location, SourceFile, check_images, locate
from airflow_provider_piktid.files.walk import sizes_below
from tests.support.batch import JPEG


def put(folder: Path, *names: str, content: bytes = JPEG) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def found(images: Any, **options: Any) -> list[str]:
    return [file.relative for file in find_images(images, formats=V2_FORMATS, **options)]


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def broken(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    raise ConnectionResetError


# -- finding ----------------------------------------------------------------------------------------------------


def test_folder_is_taken_with_everything_below_it(tmp_path: Path) -> None:
    """Images are found by their extension, in upper or lower case, and sorted."""
    put(tmp_path, "b.JPG", "a/x.jpeg", "a/b/y.PNG", "notes.txt", "c.webp", "jpg")

    assert found(str(tmp_path)) == ["a/b/y.PNG", "a/x.jpeg", "b.JPG"]


def test_hidden_and_own_files_are_left_out(tmp_path: Path) -> None:
    """Files of this package or of an editor are skipped."""
    put(tmp_path, "a.jpg", ".hidden.jpg", ".git/x.jpg", "_piktid/x.jpg", "sub/_piktid/x.jpg")

    assert found(str(tmp_path)) == ["a.jpg"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.jpg", ["a.jpg", "b.jpg"]),
        ("**/*.jpg", ["a.jpg", "b.jpg", "sub/c.jpg"]),
        ("[ab].jpg", ["a.jpg", "b.jpg"]),
        ("s?b/*", ["sub/c.jpg"]),
    ],
)
def test_glob_gives_paths_below_its_fixed_part(tmp_path: Path, pattern: str, names: list[str]) -> None:
    """Relative paths start after the part of the glob without wildcards."""
    put(tmp_path, "a.jpg", "b.jpg", "sub/c.jpg", "a.txt")

    assert found(f"{tmp_path}/{pattern}") == names


def test_name_that_exists_is_never_a_glob(tmp_path: Path) -> None:
    """An existing path with glob characters is not treated as a glob."""
    put(tmp_path / "shoot [1]", "a.jpg")
    put(tmp_path, "x[2]*.jpg")

    assert found(str(tmp_path / "shoot [1]")) == ["a.jpg"]
    assert found(str(tmp_path / "x[2]*.jpg")) == ["x[2]*.jpg"]


def test_odd_characters_in_names_do_no_harm(tmp_path: Path) -> None:
    """File names may contain characters that are special in URLs."""
    names = ["100%.jpg", "a b.jpg", "q?x=1.jpg", "s#1.jpg", "ü%20.jpg", "名前.jpg"]
    put(tmp_path, *names)

    assert found(str(tmp_path)) == sorted(names)
    assert all(file.read(0, 16) == JPEG[:16] for file in find_images(str(tmp_path), formats=V2_FORMATS))


def test_links_to_files_are_followed(tmp_path: Path) -> None:
    """Symlinks to files are followed."""
    put(tmp_path / "real", "a.jpg")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.jpg").symlink_to(tmp_path / "real" / "a.jpg")

    (file,) = find_images(str(tmp_path / "in"), formats=V2_FORMATS)

    assert (file.relative, file.size) == ("b.jpg", len(JPEG))


def test_file_that_is_named_counts_whatever_its_ending(tmp_path: Path) -> None:
    """A file that is named explicitly is found, whatever its extension is."""
    put(tmp_path, "scan.img")

    assert found(str(tmp_path / "scan.img")) == ["scan.img"]


def test_several_entries_are_named_by_what_they_do_not_share(tmp_path: Path) -> None:
    """Relative paths of several entries start after their common folder; a file counts once."""
    put(tmp_path, "red/a.jpg", "blue/a.jpg", "blue/deep/b.jpg")

    names = found([f"{tmp_path}/red", f"{tmp_path}/blue", f"{tmp_path}/blue/a.jpg"])

    assert names == ["blue/a.jpg", "blue/deep/b.jpg", "red/a.jpg"]


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        ("*_INTERNAL_*", ["a.jpg", "sub/b.jpg"]),
        (["sub/*", "a.jpg"], ["x_INTERNAL_.jpg"]),
        ((), ["a.jpg", "sub/b.jpg", "x_INTERNAL_.jpg"]),
    ],
    ids=["by name", "by path", "nothing"],
)
def test_exclude(tmp_path: Path, exclude: Any, left: list[str]) -> None:
    """Patterns match the relative path or the name."""
    put(tmp_path, "a.jpg", "sub/b.jpg", "x_INTERNAL_.jpg")

    assert found(str(tmp_path), exclude=exclude) == left


@pytest.mark.parametrize("prefix", ["", "file://"], ids=["path", "uri"])
def test_local_paths_and_uris_are_the_same(tmp_path: Path, prefix: str) -> None:
    """A path and its ``file://`` URI lead to the same file."""
    put(tmp_path, "a #1.jpg")

    (file,) = find_images(f"{prefix}{tmp_path}", formats=V2_FORMATS)

    assert file.location.uri == f"file://{tmp_path}/a #1.jpg"
    assert found(file.location.uri) == ["a #1.jpg"]


@pytest.mark.parametrize(
    ("images", "words"),
    [
        pytest.param("{tmp}/missing", "does not exist", id="missing folder"),
        pytest.param("{tmp}/missing/*.jpg", "No image matches", id="glob in a missing folder"),
        pytest.param("{tmp}/empty", "No image matches", id="empty folder"),
        pytest.param("{tmp}/texts", "0 found", id="folder without pictures"),
        pytest.param([], "list of images is empty", id="empty list"),
        pytest.param(["{tmp}/shoot", "{tmp}/missing"], "missing does not exist", id="one of two missing"),
    ],
)
def test_nothing_to_take_is_an_error_that_names_it(tmp_path: Path, images: Any, words: str) -> None:
    """The message names the entry and the remedy."""
    put(tmp_path, "texts/a.txt", "shoot/a.jpg")
    (tmp_path / "empty").mkdir()
    given = [text.format(tmp=tmp_path) for text in images] if images == list(images) else images
    given = given.format(tmp=tmp_path) if isinstance(given, str) else given

    with pytest.raises(PiktidImageError, match=words):
        find_images(given, formats=V2_FORMATS)


def test_everything_excluded_is_told_apart_from_nothing_found(tmp_path: Path) -> None:
    """The message counts what was found and what was excluded."""
    put(tmp_path, "a.jpg", "b.jpg")

    with pytest.raises(PiktidImageError, match="2 found, 2 excluded"):
        find_images(str(tmp_path), exclude="*", formats=V2_FORMATS)


# -- looking into files -----------------------------------------------------------------------------------------


def test_check_names_every_file_that_is_no_picture(tmp_path: Path) -> None:
    """One error names all problems, so that they can be corrected at once."""
    put(tmp_path, "good.jpg")
    put(tmp_path, "text.jpg", content=b"hello")
    put(tmp_path, "empty.png", content=b"")

    with pytest.raises(PiktidImageError) as caught:
        check_images(find_images(str(tmp_path), formats=V2_FORMATS), V2_FORMATS)

    lines = str(caught.value).splitlines()
    assert [("empty.png" in line, "text.jpg" in line) for line in lines] == [(True, False), (False, True)]


def test_check_of_many_bad_files_stays_readable(tmp_path: Path) -> None:
    """The error names ten invalid files and counts the rest."""
    put(tmp_path, *(f"{n}.jpg" for n in range(25)), content=b"text")

    with pytest.raises(PiktidImageError) as caught:
        check_images(find_images(str(tmp_path), formats=V2_FORMATS), V2_FORMATS)

    assert len(str(caught.value).splitlines()) == 11
    assert str(caught.value).endswith("15 more")


def test_check_of_a_file_that_vanished_names_it(tmp_path: Path) -> None:
    """A file that cannot be read is reported as such."""
    put(tmp_path, "a.jpg")
    files = find_images(str(tmp_path), formats=V2_FORMATS)
    (tmp_path / "a.jpg").unlink()

    with pytest.raises(PiktidImageError, match=r"a\.jpg cannot be read"):
        check_images(files, V2_FORMATS)


@pytest.mark.anyio
async def test_source_is_read_in_pieces_and_from_the_start_each_time(tmp_path: Path) -> None:
    """A source is read in chunks, and from the beginning each time."""
    content = os.urandom(storage.READ_BYTES * 2 + 5)
    put(tmp_path, "a.jpg", content=content)
    (file,) = find_images(str(tmp_path), formats=V2_FORMATS)

    for _ in range(2):
        chunks = [chunk async for chunk in file.chunks()]
        assert [len(chunk) for chunk in chunks] == [storage.READ_BYTES, storage.READ_BYTES, 5]
        assert b"".join(chunks) == content


@pytest.mark.anyio
async def test_source_asks_its_store_for_moderate_blocks() -> None:
    """Some stores read 50 MiB ahead for each open file by default."""
    asked: dict[str, Any] = {}

    class Store:
        def open(self, path: str, mode: str, **options: Any) -> Any:
            asked.update(options)
            return open(os.devnull, mode)

    file = SourceFile(storage.Location(Store(), "x", "s3://"), "x", 0)

    assert [chunk async for chunk in file.chunks()] == []
    assert asked["block_size"] <= 8 * 1024 * 1024


# -- writing ----------------------------------------------------------------------------------------------------


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_write_makes_folders_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    """Only the file itself is there afterwards."""
    storage.write_bytes(locate(str(tmp_path / "a/b/c.json")), b"1")
    storage.write_bytes(locate(str(tmp_path / "a/b/c.json")), b"2")

    assert everything(tmp_path) == ["a/b/c.json"]
    assert storage.read_json(locate(str(tmp_path / "a/b/c.json"))) == 2


def test_failed_write_keeps_the_old_file_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed write keeps the old file and leaves no temporary file."""
    target = locate(str(tmp_path / "c.json"))
    storage.write_bytes(target, b"1")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="space"):
        storage.write_bytes(target, b"2")
    assert everything(tmp_path) == ["c.json"]
    assert storage.read_json(target) == 1


def test_read_json_of_nothing_is_none_and_of_junk_an_error(tmp_path: Path) -> None:
    """A missing file returns None, and invalid JSON raises."""
    assert storage.read_json(locate(str(tmp_path / "no.json"))) is None
    put(tmp_path, "junk.json", content=b"{")

    with pytest.raises(ValueError, match="Expecting"):
        storage.read_json(locate(str(tmp_path / "junk.json")))


def test_check_writable_leaves_nothing(tmp_path: Path) -> None:
    """The probe is removed, and a missing folder is created."""
    storage.check_writable(locate(str(tmp_path / "new")))

    assert everything(tmp_path) == []


def test_check_writable_tells_a_folder_that_cannot_be(tmp_path: Path) -> None:
    """The check raises if a file has the name of the folder."""
    put(tmp_path, "out", content=b"")

    with pytest.raises(OSError, match="out"):
        storage.check_writable(locate(str(tmp_path / "out")))


@pytest.mark.anyio
async def test_landing_measures_what_arrives_and_publishes_it(tmp_path: Path) -> None:
    """Size, digest, head and tail are known before the file is renamed."""
    folder = locate(str(tmp_path / "out"))

    async with receive.receive(folder, pieces(b"a" * 10, b"b" * 100, b"c" * 3), "m") as received:
        assert everything(tmp_path) == [f"out/{os.path.basename(received.temporary)}"]
        await receive.publish(received, folder.join("sub/x.jpg"))

    assert everything(tmp_path) == ["out/sub/x.jpg"]
    assert received.size == 113
    assert received.sha256 == storage.digest(folder.join("sub/x.jpg"))
    assert received.head == b"a" * 10 + b"b" * 6
    assert received.tail == b"b" * 61 + b"c" * 3


@pytest.mark.anyio
async def test_landing_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    """A broken transfer leaves no file."""
    with pytest.raises(ConnectionResetError):
        async with receive.receive(locate(str(tmp_path)), broken(b"half"), "m"):
            pass

    assert everything(tmp_path) == []


@pytest.mark.anyio
async def test_landing_that_is_not_published_leaves_nothing(tmp_path: Path) -> None:
    """A file that is not published is removed."""
    async with receive.receive(locate(str(tmp_path)), pieces(b"text"), "m"):
        pass

    assert everything(tmp_path) == []


@pytest.mark.anyio
async def test_new_file_replaces_nothing(tmp_path: Path) -> None:
    """A file is published under a new name, and not under a name that another file has."""
    put(tmp_path, "taken.jpg", content=b"other")
    folder = locate(str(tmp_path))

    async with receive.receive(folder, pieces(b"text"), "m") as received:
        assert not await receive.publish_new(received, folder.join("taken.jpg"))
        assert await receive.publish_new(received, folder.join("new.jpg"))

    assert everything(tmp_path) == ["new.jpg", "taken.jpg"]
    assert (tmp_path / "taken.jpg").read_bytes() == b"other"
    assert (tmp_path / "new.jpg").read_bytes() == b"text"


@pytest.mark.anyio
async def test_new_file_needs_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without hard links a new file is renamed, and still replaces nothing."""

    def refuse(*_: Any) -> None:
        raise PermissionError("no links")

    monkeypatch.setattr(os, "link", refuse)
    put(tmp_path, "taken.jpg", content=b"other")
    folder = locate(str(tmp_path))

    async with receive.receive(folder, pieces(b"text"), "m") as received:
        assert not await receive.publish_new(received, folder.join("taken.jpg"))
        assert await receive.publish_new(received, folder.join("new.jpg"))

    assert (tmp_path / "taken.jpg").read_bytes() == b"other"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("before", "part"), [(b"text", True), (b"te", True), (b"texts", False), (b"tax", False)]
)
async def test_part_of_a_file_is_recognized(tmp_path: Path, before: bytes, part: bool) -> None:
    """A file with the same content, or with the beginning of it, is a part of it; any other is not."""
    put(tmp_path, "a.jpg", content=before)
    folder = locate(str(tmp_path))

    async with receive.receive(folder, pieces(b"text"), "m") as received:
        assert await receive.is_part_of(folder.join("a.jpg"), received) is part


class Killed(BaseException):
    """Ends an upload as SIGKILL does."""


class VisibleUploads(MemoryFileSystem):  # type: ignore[misc] # fsspec is not typed
    """A store that shows a file while it is uploaded, as SFTP and SMB do."""

    killed = True

    def put_file(self, lpath: str, rpath: str, *_: Any, **__: Any) -> None:
        content = Path(lpath).read_bytes()
        self.pipe_file(rpath, content[: len(content) // 2])
        if self.killed:
            raise Killed
        self.pipe_file(rpath, content)

    def rm_file(self, path: str) -> None:
        if not self.killed:
            super().rm_file(path)


@pytest.mark.anyio
@pytest.mark.parametrize("publish", [receive.publish, receive.publish_new], ids=["replace", "new"])
async def test_upload_that_is_killed_shows_no_half_file(publish: Any) -> None:
    """On a store that shows unfinished uploads, a file gets its name only when it is complete."""
    store = VisibleUploads()
    target = Location(store, f"/{publish.__name__}/a.jpg", "memory://")
    async with receive.receive(target, pieces(b"text"), "m") as received:
        store.killed = True
        with pytest.raises(Killed):
            await publish(received, target)
        assert not store.exists(target.path)

        store.killed = False
        await publish(received, target)

    assert store.cat_file(target.path) == b"text"


def test_removal_takes_only_half_files_of_the_same_run(tmp_path: Path) -> None:
    """Only the partial files of the same run are removed."""
    names = [".m.1.part", "_piktid/.m.json.2.part", ".other.3.part", "m.jpg", ".m.jpg", "photo.part"]
    put(tmp_path, *names)
    folder = locate(str(tmp_path))

    receive.remove_partial_files(folder, sizes_below(folder), "m")

    assert everything(tmp_path) == sorted(names[2:])


def test_sizes_below_a_missing_folder_are_none(tmp_path: Path) -> None:
    """A first run finds nothing, which is not an error."""
    assert sizes_below(locate(str(tmp_path / "no"))) == {}
    put(tmp_path, "a/b.jpg", content=b"123")
    assert sizes_below(locate(str(tmp_path))) == {"a/b.jpg": 3}
