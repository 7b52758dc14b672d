# SPDX-License-Identifier: Apache-2.0
"""The files in the output folder of a refresh: which exist, and how they are copied and removed."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.storage import PRIVATE_FOLDER, Location


class PresentFiles:
    """
    The sizes of files by name, in 16 bytes for each.

    Names are kept as hashes of 64 bits: with a million files, one in ten million million lookups of a name that does
    not exist finds another file.

    :param sizes: Relative path and size of each file.
    """

    def __init__(self, sizes: Iterable[tuple[str, int]]) -> None:
        hashes, listed = array("q"), array("q")
        for name, size in sizes:
            hashes.append(hash(name))
            listed.append(size)
        order = sorted(range(len(hashes)), key=hashes.__getitem__)
        self._hashes = array("q", map(hashes.__getitem__, order))
        self._sizes = array("q", map(listed.__getitem__, order))

    def get(self, name: str) -> int | None:
        """Return the size of a file; None if it does not exist."""
        wanted = hash(name)
        place = bisect_left(self._hashes, wanted)
        found = place < len(self._hashes) and self._hashes[place] == wanted
        return self._sizes[place] if found else None


class OutputFolder:
    """Copies and removes outputs by their path below the folder."""

    def __init__(self, folder: Location) -> None:
        self._folder = folder

    def remove(self, files: Iterable[str]) -> None:
        """Remove outputs by their path below the output folder; those that no longer exist are skipped."""
        inside = [file for file in files if file and ".." not in file.split("/")]
        storage.remove_files([self._folder.join(file) for file in inside])

    def copy(self, pairs: Mapping[str, str]) -> set[str]:
        """
        Copy outputs within the folder; return the targets whose source no longer exists.

        :param pairs: Target to source, both below the output folder. A target may be the source of another one, as
            when two sources have exchanged their names.
        """
        from_others = set(pairs.values())
        if not from_others.isdisjoint(pairs):
            return self._copy_aside(pairs)
        with ThreadPoolExecutor(8) as pool:
            copied = pool.map(lambda pair: self._copy(self._folder.join(pair[1]), pair[0]), pairs.items())
            return {target for target, done in zip(pairs, copied, strict=True) if not done}

    def _copy_aside(self, pairs: Mapping[str, str]) -> set[str]:
        """Copy to another folder first, so that no source is overwritten before it is copied."""
        aside = {f"{PRIVATE_FOLDER}/copies/{n}": source for n, source in enumerate(pairs.values())}
        lost = self.copy(aside)
        named = {target: name for target, name in zip(pairs, aside, strict=True) if name not in lost}
        failed = self.copy(named)
        self.remove(aside)
        return failed | (pairs.keys() - named.keys())

    def _copy(self, source: Location, target: str) -> bool:
        try:
            storage.copy_file(source, self._folder.join(target))
        except FileNotFoundError:
            return False
        return True
