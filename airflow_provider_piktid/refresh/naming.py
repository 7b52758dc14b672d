# SPDX-License-Identifier: Apache-2.0
"""The paths that the outputs of sources are named after."""

from __future__ import annotations

import hashlib
import posixpath
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from airflow_provider_piktid.files.names import folded, output_stem
from airflow_provider_piktid.files.storage import SourceFile
from airflow_provider_piktid.refresh.catalogue import SourceState, Status

#: Statuses of sources that never had an output.
NAMELESS: tuple[Status, ...] = ("rejected",)


def targets(
    work: Sequence[SourceFile], listing: Iterable[str], known: Mapping[str, SourceState]
) -> dict[str, str]:
    """
    Choose the path that the outputs of each source are named after, so that no two sources ever share a file.

    A source keeps its name over all runs. ``a.jpg`` and ``a.png``, or ``a.jpg`` and ``A.jpg``, would share one on
    some stores: their names get a suffix made from their path.

    :param listing: Relative paths of all sources.
    :return: Relative path of each source to that path.
    """
    counts = Counter(folded(output_stem(relative)) for relative in listing)
    # A source that never had an output has no name to keep, and takes none from others.
    named_before = {
        relative: entry.target for relative, entry in known.items() if entry.status not in NAMELESS
    }
    counts.update(
        folded(output_stem(target)) for relative, target in named_before.items() if target != relative
    )
    taken = {folded(output_stem(target)) for target in named_before.values()}
    named = {}
    for file in work:
        if file.relative in named_before:
            named[file.relative] = named_before[file.relative]
        elif counts[folded(output_stem(file.relative))] > 1 or folded(output_stem(file.relative)) in taken:
            named[file.relative] = _marked(file.relative)
        else:
            named[file.relative] = file.relative
    return named


def _marked(relative: str) -> str:
    mark = hashlib.sha256(relative.encode(errors="surrogatepass")).hexdigest()[:8]
    folder, name = posixpath.split(relative)
    stem, extension = posixpath.splitext(name)
    # Names are truncated later: the suffix has to survive that.
    return posixpath.join(folder, f"{stem[:40]}~{mark}{extension}")
