# SPDX-License-Identifier: Apache-2.0
"""
The files of a catalogue: parts below ``<output>/_piktid/catalogue/``, each written by one task.

A part is written atomically under a name that only its task uses, so many tasks can write at the same time and a
task that runs again replaces its own part. Parts are put together by writing one with their current rows; the replaced
ones are removed an hour later, so that who reads them meanwhile is not disturbed. A crash at any point loses no row.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import logging
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate
from operator import itemgetter
from typing import Any

from airflow_provider_piktid.exceptions import PiktidRecordError
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.listing import modified_in, version_in
from airflow_provider_piktid.files.storage import PRIVATE_FOLDER, Location
from airflow_provider_piktid.files.walk import sizes_below, walk
from airflow_provider_piktid.refresh import catalogue, parts
from airflow_provider_piktid.refresh.catalogue import CatalogueRow, SourceState

log = logging.getLogger(__name__)

#: Parts are put together if the largest of them has at most this many times the bytes of all others: so a row is
#: written again only a few times, however large the catalogue becomes.
RATIO = 3

#: How the name of a merged part of the first version ends; those are sorted.
WHOLE_ENDING = f"-whole{parts.PLAIN_ENDING}"

#: Seconds for which replaced parts stay.
REPLACED_SECONDS = 3600.0

#: File beside the catalogue with the names of replaced parts, and when they were replaced.
REPLACED = "replaced.json"


#: Name of each replaced part to its stamp, and when it was replaced, epoch seconds.
Replaced = dict[str, tuple[str, float]]


@dataclass(frozen=True)
class Part:
    """
    A part, as the store lists it.

    :param size: Bytes.
    :param stamp: ETag or date of its content.
    """

    size: int
    stamp: str


@dataclass
class Snapshot:
    """
    A catalogue at the time of reading.

    :param known: Relative path of each source to its current state.
    :param damaged: Names of parts that contain invalid lines.
    """

    known: dict[str, SourceState] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)


class CatalogueStore:
    """The catalogue beside the outputs of one refresh."""

    def __init__(self, output: Location) -> None:
        self.output = output
        self.private = output.join(PRIVATE_FOLDER)
        self.folder = self.private.join("catalogue")

    def parts(self) -> dict[str, int]:
        """Return the names of the parts that count, with their sizes in bytes."""
        return _current(self._listed(), self._replaced())

    def _listed(self) -> dict[str, Part]:
        endings = (parts.ENDING, parts.PLAIN_ENDING)
        return {
            name: Part(int(info["size"]), version_in(info) or str(modified_in(info)))
            for name, info in walk(self.folder)
            if name.endswith(endings) and "/" not in name
        }

    def states(
        self, names: Iterable[str] | None = None, *, damaged: set[str] | None = None
    ) -> Iterator[tuple[str, SourceState]]:
        """
        Yield relative path and current state of each source, sorted by path, also those that are ``pruned``.

        :param names: Parts to read. Default: all.
        :param damaged: Where the names of parts with invalid lines are added. Default: they are not needed.
        :raises PiktidRecordError: A row has a newer schema, or a part is not sorted.
        """
        noted = set() if damaged is None else damaged
        streams = [self._states_of(name, noted) for name in (self.parts() if names is None else names)]
        return _newest(heapq.merge(*streams, key=itemgetter(0)))

    def _states_of(self, name: str, damaged: set[str]) -> Iterator[tuple[str, SourceState]]:
        states = self._unchecked(name, damaged)
        if name.endswith(parts.PLAIN_ENDING) and not name.endswith(WHOLE_ENDING):
            # A part of the first version that one task wrote: it is small, and not sorted.
            return iter(sorted(states, key=itemgetter(0)))
        return _sorted(states, self.folder.join(name).uri)

    def _unchecked(self, name: str, damaged: set[str]) -> Iterator[tuple[str, SourceState]]:
        part = self.folder.join(name)
        for value in parts.read(part):
            state = catalogue.state_of(value, part.uri)
            if state is None:
                damaged.add(name)
            else:
                yield state

    def read(self, only: Collection[str] | None = None) -> Snapshot:
        """
        Read the catalogue.

        :param only: Relative paths of sources; others are left out. Default: all.
        :raises PiktidRecordError: A row has a newer schema, or a part is not sorted.
        """
        snapshot = Snapshot()
        for relative, state in self.states(damaged=snapshot.damaged):
            if state.status != "pruned" and (only is None or relative in only):
                snapshot.known[relative] = state
        return snapshot

    def rows_of(self, run: str, others: Collection[str] | None) -> list[dict[str, Any]]:
        """
        Return the current rows that a run wrote.

        :param others: Names of all parts when the plan of the run had ended; none of them has rows of the run, except
            its own. If they are still there, and no others, only those of the run are read. None: not known.
        """
        names = self.parts().keys()
        own = {name for name in names if name.startswith(f"part-{run}-")}
        is_last = others is not None and names - own <= set(others) <= names
        found = self.states(own if is_last else names)
        return [
            row for _, state in found if state.status != "pruned" for row in state.rows if row["run"] == run
        ]

    def write(self, name: str, rows: Iterable[CatalogueRow | Mapping[str, Any]]) -> str:
        """Write the part of one task and return its URI."""
        part = self.folder.join(f"part-{name}{parts.ENDING}")
        in_order = sorted(catalogue.plain(rows), key=lambda row: row["relative"])
        storage.write_bytes(part, b"".join(parts.pack(in_order)))
        return part.uri

    def merge(self, damaged: Collection[str] = (), *, without: str | None = None) -> None:
        """
        Put small parts together where it pays, and remove those that were replaced long ago.

        :param damaged: Parts with invalid lines; they are copied to another folder for inspection, and replaced.
        :param without: Run whose parts stay as they are, as its summary reads them. Default: none.
        """
        listed = self._listed()
        replaced = self._without_old(self._replaced(), listed)
        sizes = _current(listed, replaced)
        own = f"part-{without}-"
        others = {name: size for name, size in sizes.items() if not name.startswith(own)}
        chosen = {*to_merge(others), *(name for name in damaged if name in sizes)}
        if not chosen:
            return
        for name in damaged:
            self._keep_copy(name)
        hiding: set[str] = set()
        states = self._merged(chosen, hiding, whole=chosen == sizes.keys())
        rows = (row for _, state in states for row in state.rows)
        name = f"part-{time.time_ns():020d}-merged{parts.ENDING}"
        storage.write_bytes(self.folder.join(name), parts.pack(rows))
        now = time.time()
        # A part that hides rows of others is removed after them.
        names = sorted(chosen, key=lambda name: (name in hiding, name))
        self._write_replaced(replaced | {name: (listed[name].stamp, now) for name in names})

    def _merged(
        self, names: Iterable[str], hiding: set[str], *, whole: bool
    ) -> Iterator[tuple[str, SourceState]]:
        """Yield the states of some parts; nothing is left to hide in a merge of all."""

        def noting(name: str) -> Iterator[tuple[str, SourceState]]:
            for relative, state in self._states_of(name, set()):
                if state.status == "pruned":
                    hiding.add(name)
                yield relative, state

        for relative, state in _newest(heapq.merge(*map(noting, names), key=itemgetter(0))):
            if not (whole and state.status == "pruned"):
                yield relative, state

    def _keep_copy(self, name: str) -> None:
        kept = self.private.join(f"damaged/{name}")
        try:
            storage.write_bytes(kept, self.folder.fs.cat_file(self.folder.join(name).path))
        except FileNotFoundError:
            return
        log.warning("%s contains invalid lines; a copy is kept as %s.", name, kept.uri)

    def _replaced(self) -> Replaced:
        """
        Return stamp and time of each replaced part, by name.

        A task that runs again writes its part again, which then counts.
        """
        place = self.private.join(REPLACED)
        try:
            found = storage.read_json(place) or {}
            return {name: (str(stamp), float(at)) for name, (stamp, at) in found.items()}
        except (AttributeError, TypeError, ValueError):
            # Without it, the rows of these parts are read again, and are older than those that replaced them.
            log.warning("%s is damaged and does not count.", place.uri)
            return {}

    def _write_replaced(self, replaced: Replaced) -> None:
        storage.write_bytes(self.private.join(REPLACED), json.dumps(replaced).encode())

    def _without_old(self, replaced: Replaced, listed: dict[str, Part]) -> Replaced:
        """Remove the parts that were replaced long ago, also from the listing; return the others."""
        limit = time.time() - REPLACED_SECONDS
        old = [name for name, (_, at) in replaced.items() if at < limit]
        if not old:
            return replaced
        for name in old:
            if name in listed and listed[name].stamp == replaced[name][0]:
                storage.remove_files([self.folder.join(name)])
                del listed[name]
        kept = {name: item for name, item in replaced.items() if name not in old}
        self._write_replaced(kept)
        return kept

    def write_batches(self, run: str, batches: Sequence[Sequence[Mapping[str, Any]]]) -> list[str]:
        """Write one file for each batch and return the URIs."""
        # Batches of an earlier try of the plan stay if something was uploaded or paid for: it is recorded beside them.
        started = (name for name in self._files(run) if name.endswith((".uploads.json", ".jobs.json")))
        first = 1 + max((int(name[6:].partition(".")[0]) for name in started), default=0)
        width = max(4, len(str(first + len(batches))))

        def write(numbered: tuple[int, Sequence[Mapping[str, Any]]]) -> str:
            number, batch = numbered
            target = self.private.join(f"plans/{run}/batch-{number:0{width}d}.json")
            lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in batch)
            storage.write_bytes(target, f"[\n{lines}\n]\n".encode(errors="backslashreplace"))
            return target.uri

        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(write, enumerate(batches, start=first)))

    def _files(self, run: str) -> list[str]:
        names = sizes_below(self.private.join(f"plans/{run}"))
        return [name for name in names if re.fullmatch(r"batch-\d+(\.\w+)?\.json", name)]

    def read_batches(self, run: str) -> list[dict[str, Any]]:
        """Return the entries of all batches of a run."""
        found: list[dict[str, Any]] = []
        for name in self._files(run):
            if name.count(".") > 1:
                continue
            found += storage.read_json(self.private.join(f"plans/{run}/{name}")) or []
        return found


def read_rows(output_path: str) -> list[dict[str, Any]]:
    """
    Return the current rows of a refresh, sorted by source, for the next step of a pipeline.

    :param output_path: The ``output_path`` of the refresh; ``file`` in a row is relative to it. All fields are in
        the documentation of the refresh.
    :raises PiktidRecordError: The catalogue was written by a newer version of this package.
    """
    return list(iter_rows(output_path))


def iter_rows(output_path: str) -> Iterator[dict[str, Any]]:
    """Yield what :func:`read_rows` returns, while the catalogue is read: a million rows take little memory."""
    states = CatalogueStore(storage.locate(output_path)).states()
    return (row for _, state in states if state.status != "pruned" for row in state.rows)


def to_merge(sizes: Mapping[str, int]) -> list[str]:
    """
    Return the parts that are put together: the smallest ones, as many as pay.

    :param sizes: Name of each part to its bytes.
    """
    ascending = sorted(sizes, key=lambda name: (sizes[name], name))
    sums = accumulate(sizes[name] for name in ascending)
    paying = [
        n
        for n, smaller in enumerate(sums, start=1)
        if n < len(ascending) and sizes[ascending[n]] <= RATIO * smaller
    ]
    return ascending[: paying[-1] + 1] if paying else []


def _current(listed: Mapping[str, Part], replaced: Replaced) -> dict[str, int]:
    """Return the sizes of the parts that were not replaced, or written again since."""
    return {name: part.size for name, part in listed.items() if replaced.get(name, ("",))[0] != part.stamp}


def _newest(states: Iterator[tuple[str, SourceState]]) -> Iterator[tuple[str, SourceState]]:
    """Yield one state of each source, from states that are sorted by source."""
    current, newest = next(states, ("", None))
    if newest is None:
        return
    for relative, state in states:
        if relative == current:
            newest = newest.newer(state)
        else:
            yield current, newest
            current, newest = relative, state
    yield current, newest


def _sorted(states: Iterator[tuple[str, SourceState]], where: str) -> Iterator[tuple[str, SourceState]]:
    """Check the order: in a part that is not sorted, known sources would be taken for new ones and bought."""
    last = ""
    for item in states:
        if item[0] < last:
            raise PiktidRecordError(
                f"{where} is not sorted by `relative`: {item[0]!r} follows {last!r}. Nothing was submitted. "
                "Restore the file as it was written, or sort its lines."
            )
        last = item[0]
        yield item


def run_key(dag_id: str, task_id: str, run_id: str) -> str:
    """Return a digest of a DAG run for file names; it is the same for every try."""
    return hashlib.sha256("\0".join((dag_id, task_id, run_id)).encode()).hexdigest()[:16]
