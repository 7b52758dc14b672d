# SPDX-License-Identifier: Apache-2.0
"""Catalogue rows and source files with defaults for every field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.storage import SourceFile
from airflow_provider_piktid.models.model_swap import ModelSwap
from airflow_provider_piktid.refresh import catalogue
from airflow_provider_piktid.refresh.arguments import options_key
from airflow_provider_piktid.refresh.catalogue import CatalogueRow, SourceState
from airflow_provider_piktid.refresh.store import CatalogueStore

KEY = options_key(ModelSwap(identity_code="PiktidSummer"))


def row(relative: str = "a.jpg", **fields: Any) -> CatalogueRow:
    """Return a row of a source of 100 bytes with version ``v1``, done at time 1."""
    fixed: dict[str, Any] = {
        "relative": relative,
        "source": f"s3://bucket/in/{relative}",
        "source_version": "v1",
        "source_sha256": "sum",
        "source_size": 100,
        "source_modified": 10.0,
        "target": relative,
        "identity_code": "PiktidSummer",
        "options_key": KEY,
        "producer": "dag.plan",
        "run": "run",
        "attempts": 1,
        "status": "done",
        "at": 1.0,
        "file": f"{relative}_0_v1.jpg",
    }
    return CatalogueRow(**(fixed | fields))


def source(relative: str = "a.jpg", **fields: Any) -> SourceFile:
    """Return a source of 100 bytes with version ``v1``."""
    fixed: dict[str, Any] = {"size": 100, "version": "v1", "modified": 10.0}
    return SourceFile(storage.locate(f"/in/{relative}"), relative, **(fixed | fields))


def known_of(*rows: CatalogueRow) -> dict[str, SourceState]:
    """Read rows as a catalogue does."""
    known: dict[str, SourceState] = {}
    catalogue.add_rows(known, rows)
    return known


def store_in(folder: Path) -> CatalogueStore:
    return CatalogueStore(storage.locate(str(folder)))
