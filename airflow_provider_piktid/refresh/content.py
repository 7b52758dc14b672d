# SPDX-License-Identifier: Apache-2.0
"""
Equal content is bought once: which sources need an output that exists already for another source.

Only a source whose size equals that of a known source, or of another source to submit, is read for its SHA-256.
"""

from __future__ import annotations

import posixpath
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

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
    same_content,
)
from airflow_provider_piktid.refresh.groups import digest_of
from airflow_provider_piktid.refresh.outputs import PresentFiles
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


class ContentIndex:
    """
    Size and SHA-256 of each source that was bought with some options; the latter as hashes.

    :param options_key: The options.
    """

    def __init__(self, options_key: str) -> None:
        self._options_key = options_key
        self._sizes = array("q")
        self._contents = array("q")
        self._held: Counter[int] = Counter()

    def add(self, state: SourceState) -> None:
        """Add a source that exists in the catalogue, if it was bought with these options."""
        row = state.rows[0]
        if row["source_sha256"] and row["options_key"] == self._options_key:
            self._sizes.append(row["source_size"])
            self._contents.append(hash(row["source_sha256"]))

    def has(self, state: SourceState) -> bool:
        """Whether a source was bought with these options."""
        return bool(state.sha256) and state.options_key == self._options_key and state.status != "pruned"

    def hold(self, states: Iterable[SourceState]) -> None:
        """Note which of the sources need not be looked up: they are in memory."""
        self._held = Counter(hash(state.sha256) for state in states if self.has(state))

    def sizes(self, wanted: Iterable[int]) -> set[int]:
        """Return those sizes that a source has."""
        return set(wanted).intersection(self._sizes)

    def elsewhere(self, wanted: Iterable[str]) -> set[str]:
        """Return those SHA-256 that a source which is not in memory has, or, very rarely, seems to have."""
        digests = {hash(digest): digest for digest in wanted}
        counts = Counter(filter(digests.__contains__, self._contents))
        return {digests[found] for found, count in counts.items() if count > self._held[found]}


class EqualContent:
    """
    Finds sources with content that the catalogue has, bought with the same options.

    :param known: The catalogue of the sources that are in memory; those that are found are added.
    :param present: The files in the output folder.
    :param index: All sources of the catalogue.
    :param load: Reads the sources with these SHA-256 from the catalogue.
    :param reuse: Where the findings are noted.
    """

    def __init__(
        self,
        request: RefreshRequest,
        known: dict[str, SourceState],
        present: PresentFiles,
        index: ContentIndex,
        load: Callable[[set[str]], Iterable[tuple[str, SourceState]]],
        reuse: Reuse,
    ) -> None:
        self._request = request
        self._known = known
        self._present = present
        self._index = index
        self._load = load
        self._sizes: Counter[int] = Counter()
        self.reuse = reuse

    def apply(self, classified: Sequence[Classified]) -> list[Classified]:
        """Return the sources with their reasons; those that need no purchase have another one than before."""
        work = [file for file, reason in classified if reason in WORK]
        waiting = [file.relative for file, reason in classified if reason in WAITING]
        if not work and not waiting:
            return list(classified)
        self._note_known(classified)
        self._sizes = Counter(file.size for file in work)
        sizes = self._index.sizes(self._sizes) | {state.size for state in self._bought().values()}
        changed = [file for file, reason in classified if reason == "pending" and self._may_differ(file)]
        self._read(file for file in (*work, *changed) if file.size in sizes)
        digests = {self._digest(file) for file in (*work, *changed)}
        owners = self._owners(
            digests | {self._known[name].sha256 or "" for name in waiting if name in self._known}
        )
        return [(file, self._reason(file, reason, owners)) for file, reason in classified]

    def _note_known(self, classified: Iterable[Classified]) -> None:
        for file, reason in classified:
            if digest := known_content(self._known.get(file.relative), reason):
                self.reuse.digests[file.relative] = digest

    def _may_differ(self, file: SourceFile) -> bool:
        """Whether a source may have another content than the one whose output is to be downloaded."""
        state = self._known.get(file.relative)
        return state is not None and same_content(state, file) is not True

    def _bought(self) -> dict[str, SourceState]:
        """Return the sources in memory that were bought with these options."""
        return {name: state for name, state in self._known.items() if self._index.has(state)}

    def _owners(self, digests: set[str]) -> dict[str, list[str]]:
        """Return known sources by SHA-256."""
        if elsewhere := self._index.elsewhere(digests):
            for name, state in self._load(elsewhere):
                self._known.setdefault(name, state)
        owners: dict[str, list[str]] = {}
        for name, state in self._bought().items():
            if state.sha256 in digests:
                owners.setdefault(state.sha256 or "", []).append(name)
        return owners

    def read_equal_sizes(self, files: Iterable[SourceFile]) -> None:
        """Note the SHA-256 of those sources to submit that have the size of another one."""
        self._read(file for file in files if self._sizes[file.size] > 1)

    def _read(self, files: Iterable[SourceFile]) -> None:
        """Note the SHA-256 of sources; one that cannot be read is reported when its format is checked."""

        def read(file: SourceFile) -> str | None:
            try:
                return digest_of(file)
            except OSError:
                return None

        unread = [file for file in files if file.relative not in self.reuse.digests]
        with ThreadPoolExecutor(WORKERS) as pool:
            for file, digest in zip(unread, pool.map(read, unread), strict=True):
                if digest:
                    self.reuse.digests[file.relative] = digest

    def _reason(self, file: SourceFile, reason: Reason, owners: Mapping[str, list[str]]) -> Reason:
        if reason in WAITING:
            return self._reason_of_waiting(file, reason, owners)
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

    def _reason_of_waiting(self, file: SourceFile, reason: Reason, owners: Mapping[str, list[str]]) -> Reason:
        """
        A copy of an existing output needs no PiktID; otherwise the source is downloaded from there.

        If the source has changed meanwhile, to a content that another one had, it gets the output of that one now: in
        a later run the other one may have a new content too, and the output would be gone.
        """
        state = self._known.get(file.relative)
        if state is None:
            return reason
        digest = self._digest(file) or state.sha256 or ""
        names = [name for name in owners.get(digest, ()) if name != file.relative]
        if digest == state.sha256:
            names = [name for name in names if self.has_files(name)]
        owner = min(names, key=self._rank, default=None)
        if owner is None or self._known[owner].status not in ("done", *WAITING):
            return reason
        self.reuse.owners[file.relative] = owner
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


def missing_files(state: SourceState, present: PresentFiles) -> set[str]:
    """Return the outputs of a source that are not in the folder, or have another size there."""
    return {
        row["file"]
        for row in state.rows
        if row["status"] == "done" and row["file"] and _is_missing(present.get(row["file"]), row["size"])
    }


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
    image_index = row["image_index"] if row.get("sources") else None
    return output_name(target, image_index, row["group_index"], row["version"], row["file"])


def output_name(
    target: str, image_index: int | None, group_index: int | None, version: int | None, extension_of: str
) -> str:
    """
    Return the path of an output.

    :param image_index: Its first number, if its type of job combines images; the hyphen after it keeps such names
        apart from all others.
    :param extension_of: A name with its extension.
    """
    first = "" if image_index is None else f"{image_index}-"
    extension = posixpath.splitext(extension_of)[1]
    return f"{output_stem(target)}_{first}{group_index or 0}_v{version or 0}{extension}"


def base_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a row that describe its source, and not its outcome."""
    return {name: row[name] for name in ROW_BASE if name in row}
