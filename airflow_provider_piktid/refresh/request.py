# SPDX-License-Identifier: Apache-2.0
"""The checked arguments of a refresh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_piktid.files.storage import SourceFile
from airflow_provider_piktid.refresh.catalogue import Reason, SourceState, compare, source_fields


@dataclass(frozen=True)
class RefreshRequest:
    """
    The checked arguments of a refresh.

    :param producer: DAG and task, for the rows.
    :param run: Digest of the DAG run, for the rows.
    :param resubmit: Submit sources again whose fate stays unknown.
    :param prune: Remove outputs whose source no longer exists.
    :param dry_run: Write nothing.
    :param variations: Outputs of one source.
    :param price: Credits of one output, if the catalogue has none.
    """

    source: str
    output_path: str
    identity_code: str
    options_key: str
    producer: str
    run: str
    exclude: Sequence[str] = ()
    max_images: int | None = None
    max_attempts: int = 3
    resubmit: bool = False
    prune: bool = False
    dry_run: bool = False
    variations: int = 1
    price: float = 1.0

    def compare(self, known: SourceState | None, file: SourceFile) -> Reason:
        """Return what has to be done with a source."""
        return compare(known, file, self.options_key, max_attempts=self.max_attempts, resubmit=self.resubmit)

    def row_base(self, file: SourceFile, target: str) -> dict[str, Any]:
        """Return the fields of a row of a source that this run submits, without its outcome."""
        return {
            **source_fields(file, target),
            "identity_code": self.identity_code,
            "options_key": self.options_key,
            "producer": self.producer,
            "run": self.run,
        }
