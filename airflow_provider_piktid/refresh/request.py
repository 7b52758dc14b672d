# SPDX-License-Identifier: Apache-2.0
"""The checked arguments of a refresh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_piktid.files.storage import SourceFile
from airflow_provider_piktid.get_provider_info import DEFAULT_IMAGES_PER_JOB
from airflow_provider_piktid.refresh.catalogue import Reason, SourceState, compare, source_fields
from airflow_provider_piktid.refresh.groups import files_of


@dataclass(frozen=True)
class RefreshRequest:
    """
    The checked arguments of a refresh.

    :param producer: DAG and task, for the rows.
    :param run: Digest of the DAG run, for the rows.
    :param resubmit: Submit sources again whose fate stays unknown.
    :param rebuild_missing: Submit sources again whose output was removed and that PiktID no longer has.
    :param max_late_runs: How many runs try to download an output that is paid for.
    :param prune: Remove outputs whose source no longer exists.
    :param dry_run: Write nothing.
    :param variations: Outputs of one source.
    :param price: Credits of one output; None if neither the author nor PiktID states them.
    :param combines: Whether each source is a job of its own, which combines the files of the source.
    :param instructions: Outputs of each instruction; empty if the type of job has none.
    :param group_by: How files become sources, see ``groups.Grouping``; None: each is one.
    :param most_images: Images that one job takes.
    """

    source: str
    output_path: str
    identity_code: str | None
    options_key: str
    producer: str
    run: str
    exclude: Sequence[str] = ()
    max_images: int | None = None
    max_attempts: int = 3
    resubmit: bool = False
    rebuild_missing: bool = False
    max_late_runs: int = 7
    prune: bool = False
    dry_run: bool = False
    variations: int = 1
    price: float | None = None
    combines: bool = False
    instructions: tuple[int, ...] = ()
    group_by: str | None = None
    most_images: int = DEFAULT_IMAGES_PER_JOB

    def compare(self, known: SourceState | None, file: SourceFile) -> Reason:
        """Return what has to be done with a source."""
        return compare(known, file, self.options_key, max_attempts=self.max_attempts, resubmit=self.resubmit)

    def can_fetch(self, state: SourceState) -> bool:
        """Whether PiktID may still have outputs of a source that were removed from the folder."""
        return any(
            row["status"] == "lost" and row["job_id"] and row.get("late_runs", 0) < self.max_late_runs
            for row in state.rows
        )

    def rebuilds(self, state: SourceState) -> bool:
        """Whether outputs that were removed from the folder are bought again."""
        return self.rebuild_missing and not self.can_fetch(state)

    def row_base(self, file: SourceFile, target: str) -> dict[str, Any]:
        """Return the fields of a row of a source that this run submits, without its outcome."""
        combined = {"sources": [each.location.uri for each in files_of(file)]} if self.combines else {}
        return {
            **source_fields(file, target),
            **combined,
            "identity_code": self.identity_code,
            "options_key": self.options_key,
            "producer": self.producer,
            "run": self.run,
        }
