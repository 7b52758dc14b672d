# SPDX-License-Identifier: Apache-2.0
"""Refuse a refresh that would buy its own outputs, or undo the work of another refresh every night."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from airflow_provider_piktid.exceptions import PiktidConfigError
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.search import glob_base
from airflow_provider_piktid.files.storage import Location, SourceFile
from airflow_provider_piktid.refresh.catalogue import Reason, SourceState
from airflow_provider_piktid.refresh.request import RefreshRequest


def check_no_overlap(source: str, output: str) -> None:
    """
    Check that neither of source and output contains the other: outputs would be submitted as sources.

    :raises PiktidConfigError: They overlap.
    """
    left, right = storage.locate(source), storage.locate(output)
    if _protocol(left) != _protocol(right):
        return
    first, second = _folder(left), _folder(right)
    if first == second or first.startswith(second) or second.startswith(first):
        raise PiktidConfigError(
            f"`source` {source} and `output_path` {output} must not overlap: outputs would be submitted as new "
            "sources and billed. Use separate folders."
        )


def _protocol(location: Location) -> str:
    return location.prefix.partition("://")[0]


def _folder(location: Location) -> str:
    base = glob_base(location.path)
    # A name that exists is not a glob, even if it contains magic characters.
    path = location.path if base == location.path or location.fs.exists(location.path) else base
    if location.is_local:
        path = os.path.realpath(path)
    return path.rstrip("/") + "/"


def check_producer(
    classified: Iterable[tuple[SourceFile, Reason]], known: Mapping[str, SourceState], request: RefreshRequest
) -> None:
    """Two refreshes with different options in one output would overwrite each other's work and pay every night."""
    for file, reason in classified:
        if reason == "options" and known[file.relative].producer != request.producer:
            raise PiktidConfigError(
                f"{request.output_path} contains outputs that {known[file.relative].producer} made with other "
                "options, another identity or another type of job. Set a separate `output_path` for "
                f"{request.producer}. Nothing was submitted."
            )
