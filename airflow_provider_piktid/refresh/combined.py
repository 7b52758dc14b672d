# SPDX-License-Identifier: Apache-2.0
"""The outputs of types of jobs that combine images: their names, and which instruction made each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.refresh.content import output_name

if TYPE_CHECKING:
    from airflow_provider_piktid.jobs.manifest import Row


def name_combined(rows: Sequence[Row], images: Sequence[Mapping[str, Any]]) -> None:
    """
    Name outputs of combined images by both of their numbers, and say what they were made of.

    Which number is the instruction, PiktID's documents disagree about. Both together are unique in a job, and the same
    in each job of a source, so that a new output replaces the old one.

    :param images: One for each source: ``source``, ``relative`` and ``sources``, the files of it; None of other types.
    """
    combined = {image["source"]: image for image in images if image["sources"]}
    taken: set[str] = set()
    for row in rows:
        if (image := combined.get(row.source)) is None:
            continue
        row.sources = list(image["sources"])
        if row.file:
            name = output_name(image["relative"], row.image_index, row.group_index, row.version, row.file)
            # Only outputs of two jobs of one source share it; the second one keeps its own.
            row.file = row.file if name in taken else name
            taken.add(name)


def instructions_of(outputs: Sequence[Row], counts: Sequence[int]) -> list[int | None]:
    """
    Return the number of the instruction that each output was made by; None where that is not certain.

    Which of ``image_index`` and ``group_index`` it is, the numbers that occur show, unless both ways fit.

    :param counts: Outputs of each instruction; empty if that is not known.
    """
    pairs = [(row.image_index, row.group_index) for row in outputs]
    fitting = [
        first
        for first in (0, 1)
        if all(pair[first] < len(counts) and pair[1 - first] < counts[pair[first]] for pair in pairs)
    ]
    found = [{pair[first] for first in fitting} for pair in pairs]
    return [numbers.pop() if len(numbers) == 1 else None for numbers in found]
