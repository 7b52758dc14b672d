# SPDX-License-Identifier: Apache-2.0
"""List the files below a folder in the order of their paths, without keeping the whole listing in memory."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any

from airflow_provider_piktid.files.storage import Location

#: Path below the folder, and what the store says about the file: ``size``, ``type``, date and version.
Listed = tuple[str, Mapping[str, Any]]

#: Folders that are listed ahead at the same time, on stores that answer over a network.
AHEAD = 8

#: How the name of an S3 directory bucket ends; such a bucket is not listed in order.
DIRECTORY_BUCKET = "--x-s3"

#: A folder with more subfolders than this is listed as a whole: one request for each would take longer.
MANY_FOLDERS = 1000


def walk(folder: Location, *, without: str | None = None) -> Iterator[Listed]:
    """
    Yield each file below a folder, sorted by path; nothing if the folder does not exist.

    Local folders are read one by one. S3 is read page by page, other stores one first-level folder at a time; on stores
    with network access, up to :data:`AHEAD` first-level folders at once.

    :param without: Name of a subfolder that is left out. Default: none.
    :raises OSError: A folder cannot be listed. What a listing leaves out would count as removed.
    """
    if folder.is_local:
        return _local(folder.path.rstrip("/") or "/", "", without)
    folder.fs.invalidate_cache()
    start = len(folder.path.rstrip("/")) + 1
    streams = _s3_streams if hasattr(folder.fs, "call_s3") else _streams
    skipped = f"{folder.path.rstrip('/')}/{without}/" if without else None
    chosen = streams(folder.fs, folder.path.rstrip("/"), skipped)
    listed = _ahead(chosen, AHEAD if folder.fs.async_impl else 1)
    named = ((path[start:], info) for path, info in listed if len(path) > start)
    return _in_order(named, folder)


def sizes_below(folder: Location) -> dict[str, int]:
    """Map the relative path of every file below a folder to its size; empty if the folder does not exist."""
    return dict(iter_sizes(folder))


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

        waiting = deque(map(begun, islice(streams, count)))
        while waiting:
            pages, page = waiting.popleft()
            waiting.extend(map(begun, islice(streams, 1)))
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


def _found(fs: Any, folder: str) -> Iterator[list[Listed]]:
    yield sorted(fs.find(folder, detail=True).items())


def _s3_streams(fs: Any, path: str, skipped: str | None) -> Iterator[Stream]:
    """Return streams of pages; ``find`` of s3fs would keep the whole listing."""
    bucket, _, key = path.partition("/")
    if bucket.endswith(DIRECTORY_BUCKET):
        return _streams(fs, path, skipped)
    prefix = f"{key}/" if key else ""

    def pages(start: str) -> Iterator[list[Listed]]:
        token: dict[str, str] = {}
        while True:
            page = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=start, **token)
            yield _s3_files(bucket, page)
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    top = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, Delimiter="/")
    folders = [item["Prefix"] for item in top.get("CommonPrefixes", ())]
    if top.get("IsTruncated") or len(folders) < 2:
        return iter([lambda: pages(prefix)])
    streams: dict[str, Stream] = {f"{bucket}/{folder}": partial(pages, folder) for folder in folders}
    streams |= {file[0]: partial(_one_page, [file]) for file in _s3_files(bucket, top)}
    return iter([streams[name] for name in sorted(streams) if name != skipped])


def _one_page(files: list[Listed]) -> Iterator[list[Listed]]:
    return iter([files])


def _s3_files(bucket: str, page: Mapping[str, Any]) -> list[Listed]:
    return [(f"{bucket}/{item['Key']}", _s3_info(item)) for item in page.get("Contents", ())]


def _s3_info(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "size": item["Size"],
        "type": "file",
        "ETag": item.get("ETag"),
        "LastModified": item["LastModified"],
    }
