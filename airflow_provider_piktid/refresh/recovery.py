# SPDX-License-Identifier: Apache-2.0
"""Rebuild rows that a damaged catalogue has lost, from the manifests beside the outputs."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence

from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.search import source_of
from airflow_provider_piktid.files.storage import Location, SourceFile
from airflow_provider_piktid.jobs import manifest
from airflow_provider_piktid.refresh.catalogue import CatalogueRow, output_fields
from airflow_provider_piktid.refresh.request import RefreshRequest


def recover(private: Location, files: Sequence[SourceFile], request: RefreshRequest) -> list[CatalogueRow]:
    """
    Rebuild the lost rows of sources from the manifests of their batches.

    A manifest contains neither version nor options: an output of this identity that is newer than its source
    is assumed to be the right one, rather than paid for twice.

    :param private: Folder of the refresh's own files.
    """
    by_uri = {file.location.uri: file for file in files}
    found: dict[str, list[CatalogueRow]] = {}
    for written, rows in _manifests(private):
        fresh: dict[str, list[CatalogueRow]] = {}
        for row in rows:
            file = by_uri.get(row.source or "")
            if file is None or not row.file or written < file.modified:
                continue
            if row.identity_code in (None, request.identity_code):
                fresh.setdefault(file.relative, []).append(_recovered(row, file, written, request))
        found |= fresh
    return [row for rows_of_one in found.values() for row in rows_of_one]


def _manifests(private: Location) -> Iterable[tuple[float, list[manifest.Row]]]:
    """Read the manifests of all batches, oldest first."""
    listing = private.fs.find(private.path, maxdepth=1, detail=True)
    sources = [
        source_of(Location(private.fs, path, private.prefix), "", info)
        for path, info in listing.items()
        if posixpath.basename(path).startswith("manifest-")
    ]
    for file in sorted(sources, key=lambda item: item.modified):
        yield file.modified, manifest.load(storage.read_json(file.location), file.location.uri)


def _recovered(row: manifest.Row, file: SourceFile, written: float, request: RefreshRequest) -> CatalogueRow:
    return CatalogueRow(
        **request.row_base(file, file.relative),
        attempts=1,
        status="done" if row.status == "done" else "pending",
        at=written,
        **output_fields(row),
    )
