# SPDX-License-Identifier: Apache-2.0
"""Read version and date from the listing of any store, and match file names with patterns."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any


def version_in(info: Mapping[str, Any]) -> str | None:
    """Return the ETag or checksum of the content; None if the listing has none."""
    for name in ("ETag", "etag", "md5Hash", "content_md5"):
        tag = info.get(name)
        if tag and isinstance(tag, str):
            return tag.strip('"')
    return None


def modified_in(info: Mapping[str, Any]) -> float:
    """Return the time of the last change in epoch seconds; 0.0 if the listing has none."""
    for name in ("mtime", "LastModified", "last_modified", "updated"):
        if moment := info.get(name):
            if isinstance(moment, str):
                moment = datetime.fromisoformat(moment)
            return moment.timestamp() if isinstance(moment, datetime) else float(moment)
    return 0.0


def matches(relative: str, patterns: Sequence[str]) -> bool:
    """Return whether a relative path, or its name alone, matches one of the glob patterns."""
    if not patterns:
        return False
    name = posixpath.basename(relative)
    return any(fnmatch.fnmatch(relative, pattern) or fnmatch.fnmatch(name, pattern) for pattern in patterns)
