# SPDX-License-Identifier: Apache-2.0
"""
Equal content is bought once: which sources need an output that exists already for another source.

Only a source whose size equals that of a known source, or of another source to submit, is read for its SHA-256.
"""

from __future__ import annotations

import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.names import output_stem
from airflow_provider_piktid.files.storage import SourceFile
from airflow_provider_piktid.refresh.catalogue import (
    ROW_BASE,
    WORK,
    CatalogueRow,
    Reason,
    SourceState,
    Status,
    equal_entries,
)
from airflow_provider_piktid.refresh.request import RefreshRequest

#: Sources that are read at the same time.
WORKERS = 8

#: From which known source the output is taken, if several have the content: the first of these statuses.
ORDER: tuple[Status, ...] = ("done", "pending", "lost", "unknown", "failed")

#: Sources with an output at PiktID that is not in the folder.
WAITING: tuple[Reason, ...] = ("pending", "lost")

Classified = tuple[SourceFile, Reason]


@dataclass
class Reuse:
    """
    What equal content saves.

    :param owners: Relative path of a source to that of the known source whose output it gets.
    :param attempts: How often the content of a source was submitted under another name.
    :param digests: Relative path of a source to the SHA-256 of its content, where it was needed.
    """

    owners: dict[str, str] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)


class EqualContent:
    """
    Finds sources with content that the catalogue has, bought with the same options.

    :param present: Relative path of each file in the output folder to its size.
    :param reuse: Where the findings are noted.
    """

    def __init__(
        self,
        request: RefreshRequest,
        known: Mapping[str, SourceState],
        present: Mapping[str, int],
        reuse: Reuse,
    ) -> None:
        self._request = request
        self._known = known
        self._present = present
        self._sizes: Counter[int] = Counter()
        self.reuse = reuse

    def apply(self, classified: Sequence[Classified]) -> list[Classified]:
        """Return the sources with their reasons; those that need no purchase have another one than before."""
        work = [file for file, reason in classified if reason in WORK]
        waiting = [file.relative for file, reason in classified if reason in WAITING]
        if not work and not waiting:
            return list(classified)
        self._sizes = Counter(file.size for file in work)
        owners = self._owners(
            {*self._sizes, *(self._known[name].size for name in waiting if name in self._known)}
        )
        self._read(file for file in work if file.size in owners)
        return [
            (file, self._reason(file, reason, owners.get(self._size(file), {})))
            for file, reason in classified
        ]

    def read_equal_sizes(self, files: Iterable[SourceFile]) -> None:
        """Note the SHA-256 of those sources to submit that have the size of another one."""
        self._read(file for file in files if self._sizes[file.size] > 1)

    def _size(self, file: SourceFile) -> int:
        state = self._known.get(file.relative)
        return state.size if state is not None and state.status in WAITING else file.size

    def _owners(self, sizes: set[int]) -> dict[int, dict[str, list[str]]]:
        """Return known sources by size and SHA-256."""
        owners: dict[int, dict[str, list[str]]] = {}
        for relative, state in self._known.items():
            if state.size in sizes and state.sha256 and state.options_key == self._request.options_key:
                owners.setdefault(state.size, defaultdict(list))[state.sha256].append(relative)
        return owners

    def _read(self, files: Iterable[SourceFile]) -> None:
        """Note the SHA-256 of sources; one that cannot be read is reported when its format is checked."""

        def read(file: SourceFile) -> str | None:
            try:
                return storage.digest(file.location)
            except OSError:
                return None

        unread = [file for file in files if file.relative not in self.reuse.digests]
        with ThreadPoolExecutor(WORKERS) as pool:
            for file, digest in zip(unread, pool.map(read, unread), strict=True):
                if digest:
                    self.reuse.digests[file.relative] = digest

    def _reason(self, file: SourceFile, reason: Reason, owners: Mapping[str, list[str]]) -> Reason:
        if reason in WAITING:
            return self._reason_of_waiting(file.relative, reason, owners)
        if reason not in WORK:
            return reason
        names = [name for name in owners.get(self._digest(file), ()) if name != file.relative]
        owner = min(names, key=self._rank, default=None)
        if owner is None:
            return reason
        state = self._known[owner]
        if state.status == "unknown":
            return reason if self._request.resubmit else "unknown"
        if state.status == "failed":
            self.reuse.attempts[file.relative] = state.attempts
            return "failed" if state.attempts < self._request.max_attempts else "given up"
        if state.status == "rejected":
            return reason
        if state.status == "lost" and self._request.rebuilds(state):
            return reason
        self.reuse.owners[file.relative] = owner
        return "equal"

    def _reason_of_waiting(self, name: str, reason: Reason, owners: Mapping[str, list[str]]) -> Reason:
        """A copy of an existing output needs no PiktID; otherwise the source is downloaded from there."""
        state = self._known.get(name)
        if state is None:
            return reason
        names = [
            other for other in owners.get(state.sha256 or "", ()) if other != name and self.has_files(other)
        ]
        if not names:
            return reason
        self.reuse.owners[name] = names[0]
        return "equal"

    def _digest(self, file: SourceFile) -> str:
        return self.reuse.digests.get(file.relative, "")

    def _rank(self, name: str) -> tuple[int, bool, int, str]:
        state = self._known[name]
        place = ORDER.index(state.status) if state.status in ORDER else len(ORDER)
        return place, not self.has_files(name), -state.attempts, name

    def has_files(self, name: str) -> bool:
        """Whether a source is done and its outputs are in the folder."""
        state = self._known[name]
        return state.status == "done" and not missing_files(state, self._present)


def missing_files(state: SourceState, present: Mapping[str, int]) -> set[str]:
    """Return the outputs of a source that are not in the folder, or have another size there."""
    done = (row for row in state.rows if row["status"] == "done" and row["file"])
    return {row["file"] for row in done if _is_missing(present.get(row["file"]), row["size"])}


def _is_missing(size: int | None, expected: int | None) -> bool:
    return size is None or (expected is not None and size != expected)


def known_content(state: SourceState | None, reason: Reason) -> str | None:
    """Return the SHA-256 of a source that is submitted again although its content is unchanged."""
    same = state is not None and reason in ("options", "failed", "rebuild") and state.status != "rejected"
    return state.sha256 if same and state is not None else None


def rows_for_equal(
    rows: Iterable[Mapping[str, Any]], base: Mapping[str, Any], owner: str
) -> list[dict[str, Any]]:
    """
    Return the rows of a source from those of a source with equal content.

    They name the same job. The credits stay with the first source, so that sums count them once.

    :param base: Fields of the source itself, among them ``target`` and ``at``.
    """
    shared = {name: base[name] for name in base if name not in FROM_OWNER}
    return [
        {
            **row,
            **shared,
            "equal_to": owner,
            "credits": None,
            "file": copied_name(row, base["target"])
            if row["status"] in ("done", "lost") and row["file"]
            else None,
        }
        for row in rows
    ]


def rows_for_equal_entries(
    entry: Mapping[str, Any], upload: Mapping[str, Any], rows: Sequence[CatalogueRow]
) -> list[CatalogueRow]:
    """Return the rows of the sources that get the output of an entry too."""
    first = entry["row"]["relative"]
    plain = [vars(row) for row in rows]
    return [
        CatalogueRow(**row)
        for other in equal_entries(entry, upload)
        for row in rows_for_equal(plain, other["row"], first)
    ]


#: Fields of a row that describe what was bought, whatever the name of the source.
FROM_OWNER = (
    "attempts",
    "identity_code",
    "options_key",
    "source_sha256",
    "file_id",
    "filename",
    "project_id",
)


def copied_name(row: Mapping[str, Any], target: str) -> str:
    """Return the path of the copy of an output, named as a download of it would be."""
    extension = posixpath.splitext(row["file"])[1]
    return f"{output_stem(target)}_{row['group_index'] or 0}_v{row['version'] or 0}{extension}"


def base_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a row that describe its source, and not its outcome."""
    return {name: row[name] for name in ROW_BASE if name in row}
