# SPDX-License-Identifier: Apache-2.0
"""
Compare the sources with the catalogue, in one pass over both: they are sorted by path.

What is unchanged is counted and forgotten. So a comparison takes time for what there is, and memory for what changed,
plus a few numbers for each source.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from airflow_provider_piktid.exceptions import PiktidConfigError
from airflow_provider_piktid.files.storage import SourceFile
from airflow_provider_piktid.refresh.catalogue import (
    CatalogueRow,
    Reason,
    SourceState,
    add_rows,
    source_root,
)
from airflow_provider_piktid.refresh.content import Classified, ContentIndex, missing_files
from airflow_provider_piktid.refresh.groups import is_excluded
from airflow_provider_piktid.refresh.naming import NameIndex
from airflow_provider_piktid.refresh.outputs import PresentFiles
from airflow_provider_piktid.refresh.request import RefreshRequest

#: Outputs whose price is used for the average.
PRICES = 100

L = TypeVar("L")
R = TypeVar("R")


@dataclass
class Comparison:
    """
    What is not unchanged.

    :param listed: Number of sources that are not excluded.
    :param unchanged: Number of those whose outputs are as they should be.
    :param classified: The others, with what has to be done with each.
    :param known: The catalogue of these sources, and of those with an output that is not downloaded yet.
    :param deleted: Relative paths of sources that no longer exist and are in the catalogue.
    :param resumed: Rows of sources that an earlier run paid for, or may have, and that the catalogue does not have.
    :param newest: Time of the newest row, epoch seconds.
    :param prices: Credits of about a hundred outputs.
    :param has_run: Whether the catalogue has rows of this run.
    """

    contents: ContentIndex
    listed: int = 0
    unchanged: int = 0
    classified: list[Classified] = field(default_factory=list)
    known: dict[str, SourceState] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    resumed: list[CatalogueRow] = field(default_factory=list)
    newest: float = 0.0
    prices: list[float] = field(default_factory=list)
    has_run: bool = False
    names: NameIndex = field(default_factory=NameIndex)

    def leave_out(self, names: Container[str]) -> None:
        """Do nothing with these sources: what is known of them stays as it is."""
        self.classified = [item for item in self.classified if item[0].relative not in names]
        self.deleted = [name for name in self.deleted if name not in names]


class Comparer:
    """
    Compares sources with a catalogue.

    :param present: The files in the output folder.
    :param paid: Rows of sources that earlier runs paid for, or may have.
    """

    def __init__(
        self, request: RefreshRequest, present: PresentFiles, paid: Iterable[CatalogueRow] = ()
    ) -> None:
        self._request = request
        self._present = present
        self._paid: dict[str, list[CatalogueRow]] = {}
        for row in sorted(paid, key=lambda row: row.at):
            self._paid.setdefault(row.relative, []).append(row)
        self._root = ""
        self.found = Comparison(contents=ContentIndex(request.options_key))

    def compare(
        self, first: SourceFile, files: Iterator[SourceFile], states: Iterator[tuple[str, SourceState]]
    ) -> Comparison:
        """
        Compare all sources.

        :param first: The first of the sources.
        :param files: All of them, sorted by relative path.
        :param states: The catalogue, sorted by relative path.
        :raises PiktidConfigError: The catalogue has outputs of other sources.
        """
        self._root = first.location.uri.removesuffix(first.relative)
        named = ((file.relative, file) for file in files)
        for relative, state, file in join(self._with_paid(states), named):
            if state is not None:
                self._note(relative, state)
                if state.status == "pruned":
                    state = None
            if file is not None:
                self.found.names.add(relative, state)
                self._classify(file, state)
            elif state is not None:
                self._keep_deleted(relative, state)
        self.found.contents.hold(self.found.known.values())
        return self.found

    def _with_paid(self, states: Iterator[tuple[str, SourceState]]) -> Iterator[tuple[str, SourceState]]:
        """Yield the states with what earlier runs paid for."""
        if not self._paid:
            yield from states
            return
        for relative, state, rows in join(states, iter(sorted(self._paid.items()))):
            known = {relative: state} if state is not None else {}
            for row in rows or ():
                if relative not in known or row.at > known[relative].at:
                    add_rows(known, [row])
                    self.found.resumed.append(row)
                    self.found.known[relative] = known[relative]
            yield relative, known[relative]

    def _note(self, relative: str, state: SourceState) -> None:
        """Note what is needed of every source."""
        found, row = self.found, state.rows[0]
        if state.at > found.newest:
            found.newest = state.at
        if state.status == "pruned":
            return
        if row["source"] != self._root + relative:
            self._check_root(relative, state)
        if row["run"] == self._request.run:
            found.has_run = True
        found.contents.add(state)
        if len(found.prices) < PRICES and self._has_price(state):
            found.prices += [
                row["credits"] for row in state.rows if row["status"] == "done" and row["credits"]
            ]

    def _has_price(self, state: SourceState) -> bool:
        """Whether the price of a source's outputs is that of now: a stated price depends on the options."""
        return self._request.price is None or state.options_key == self._request.options_key

    def _check_root(self, relative: str, state: SourceState) -> None:
        """Two refreshes with different sources in one output would prune, and pay for, each other's outputs."""
        mine, other = source_root(self._root, ""), source_root(state.source, relative)
        if mine != other:
            raise PiktidConfigError(
                f"{self._request.output_path} contains outputs of sources in {other}, made by {state.producer}; "
                f"`source` is {mine}. Set a separate `output_path` for {self._request.producer}. Nothing was submitted."
            )

    def _classify(self, file: SourceFile, state: SourceState | None) -> None:
        found, request = self.found, self._request
        if is_excluded(file, request.exclude):
            if state is not None and _is_unfinished(state):
                found.known[file.relative] = state
            return
        found.listed += 1
        reason: Reason = request.compare(state, file)
        if reason == "same" and state is not None and not missing_files(state, self._present):
            found.unchanged += 1
            return
        found.classified.append((file, reason))
        if state is not None:
            found.known[file.relative] = state

    def _keep_deleted(self, relative: str, state: SourceState) -> None:
        self.found.names.add_deleted(relative, state)
        self.found.deleted.append(relative)
        if self._request.prune or _is_unfinished(state):
            self.found.known[relative] = state


def _is_unfinished(state: SourceState) -> bool:
    return state.status in ("pending", "lost")


def join(
    left: Iterator[tuple[str, L]], right: Iterator[tuple[str, R]]
) -> Iterator[tuple[str, L | None, R | None]]:
    """Yield each name of two sequences that are sorted by name, with what each of them has of it."""
    one, two = next(left, None), next(right, None)
    while one is not None or two is not None:
        if two is None or (one is not None and one[0] < two[0]):
            assert one is not None
            yield one[0], one[1], None
            one = next(left, None)
        elif one is None or two[0] < one[0]:
            yield two[0], None, two[1]
            two = next(right, None)
        else:
            yield one[0], one[1], two[1]
            one, two = next(left, None), next(right, None)
