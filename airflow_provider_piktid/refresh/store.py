# SPDX-License-Identifier: Apache-2.0
"""
Where the catalogue of a refresh lies: part files below ``<output>/_piktid/catalogue/``, each written by one task.

A part is written whole under a name that only its task uses, so many tasks write at once and a task that runs
again replaces its own part. Parts are put together by writing the whole first and removing what it holds then:
whatever moment a crash picks, every row is there at least once.
"""

from __future__ import annotations

import hashlib
import logging
import posixpath
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.storage import PRIVATE_FOLDER, Location, SourceFile
from airflow_provider_piktid.jobs import manifest
from airflow_provider_piktid.refresh import catalogue
from airflow_provider_piktid.refresh.catalogue import CatalogueRow, Known

log = logging.getLogger(__name__)

ENDING = ".jsonl"

#: Parts may vanish while they are read, when another task puts them together: then everything is read again.
READ_TRIES = 5


@dataclass
class Snapshot:
    """
    A catalogue as it was read.

    :param known: Relative path of a source to what counts of it.
    :param parts: Names of the parts that were read.
    :param damaged: Names of parts with lines that are no rows.
    """

    known: dict[str, Known] = field(default_factory=dict)
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
                lines = (line.strip() for line in file)
                whole = [catalogue.add_line(snapshot.known, line, part.uri) for line in lines if line]
            if not all(whole):
                snapshot.damaged.append(name)
        return snapshot

    def write(self, name: str, rows: Iterable[CatalogueRow | Mapping[str, Any]]) -> str:
        """Write the part of one task, and give its URI."""
        part = self.folder.join(f"part-{name}{ENDING}")
        storage.write_bytes(part, catalogue.dump(rows))
        return part.uri

    def compact(self, snapshot: Snapshot, *, anew: bool = False) -> list[str]:
        """
        Put parts together in one, and give the names of the parts that are there afterwards.

        Rows that do not count any more are left out. Damaged parts are kept aside, for people to look at.

        :param anew: Write even what is one part already, because sources were taken out.
        """
        if len(snapshot.parts) < 2 and not snapshot.damaged and not anew:
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
            log.warning("%s has lines that are no rows; it is kept as %s.", damaged, kept.uri)
        self._remove([self.folder.join(part) for part in snapshot.parts])
        return [name]

    def recover(
        self, files: Sequence[SourceFile], *, identity_code: str, key: str, producer: str, run: str
    ) -> list[CatalogueRow]:
        """
        Find what was bought for sources whose rows are lost, in the manifests of their batches.

        A manifest names neither version nor options: an output of this identity that is newer than its source
        is taken for the one that was wanted, rather than paid for twice.
        """
        wanted = {file.location.uri: file for file in files}
        found: dict[str, list[CatalogueRow]] = {}
        for written, rows in self._manifests():
            fresh: dict[str, list[CatalogueRow]] = {}
            for row in rows:
                file = wanted.get(row.source or "")
                if file is None or not row.file or written < file.modified:
                    continue
                if row.identity_code in (None, identity_code):
                    made = replace(
                        _recovered(row, file, written),
                        identity_code=identity_code,
                        options_key=key,
                        producer=producer,
                        run=run,
                    )
                    fresh.setdefault(file.relative, []).append(made)
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
        """Write what each batch has to do, and give the URIs."""
        width = max(4, len(str(len(batches))))

        def write(numbered: tuple[int, Sequence[Mapping[str, Any]]]) -> str:
            number, batch = numbered
            target = self.private.join(f"plans/{run}/batch-{number:0{width}d}.json")
            lines = catalogue.dump(batch).rstrip(b"\n").replace(b"\n", b",\n")
            storage.write_bytes(target, b"[\n" + lines + b"\n]\n")
            return target.uri

        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(write, enumerate(batches, start=1)))

    def remove_outputs(self, files: Iterable[str]) -> None:
        """Remove outputs by their path below the output folder; one that is gone already is no error."""
        inside = [file for file in files if file and ".." not in file.split("/")]
        self._remove([self.output.join(file) for file in inside])

    def _remove(self, files: Iterable[Location]) -> None:
        def remove(file: Location) -> None:
            try:
                file.fs.rm_file(file.path)
            except FileNotFoundError:
                log.debug("%s is gone already.", file.uri)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(remove, files))


def read_rows(output_path: str) -> list[dict[str, Any]]:
    """
    Give the rows of a refresh that count, sorted by source: what the next step of a pipeline reads.

    :param output_path: The refresh's own; rows name files below it. Fields: see the page of the refresh.
    :raises PiktidRecordError: Written by a newer version of this package.
    """
    known = CatalogueStore(storage.locate(output_path)).read().known
    return [row for relative in sorted(known) for row in known[relative].rows]


def run_key(dag_id: str, task_id: str, run_id: str) -> str:
    """Name a run in file names: the same for every try."""
    return hashlib.sha256("\0".join((dag_id, task_id, run_id)).encode()).hexdigest()[:16]


def _recovered(row: manifest.Row, file: SourceFile, written: float) -> CatalogueRow:
    return CatalogueRow(
        relative=file.relative,
        source=file.location.uri,
        source_version=file.version,
        source_sha256=None,
        source_size=file.size,
        source_modified=file.modified,
        target=file.relative,
        identity_code="",
        options_key="",
        producer="",
        run="",
        attempts=1,
        status="done" if row.status == "done" else "pending",
        at=written,
        job_id=row.job_id,
        image_index=row.image_index,
        group_index=row.group_index,
        version=row.version,
        model_used=row.model_used,
        file=row.file,
        size=row.size,
        sha256=row.sha256,
    )
