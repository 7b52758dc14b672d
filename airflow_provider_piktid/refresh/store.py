# SPDX-License-Identifier: Apache-2.0
"""
The files of a catalogue: parts below ``<output>/_piktid/catalogue/``, each written by one task.

A part is written atomically under a name that only its task uses, so many tasks can write at the same time and a
task that runs again replaces its own part. Compaction writes one part with all current rows first and removes the
other parts afterwards, so a crash at any point loses no row.
"""

from __future__ import annotations

import hashlib
import io
import logging
import posixpath
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.storage import PRIVATE_FOLDER, Location, SourceFile
from airflow_provider_piktid.jobs import manifest
from airflow_provider_piktid.refresh import catalogue
from airflow_provider_piktid.refresh.catalogue import CatalogueRow, SourceState, output_fields, source_fields

log = logging.getLogger(__name__)

ENDING = ".jsonl"

#: Parts may disappear while they are read, when another task compacts them: then everything is read again.
READ_TRIES = 5

#: A catalogue is read in blocks of this size.
READ_BYTES = 1024 * 1024


@dataclass
class Snapshot:
    """
    A catalogue at the time of reading.

    :param known: Relative path of each source to its current state.
    :param parts: Names of the parts that were read.
    :param damaged: Names of parts that contain invalid lines.
    """

    known: dict[str, SourceState] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


class CatalogueStore:
    """The catalogue beside the outputs of one refresh."""

    def __init__(self, output: Location) -> None:
        self.output = output
        self.private = output.join(PRIVATE_FOLDER)
        self.folder = self.private.join("catalogue")

    def read(self) -> Snapshot:
        """
        Read all parts.

        :raises PiktidRecordError: A row has a newer schema.
        """
        for tries_left in reversed(range(READ_TRIES)):
            try:
                return self._read()
            except FileNotFoundError:
                if not tries_left:
                    raise
        raise AssertionError("unreachable")

    def _read(self) -> Snapshot:
        snapshot = Snapshot()
        for name in sorted(storage.sizes_below(self.folder)):
            if not name.endswith(ENDING) or "/" in name:
                continue
            snapshot.parts.append(name)
            part = self.folder.join(name)
            with part.fs.open(part.path, "rb", block_size=storage.BLOCK_BYTES) as file:
                # Splits lines in C; fsspec's own files do so in Python.
                lines = (line.strip() for line in io.BufferedReader(file, READ_BYTES))
                whole = [catalogue.add_line(snapshot.known, line, part.uri) for line in lines if line]
            if not all(whole):
                snapshot.damaged.append(name)
        return snapshot

    def write(self, name: str, rows: Iterable[CatalogueRow | Mapping[str, Any]]) -> str:
        """Write the part of one task and return its URI."""
        part = self.folder.join(f"part-{name}{ENDING}")
        storage.write_bytes(part, catalogue.dump(rows))
        return part.uri

    def compact(self, snapshot: Snapshot, *, rewrite: bool = False) -> list[str]:
        """
        Merge all parts into one and return the names of the remaining parts.

        Outdated rows are dropped. Damaged parts are moved to another folder for inspection.

        :param rewrite: Also rewrite a single part, as sources were removed. Default: False.
        """
        if len(snapshot.parts) < 2 and not snapshot.damaged and not rewrite:
            return snapshot.parts
        name = f"part-{time.time_ns():020d}-whole{ENDING}"
        lines = (line for relative in sorted(snapshot.known) for line in snapshot.known[relative].lines)
        storage.write_bytes(self.folder.join(name), b"".join(line + b"\n" for line in lines))
        for damaged in snapshot.damaged:
            kept = self.private.join(f"damaged/{damaged}")
            try:
                storage.write_bytes(kept, self.folder.fs.cat_file(self.folder.join(damaged).path))
            except FileNotFoundError:
                continue
            log.warning("%s contains invalid lines; a copy is kept as %s.", damaged, kept.uri)
        self._remove([self.folder.join(part) for part in snapshot.parts])
        return [name]

    def recover(
        self, files: Sequence[SourceFile], *, identity_code: str, key: str, producer: str, run: str
    ) -> list[CatalogueRow]:
        """
        Rebuild the lost rows of sources from the manifests of their batches.

        A manifest contains neither version nor options: an output of this identity that is newer than its source
        is assumed to be the right one, rather than paid for twice.
        """
        by_uri = {file.location.uri: file for file in files}
        plan = {"identity_code": identity_code, "options_key": key, "producer": producer, "run": run}
        found: dict[str, list[CatalogueRow]] = {}
        for written, rows in self._manifests():
            fresh: dict[str, list[CatalogueRow]] = {}
            for row in rows:
                file = by_uri.get(row.source or "")
                if file is None or not row.file or written < file.modified:
                    continue
                if row.identity_code in (None, identity_code):
                    fresh.setdefault(file.relative, []).append(_recovered(row, file, written, plan))
            found |= fresh
        return [row for rows_of_one in found.values() for row in rows_of_one]

    def _manifests(self) -> Iterable[tuple[float, list[manifest.Row]]]:
        """Read the manifests of all batches, oldest first."""
        listing = self.private.fs.find(self.private.path, maxdepth=1, detail=True)
        sources = [
            storage.source_of(Location(self.private.fs, path, self.private.prefix), "", info)
            for path, info in listing.items()
            if posixpath.basename(path).startswith("manifest-")
        ]
        for file in sorted(sources, key=lambda item: item.modified):
            yield file.modified, manifest.load(storage.read_json(file.location), file.location.uri)

    def write_batches(self, run: str, batches: Sequence[Sequence[Mapping[str, Any]]]) -> list[str]:
        """Write one file for each batch and return the URIs."""
        # Batches of an earlier try of the plan stay if something was uploaded or paid for: it is recorded beside them.
        started = (name for name in self._files(run) if name.endswith((".uploads.json", ".jobs.json")))
        first = 1 + max((int(name[6:].partition(".")[0]) for name in started), default=0)
        width = max(4, len(str(first + len(batches))))

        def write(numbered: tuple[int, Sequence[Mapping[str, Any]]]) -> str:
            number, batch = numbered
            target = self.private.join(f"plans/{run}/batch-{number:0{width}d}.json")
            lines = catalogue.dump(batch).rstrip(b"\n").replace(b"\n", b",\n")
            storage.write_bytes(target, b"[\n" + lines + b"\n]\n")
            return target.uri

        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(write, enumerate(batches, start=first)))

    def _files(self, run: str) -> list[str]:
        names = storage.sizes_below(self.private.join(f"plans/{run}"))
        return [name for name in names if re.fullmatch(r"batch-\d+(\.\w+)?\.json", name)]

    def read_batches(self, run: str) -> list[dict[str, Any]]:
        """Return the entries of all batches of a run."""
        found: list[dict[str, Any]] = []
        for name in self._files(run):
            if name.count(".") > 1:
                continue
            found += storage.read_json(self.private.join(f"plans/{run}/{name}")) or []
        return found

    def remove_outputs(self, files: Iterable[str]) -> None:
        """Remove outputs by their path below the output folder; those that no longer exist are skipped."""
        inside = [file for file in files if file and ".." not in file.split("/")]
        self._remove([self.output.join(file) for file in inside])

    def copy_outputs(self, pairs: Mapping[str, str]) -> set[str]:
        """
        Copy outputs within the folder; return the targets whose source no longer exists.

        :param pairs: Target to source, both below the output folder. A target may be the source of another one, as
            when two sources have exchanged their names.
        """
        from_others = set(pairs.values())
        if not from_others.isdisjoint(pairs):
            return self._copy_aside(pairs)
        with ThreadPoolExecutor(8) as pool:
            copied = pool.map(lambda pair: self._copy(self.output.join(pair[1]), pair[0]), pairs.items())
            return {target for target, done in zip(pairs, copied, strict=True) if not done}

    def _copy_aside(self, pairs: Mapping[str, str]) -> set[str]:
        """Copy to another folder first, so that no source is overwritten before it is copied."""
        aside = {f"{PRIVATE_FOLDER}/copies/{n}": source for n, source in enumerate(pairs.values())}
        lost = self.copy_outputs(aside)
        named = {target: name for target, name in zip(pairs, aside, strict=True) if name not in lost}
        failed = self.copy_outputs(named)
        self.remove_outputs(aside)
        return failed | (pairs.keys() - named.keys())

    def _copy(self, source: Location, target: str) -> bool:
        try:
            storage.copy_file(source, self.output.join(target))
        except FileNotFoundError:
            return False
        return True

    def _remove(self, files: Iterable[Location]) -> None:
        def remove(file: Location) -> None:
            try:
                file.fs.rm_file(file.path)
            except FileNotFoundError:
                log.debug("%s no longer exists.", file.uri)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(remove, files))


def read_rows(output_path: str) -> list[dict[str, Any]]:
    """
    Return the current rows of a refresh, sorted by source, for the next step of a pipeline.

    :param output_path: The ``output_path`` of the refresh; ``file`` in a row is relative to it. All fields are in
        the documentation of the refresh.
    :raises PiktidRecordError: The catalogue was written by a newer version of this package.
    """
    known = CatalogueStore(storage.locate(output_path)).read().known
    return [row for relative in sorted(known) for row in known[relative].rows]


def run_key(dag_id: str, task_id: str, run_id: str) -> str:
    """Return a digest of a DAG run for file names; it is the same for every try."""
    return hashlib.sha256("\0".join((dag_id, task_id, run_id)).encode()).hexdigest()[:16]


def _recovered(row: manifest.Row, file: SourceFile, written: float, plan: Mapping[str, Any]) -> CatalogueRow:
    return CatalogueRow(
        **source_fields(file, file.relative),
        **plan,
        attempts=1,
        status="done" if row.status == "done" else "pending",
        at=written,
        **output_fields(row),
    )
