# SPDX-License-Identifier: Apache-2.0
"""List the files below a folder in the order of their paths, without keeping the whole listing in memory."""

from __future__ import annotations

import itertools
import os
import posixpath
import stat
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from airflow_provider_piktid.files.storage import Location

#: Path below the folder, and what the store says about the file: ``size``, ``type``, date and version.
Listed = tuple[str, Mapping[str, Any]]

#: Folders that are listed ahead at the same time, on stores that answer over a network.
AHEAD = 8

#: Pages of S3 that are read one after the other: a short listing needs no request for each folder.
PAGES = 10

#: How the name of an S3 directory bucket ends; such a bucket is not listed in order.
DIRECTORY_BUCKET = "--x-s3"

#: A folder with more subfolders than this is listed as a whole: one request for each would take longer.
MANY_FOLDERS = 1000


def walk(folder: Location, *, without: str | None = None) -> Iterator[Listed]:
    """
    Yield each file below a folder, sorted by path; nothing if the folder does not exist.

    Local folders are read one by one, S3 page by page, other stores one first-level folder at a time; of a long listing
    on a store with network access, up to :data:`AHEAD` first-level folders at once.

    :param without: Name of a subfolder that is left out. Default: none.
    :raises OSError: A folder cannot be listed. What a listing leaves out would count as removed.
    """
    if folder.is_local:
        return _local(folder.path.rstrip("/") or "/", "", without)
    fs, root = folder.fs, folder.path.rstrip("/")
    fs.invalidate_cache()
    skipped = f"{root}/{without}/" if without else None
    if hasattr(fs, "call_s3") and not root.partition("/")[0].endswith(DIRECTORY_BUCKET):
        listed = _s3(fs, root, skipped)
    else:
        listed = _ahead(_streams(fs, root, skipped), AHEAD if fs.async_impl else 1)
    start = len(root) + 1
    return _in_order(((path[start:], info) for path, info in listed if len(path) > start), folder)


def sizes_below(folder: Location) -> dict[str, int]:
    """Map the relative path of every file below a folder to its size; empty if the folder does not exist."""
    return dict(iter_sizes(folder))


def sizes_in(folder: Location, relative: str) -> dict[str, int]:
    """
    Map the path of every file in one subfolder, without those below it, to its size; empty if it does not exist.

    :param relative: Path of the subfolder below the folder, to which the paths are relative too; may be empty.
    """
    place = folder.join(relative) if relative else folder
    start = f"{relative}/" if relative else ""
    try:
        if place.is_local:
            names = [
                entry.name for entry in os.scandir(place.path) if not entry.is_dir(follow_symlinks=False)
            ]
            found = {name: _local_info(os.path.join(place.path, name)) for name in names}
            return {start + name: info["size"] for name, info in found.items() if info}
        place.fs.invalidate_cache()
        entries = [entry for entry in place.fs.ls(place.path, detail=True) if entry["type"] == "file"]
    except FileNotFoundError:
        return {}
    return {start + posixpath.basename(entry["name"]): int(entry["size"] or 0) for entry in entries}


def iter_sizes(folder: Location, *, without: str | None = None) -> Iterator[tuple[str, int]]:
    """
    Yield the relative path of every file below a folder with its size, sorted by path.

    :param without: Name of a subfolder that is left out. Default: none.
    """
    return ((relative, int(info["size"] or 0)) for relative, info in walk(folder, without=without))


def _in_order(listed: Iterator[Listed], folder: Location) -> Iterator[Listed]:
    """Check the order: a comparison of two listings would take what comes too late for removed."""
    last = ""
    for item in listed:
        if item[0] <= last:
            raise OSError(f"{folder.uri} is not listed in order: {item[0]!r} after {last!r}.")
        last = item[0]
        yield item


def _local(folder: str, prefix: str, without: str | None = None) -> Iterator[Listed]:
    # Only names are kept, as one folder may have a million files.
    try:
        with os.scandir(folder) as entries:
            names = [entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in entries]
    except FileNotFoundError:
        return
    # With its slash, a folder is sorted as the paths below it are.
    for name in sorted(names):
        if name.endswith("/"):
            if name[:-1] == without:
                continue
            yield from _local(os.path.join(folder, name[:-1]), prefix + name)
        elif info := _local_info(os.path.join(folder, name)):
            yield prefix + name, info


def _local_info(path: str) -> dict[str, Any] | None:
    """Describe a file, or the target of a link; None if it is neither, or was removed since it was listed."""
    try:
        found = os.stat(path)
    except OSError:
        # A dangling link is reported as an empty file.
        return {"size": 0, "type": "file"} if os.path.islink(path) else None
    if not stat.S_ISREG(found.st_mode):
        return None
    return {"size": found.st_size, "type": "file", "mtime": found.st_mtime}


#: Lists one folder when it is called.
Stream = Callable[[], Iterator[list[Listed]]]


def _ahead(streams: Iterator[Stream], count: int) -> Iterator[Listed]:
    """Yield what streams list, in order; the next page of this stream and the first ones of others are read ahead."""
    with ThreadPoolExecutor(count) as pool:

        def begun(stream: Stream) -> tuple[Iterator[list[Listed]], Future[Any]]:
            pages = stream()
            return pages, pool.submit(next, pages, None)

        waiting = deque(map(begun, itertools.islice(streams, count)))
        while waiting:
            pages, page = waiting.popleft()
            waiting.extend(map(begun, itertools.islice(streams, 1)))
            while (found := page.result()) is not None:
                page = pool.submit(next, pages, None)
                yield from found


def _streams(fs: Any, path: str, skipped: str | None) -> Iterator[Stream]:
    """Return streams of the entries of a folder: files as they are, folders with all that is below them."""
    try:
        entries = fs.ls(path, detail=True)
    except FileNotFoundError:
        return iter(())
    folders = [entry["name"].rstrip("/") for entry in entries if entry["type"] == "directory"]
    if len(folders) > MANY_FOLDERS:
        return iter([partial(_found, fs, path)])
    streams: dict[str, Stream] = {f"{folder}/": partial(_found, fs, folder) for folder in folders}
    files = [(entry["name"], entry) for entry in entries if entry["type"] != "directory"]
    streams |= {file[0]: partial(_one_page, [file]) for file in files}
    return iter([streams[name] for name in sorted(streams) if name != skipped])


def _one_page(files: list[Listed]) -> Iterator[list[Listed]]:
    return iter([files])


def _found(fs: Any, folder: str) -> Iterator[list[Listed]]:
    yield sorted(fs.find(folder, detail=True).items())


class _S3Pages:
    """
    The pages of a prefix; ``find`` of s3fs would keep the whole listing.

    :param after: Key after which to begin; empty for the first one.
    :param limit: Pages to read. Default: all.
    """

    def __init__(self, fs: Any, bucket: str, prefix: str, after: str, limit: int | None = None) -> None:
        self._request = partial(fs.call_s3, "list_objects_v2", Bucket=bucket, Prefix=prefix)
        self._bucket = bucket
        self._limit = limit
        #: The last key that was read.
        self.last = after
        self.is_complete = False

    def __iter__(self) -> Iterator[list[Listed]]:
        position = {"StartAfter": self.last} if self.last else {}
        for _ in itertools.count() if self._limit is None else range(self._limit):
            page = self._request(**position)
            files: list[Listed] = [
                (f"{self._bucket}/{item['Key']}", _s3_info(item)) for item in page.get("Contents", ())
            ]
            self.last = files[-1][0].partition("/")[2] if files else self.last
            yield files
            if not page.get("IsTruncated"):
                self.is_complete = True
                return
            position = {"ContinuationToken": page["NextContinuationToken"]}


def _s3(fs: Any, path: str, skipped: str | None) -> Iterator[Listed]:
    """List a prefix page by page; after the first pages, several folders at once."""
    bucket, _, key = path.partition("/")
    prefix = f"{key}/" if key else ""
    first = _S3Pages(fs, bucket, prefix, "", PAGES)
    listed = _ahead(iter([partial(iter, first)]), 1)
    yield from (item for item in listed if not (skipped and item[0].startswith(skipped)))
    if not first.is_complete:
        yield from _ahead(_s3_streams(fs, bucket, prefix, first.last, skipped), AHEAD)


def _s3_streams(fs: Any, bucket: str, prefix: str, after: str, skipped: str | None) -> Iterator[Stream]:
    """Return streams of what comes after a key: of each folder, and of the files between them."""
    # Stores differ in which folders come after a key, so all are listed, and compared here.
    top = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, Delimiter="/")
    folders = [item["Prefix"] for item in top.get("CommonPrefixes", ())]
    if top.get("IsTruncated"):
        return iter([partial(iter, _S3Pages(fs, bucket, prefix, after))])
    streams: dict[str, Stream] = {
        f"{bucket}/{folder}": partial(iter, _S3Pages(fs, bucket, folder, after))
        for folder in folders
        if folder > after or after.startswith(folder)
    }
    for item in top.get("Contents", ()):
        if item["Key"] > after:
            name = f"{bucket}/{item['Key']}"
            streams[name] = partial(_one_page, [(name, _s3_info(item))])
    return iter([streams[name] for name in sorted(streams) if name != skipped])


def _s3_info(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "size": item["Size"],
        "type": "file",
        "ETag": item.get("ETag"),
        "LastModified": item["LastModified"],
    }
