# SPDX-License-Identifier: Apache-2.0
"""
Sources that are made of several files, for types of jobs that combine all their images.

Folders are grouped while they are listed: in a sorted listing the images of a folder follow each other, unless they lie
beside a subfolder with images, which is refused. A regular expression may join files from anywhere, so all of them are
kept until the listing ends.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from airflow_provider_piktid.exceptions import PiktidConfigError
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.formats import V2_FORMATS
from airflow_provider_piktid.files.listing import matches
from airflow_provider_piktid.files.storage import Location, SourceFile

#: Value of ``group_by`` that makes each folder a source.
FOLDER: Final = "folder"

#: Files that a regular expression may group; each takes about half a kilobyte of memory.
MOST_KEPT: Final = 200_000


@dataclass(frozen=True, slots=True)
class SourceGroup(SourceFile):
    """
    Several files that are one source. Its path, relative and in its URI, ends with ``/``.

    :param files: In the order of their paths, without those that are excluded: empty if all are.
    """

    files: tuple[SourceFile, ...] = ()


class Grouping:
    """
    Makes groups of files.

    :param group_by: ``folder``, or a regular expression for relative paths, whose group is the key of the file.
    :param exclude: Glob patterns of files that are left out of their group.
    :param most: Images that one job takes.
    """

    def __init__(self, group_by: str, exclude: Sequence[str], most: int) -> None:
        self._pattern = None if group_by == FOLDER else re.compile(group_by)
        self._exclude = exclude
        self._most = most
        #: Key of each group that is not a source, to the reason.
        self.problems: dict[str, str] = {}
        self._outside = 0

    def groups(self, files: Iterator[SourceFile]) -> Iterator[SourceGroup]:
        """
        Yield the groups, sorted by relative path.

        :param files: Sorted by relative path.
        :raises PiktidConfigError: There are too many files for a regular expression.
        """
        grouped = self._by_folder(files) if self._pattern is None else self._by_pattern(files, self._pattern)
        return (self._group(key, found) for key, found in grouped)

    def _by_folder(self, files: Iterator[SourceFile]) -> Iterator[tuple[str, Iterable[SourceFile]]]:
        above: list[str] = []
        last = ""
        for key, found in itertools.groupby(files, lambda file: _folder(file.relative)):
            if not key:
                self._note_outside(found)
                continue
            is_back, last = last.startswith(key), key
            if is_back:
                # From a subfolder, which sorts between the images of this folder.
                self._note_mixed(key)
                continue
            while above and not key.startswith(above[-1]):
                above.pop()
            if above:
                self._note_mixed(above[-1])
            above.append(key)
            yield key, found

    def _by_pattern(
        self, files: Iterator[SourceFile], pattern: re.Pattern[str]
    ) -> Iterator[tuple[str, Iterable[SourceFile]]]:
        found: dict[str, list[SourceFile]] = {}
        for number, file in enumerate(files):
            if number == MOST_KEPT:
                raise PiktidConfigError(
                    f"`group_by` is a regular expression and `source` has more than {MOST_KEPT} images, which are all "
                    "kept in memory. Put each group into a folder, and use group_by='folder'. Nothing was submitted."
                )
            match = pattern.fullmatch(file.relative)
            key = (match[1] or "").strip("/") if match else ""
            if key:
                found.setdefault(f"{key}/", []).append(file)
            else:
                self._note_outside([file])
        yield from sorted(found.items())

    def _group(self, key: str, found: Iterable[SourceFile]) -> SourceGroup:
        kept: list[SourceFile] = []
        location, count = None, 0
        for file in found:
            location = location or _base(file).join(key)
            if not matches(file.relative, self._exclude):
                count += 1
                kept += [file] if count <= self._most else []
        assert location is not None
        if count > self._most:
            self.problems[key] = (
                f"{key} has {count} images, and a job takes {self._most}. Split the group, or leave some of them out "
                "with `exclude`."
            )
        parts = [(file.version, file.size, file.modified) for file in kept]
        size, modified = sum(part[1] for part in parts), max((part[2] for part in parts), default=0.0)
        return SourceGroup(location, key, size, joint_version(parts), modified, tuple(kept))

    def _note_mixed(self, key: str) -> None:
        self.problems[key] = (
            f"{key} has images and subfolders with images. Move its own images to a folder of their own, or use a "
            "regular expression as `group_by`."
        )

    def _note_outside(self, files: Iterable[SourceFile]) -> None:
        for file in files:
            if not matches(file.relative, self._exclude):
                self._outside += 1
                self.problems.setdefault("", file.location.uri)

    def reasons(self) -> list[str]:
        """Return why files were not taken, one line each."""
        lines = [reason for key, reason in self.problems.items() if key]
        if example := self.problems.get(""):
            lines.append(f"{self._outside} image(s) belong to no group by `group_by`, such as {example}.")
        return lines


def check_group_by(group_by: str | None) -> None:
    """
    Check how files are grouped.

    :raises ValueError: Neither ``folder`` nor a regular expression with one group.
    """
    if group_by in (None, FOLDER):
        return
    try:
        count = re.compile(str(group_by)).groups
    except re.error as error:
        raise ValueError(f"group_by={group_by!r} is not a regular expression: {error}") from error
    if count != 1:
        raise ValueError(
            f"group_by={group_by!r} must be 'folder', or a regular expression with one group in parentheses: the "
            "part of a path that the images of one source share"
        )


def files_of(file: SourceFile) -> tuple[SourceFile, ...]:
    """Return the files that a source is made of."""
    return file.files if isinstance(file, SourceGroup) else (file,)


def is_excluded(file: SourceFile, patterns: Sequence[str]) -> bool:
    """Return whether nothing is left of a source; a group knows this from when it was made."""
    return not file.files if isinstance(file, SourceGroup) else matches(file.relative, patterns)


def digest_of(file: SourceFile) -> str:
    """Return the SHA-256 of a source."""
    return joint_digest(storage.digest(each.location) for each in files_of(file))


def problems_of(sources: Sequence[SourceFile], workers: int) -> list[str | None]:
    """Return the problem of each source, None if all its files are supported images."""
    files = [files_of(source) for source in sources]
    found = iter(storage.image_problems(list(itertools.chain(*files)), V2_FORMATS, workers=workers))
    lines = [list(filter(None, itertools.islice(found, len(part)))) for part in files]
    return [next(iter(problems), None) for problems in lines]


def _folder(relative: str) -> str:
    folder = posixpath.dirname(relative)
    return f"{folder}/" if folder else ""


def _base(file: SourceFile) -> Location:
    """Return the folder below which a file has its relative path."""
    location = file.location
    return Location(location.fs, location.path.removesuffix(file.relative), location.prefix)


def joined(uploads: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """
    Return one upload for each source: the files of a group as one.

    :param uploads: Rows of the upload, those of a group one after the other.
    """
    grouped = itertools.groupby(uploads, lambda upload: upload.get("group") or upload["source"])
    return [_join(source, list(files)) for source, files in grouped]


def _join(source: str, files: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    first = files[0]
    if first["source"] == source:
        return first
    described = all("size" in file for file in files)
    return {
        "source": source,
        **{name: first[name] for name in ("file_id", "project_id") if name in first},
        "sha256": joint_digest(str(file["sha256"]) for file in files),
        **(_described(files) if described else {}),
    }


def _described(files: list[Mapping[str, Any]]) -> dict[str, Any]:
    parts = [(file["version"], file["size"], file["modified"]) for file in files]
    return {
        "size": sum(file["size"] for file in files),
        "version": joint_version(parts),
        "modified": max(file["modified"] for file in files),
    }


def joint_digest(digests: Iterable[str]) -> str:
    """Return one SHA-256 of several files, whatever their names and order."""
    found = sorted(digests)
    return found[0] if len(found) == 1 else hashlib.sha256("\n".join(found).encode()).hexdigest()


def joint_version(files: Iterable[tuple[str | None, int, float]]) -> str:
    """Return one version of several files from version, size and date of each, whatever their names and order."""
    parts = sorted(version or f"{size} {modified!r}" for version, size, modified in files)
    return "group-" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
