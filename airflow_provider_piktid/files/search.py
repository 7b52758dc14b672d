# SPDX-License-Identifier: Apache-2.0
"""Find the images of paths, folders, prefixes and globs."""

from __future__ import annotations

import contextlib
import fnmatch
import itertools
import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from airflow_provider_piktid.exceptions import PiktidConfigError, PiktidImageError
from airflow_provider_piktid.files.formats import EXTENSIONS, ImageFormat
from airflow_provider_piktid.files.listing import matches, modified_in, version_in
from airflow_provider_piktid.files.storage import PRIVATE_FOLDER, Location, SourceFile, check_named, locate
from airflow_provider_piktid.files.walk import Listed, walk

_MAGIC = frozenset("*?[")
#: Files that are looked at for a glob that differs from them in upper and lower case only.
MOST_COMPARED = 10_000


def find_images(
    images: str | Sequence[str],
    *,
    exclude: str | Sequence[str] = (),
    formats: Iterable[ImageFormat],
    name: str = "images",
) -> list[SourceFile]:
    """
    List the images of paths, folders, prefixes or globs, sorted by relative path.

    A folder or prefix is listed recursively, by file extension; hidden names and ``_piktid`` folders are skipped. A
    name that exists is never used as a glob.

    :param images: One path, folder, prefix or glob, or a list of them. For a list the names are relative to the
        common folder of all entries.
    :param exclude: Glob patterns; a file is skipped if its relative path or its name matches one. Default: none.
    :param formats: Formats whose extensions are listed.
    :param name: Parameter that has the paths, for messages. Default: ``images``.
    :raises PiktidConfigError: Not a path or list of paths, or an empty one.
    :raises PiktidImageError: No image was found, or all are excluded.
    """
    entries = _entries(images, name)
    formats = list(formats)
    patterns = [exclude] if isinstance(exclude, str) else list(exclude)
    found = [file for entry in entries for file in iter_images(entry, formats, name)]
    if len(entries) > 1:
        found = _relative_to_common(found)
    kept = [file for file in found if not matches(file.relative, patterns)]
    if not kept:
        raise no_images(entries, len(found), formats)
    return sorted(kept, key=lambda file: file.relative)


def _entries(images: Any, name: str) -> list[str]:
    if images is None or isinstance(images, (str, os.PathLike)):
        check_named(name, images)
        return [str(images)]
    if isinstance(images, Mapping) or not isinstance(images, Iterable):
        raise PiktidConfigError(f"`{name}` must be a path or a list of paths, not {images!r:.80}.")
    entries = [str(entry) for entry in images]
    if not entries:
        raise PiktidImageError("The list of images is empty. Pass paths, a folder, a prefix or a glob.")
    for entry in entries:
        check_named(name, entry)
    return entries


def no_images(entries: Sequence[str], excluded: int, formats: Iterable[ImageFormat]) -> PiktidImageError:
    """Return the error for a search that found no image, or excluded all of them."""
    return PiktidImageError(
        f"No image matches {', '.join(entries[:3])}: {excluded} found, {excluded} excluded. "
        f"Pass a folder, prefix, glob or file with {', '.join(_extensions(formats))}, or change `exclude`."
        + ("" if excluded else _other_case(entries))
    )


def _other_case(entries: Sequence[str]) -> str:
    """Return a sentence that names a file that a glob would match if it ignored the case; empty if there is none."""
    for location in map(locate, entries):
        if _MAGIC.isdisjoint(location.path):
            continue
        pattern, base = (
            location.path.lower(),
            Location(location.fs, glob_base(location.path), location.prefix),
        )
        with contextlib.suppress(OSError, PiktidImageError):
            for relative, _ in itertools.islice(walk(base), MOST_COMPARED):
                if fnmatch.fnmatchcase(f"{base.path.rstrip('/')}/{relative}".lower(), pattern):
                    return f" Upper and lower case differ: there is {relative}."
    return ""


def _extensions(formats: Iterable[ImageFormat]) -> tuple[str, ...]:
    return tuple(extension for fmt in formats for extension in EXTENSIONS[fmt])


def iter_images(entry: str, formats: Iterable[ImageFormat], name: str = "images") -> Iterator[SourceFile]:
    """
    Yield the images of one path, folder, prefix or glob, sorted by relative path.

    The images of a folder are yielded while it is listed, so that a listing of any length takes little memory.

    :param name: Parameter that has the entry, for messages. Default: ``images``.
    :raises PiktidImageError: It does not exist, or cannot be read.
    """
    location = locate(entry)
    fs = location.fs
    fs.invalidate_cache()
    try:
        info = fs.info(location.path)
    except FileNotFoundError:
        info = None
    except PermissionError as error:
        raise PiktidImageError(
            f"{location.uri} cannot be read. Check its permissions, or the connection of the store."
        ) from error
    except OSError:
        raise
    except Exception as error:
        raise _unreachable(location, name, error) from error
    if info is not None and info["type"] == "file":
        return iter([source_of(location, posixpath.basename(location.path), info)])
    extensions = _extensions(formats)
    if info is not None:
        return _images(walk(location), location.path, location, extensions)
    if _MAGIC.isdisjoint(location.path):
        hint = " Several paths must be a list." if "," in entry else ""
        raise PiktidImageError(f"{location.uri} does not exist. Correct `{name}`, or create it.{hint}")
    base = glob_base(location.path)
    start = len(base.rstrip("/")) + 1
    globbed = sorted((path[start:], found) for path, found in fs.glob(location.path, detail=True).items())
    return _images(globbed, base, location, extensions)


def _unreachable(location: Location, name: str, error: Exception) -> PiktidImageError:
    """Return the error for a store that fails in its own way. It can be retried: the store may be away for a while."""
    problem = PiktidImageError(
        f"{location.uri} cannot be listed ({type(error).__name__}). Check `{name}`, and that the connection in it "
        "exists and reaches the store."
    )
    problem.permanent = False
    return problem


def _images(
    listing: Iterable[Listed], base: str, location: Location, extensions: tuple[str, ...]
) -> Iterator[SourceFile]:
    for relative, info in listing:
        if not relative.lower().endswith(extensions) or _is_private(relative):
            continue
        path = f"{base.rstrip('/')}/{relative}"
        if info.get("islink"):
            # The listing describes the link, not its target.
            try:
                info = location.fs.info(path)
            except OSError:
                # A dangling link is reported as an empty image.
                info = {**info, "type": "file", "size": 0}
        if info["type"] == "file":
            yield source_of(Location(location.fs, path, location.prefix), relative, info)


def source_of(location: Location, relative: str, info: Mapping[str, Any]) -> SourceFile:
    """Return a source file from its entry in a listing."""
    return SourceFile(location, relative, int(info["size"] or 0), version_in(info), modified_in(info))


def glob_base(pattern: str) -> str:
    """Return the longest leading folder of a path that has no magic character; a plain path is returned as it is."""
    parts = pattern.split("/")
    for position, part in enumerate(parts):
        if not _MAGIC.isdisjoint(part):
            return "/".join(parts[:position])
    return pattern


def _is_private(relative: str) -> bool:
    if "/." not in relative and PRIVATE_FOLDER not in relative and relative[0] != ".":
        return False
    return any(part.startswith(".") or part == PRIVATE_FOLDER for part in relative.split("/"))


def _relative_to_common(files: list[SourceFile]) -> list[SourceFile]:
    """Make the names of several entries relative to their common folder, and remove duplicates."""
    unique = {file.location.uri: file for file in files}
    common = ""
    if len({file.location.prefix for file in unique.values()}) == 1:
        common = posixpath.commonpath([posixpath.dirname(file.location.path) for file in unique.values()])
    start = len(common.rstrip("/")) + 1 if common else 0
    return [replace(file, relative=file.location.path[start:].lstrip("/")) for file in unique.values()]
