# SPDX-License-Identifier: Apache-2.0
"""The paths that the outputs of sources are named after."""

from __future__ import annotations

import hashlib
import posixpath
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping

from airflow_provider_piktid.files.names import folded, output_stem
from airflow_provider_piktid.files.storage import SourceFile
from airflow_provider_piktid.refresh.catalogue import SourceState, Status

#: Statuses of sources that never had an output.
NAMELESS: tuple[Status, ...] = ("rejected", "pruned")


class NameIndex:
    """
    The names that sources have and had, as hashes: eight bytes for each, whatever its length.

    Two names with equal hashes count as one; then a source gets a suffix that it would not need.
    """

    def __init__(self) -> None:
        self._listed = array("q")
        self._taken = array("q")

    def add(self, relative: str, state: SourceState | None) -> None:
        """Add a source that exists, with its state."""
        stem = _hash(relative)
        self._listed.append(stem)
        if state is not None:
            self._add_taken(relative, stem, state)

    def add_deleted(self, relative: str, state: SourceState) -> None:
        """Add a source that no longer exists."""
        self._add_taken(relative, None, state)

    def _add_taken(self, relative: str, stem: int | None, state: SourceState) -> None:
        # A source that never had an output has no name to keep, and takes none from others.
        if state.status not in NAMELESS:
            is_own = stem is not None and state.target == relative
            self._taken.append(stem if is_own and stem is not None else _hash(state.target))

    def targets(self, work: Iterable[SourceFile], known: Mapping[str, SourceState]) -> dict[str, str]:
        """
        Choose the path that the outputs of each source are named after, so that no two sources ever share a file.

        A source keeps its name over all runs. ``a.jpg`` and ``a.png``, or ``a.jpg`` and ``A.jpg``, would share one on
        some stores: their names get a suffix made from their path.

        :param known: The catalogue, at least of these sources.
        :return: Relative path of each source to that path.
        """
        stems = {file.relative: _hash(file.relative) for file in work}
        wanted = set(stems.values())
        counts = Counter(stem for stem in self._listed if stem in wanted)
        taken = wanted.intersection(self._taken)
        named = {}
        for relative, stem in stems.items():
            state = known.get(relative)
            if state is not None and state.status not in NAMELESS:
                named[relative] = state.target
            else:
                named[relative] = _marked(relative) if counts[stem] > 1 or stem in taken else relative
        return named


def _hash(relative: str) -> int:
    return hash(folded(output_stem(relative)))


def _marked(relative: str) -> str:
    mark = hashlib.sha256(relative.encode(errors="surrogatepass")).hexdigest()[:8]
    folder, name = posixpath.split(relative.rstrip("/"))
    stem, extension = (name, "/") if relative.endswith("/") else posixpath.splitext(name)
    # Names are truncated later: the suffix has to survive that.
    return posixpath.join(folder, f"{stem[:40]}~{mark}{extension}")
