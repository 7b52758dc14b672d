# SPDX-License-Identifier: Apache-2.0
"""Rows that a damaged catalogue has lost."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from airflow_provider_piktid.files import storage
from airflow_provider_piktid.jobs import manifest
from airflow_provider_piktid.refresh.recovery import recover
from airflow_provider_piktid.refresh.request import RefreshRequest
from tests.support.catalogue import store_in


@pytest.mark.parametrize(
    ("age", "identity", "found"),
    [(10, "PiktidSummer", "done"), (-10, "PiktidSummer", None), (10, "PiktidPremium", None)],
    ids=["newer than its source", "older than its source", "another identity"],
)
def test_lost_rows_are_recovered_from_manifests(
    tmp_path: Path, age: float, identity: str, found: str | None
) -> None:
    """A lost row is recovered from a manifest that is newer than the source and has the same identity."""
    now = time.time()
    lost = storage.SourceFile(storage.locate("/in/a.jpg"), "a.jpg", 100, "v1", now)
    told = manifest.Row(
        "file:///in/a.jpg", "a_0_v1.jpg", "job", 0, 0, 1, "onda", "done", identity_code=identity
    )
    target = storage.locate(str(tmp_path)).join(manifest.manifest_path(["job"]))
    storage.write_bytes(target, manifest.dump([told]))
    os.utime(target.path, (now + age, now + age))

    request = RefreshRequest("/in", str(tmp_path), "PiktidSummer", "key", "dag.plan", "run")

    rows = recover(store_in(tmp_path).private, [lost], request)

    assert [(each.relative, each.status) for each in rows] == ([("a.jpg", found)] if found else [])
