# SPDX-License-Identifier: Apache-2.0
"""Sources that are made of several files, for types of jobs that combine all their images."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any


def joined(uploads: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """
    Return one upload for each source: the files of a group as one.

    :param uploads: Rows of the upload, those of a group one after the other.
    """
    grouped = itertools.groupby(uploads, lambda upload: upload.get("group") or upload["source"])
    return [_join(source, list(files)) for source, files in grouped]


def _join(source: str, files: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    first = files[0]
    if first["source"] == source:
        return first
    described = all("size" in file for file in files)
    return {
        "source": source,
        **{name: first[name] for name in ("file_id", "project_id") if name in first},
        "sha256": joint_digest(str(file["sha256"]) for file in files),
        **(_described(files) if described else {}),
    }


def _described(files: list[Mapping[str, Any]]) -> dict[str, Any]:
    parts = [(file["version"], file["size"], file["modified"]) for file in files]
    return {
        "size": sum(file["size"] for file in files),
        "version": joint_version(parts),
        "modified": max(file["modified"] for file in files),
    }


def joint_digest(digests: Iterable[str]) -> str:
    """Return one SHA-256 of several files, whatever their names and order."""
    found = sorted(digests)
    return found[0] if len(found) == 1 else hashlib.sha256("\n".join(found).encode()).hexdigest()


def joint_version(files: Iterable[tuple[str | None, int, float]]) -> str:
    """Return one version of several files from version, size and date of each, whatever their names and order."""
    parts = sorted(version or f"{size} {modified!r}" for version, size, modified in files)
    return "group-" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
