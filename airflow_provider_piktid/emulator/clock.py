# SPDX-License-Identifier: Apache-2.0
"""The time of the emulator, which tests can move forward."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """Wall-clock time plus an offset; what expires looks here."""

    def __init__(self) -> None:
        self._offset = 0.0

    def time(self) -> float:
        """Return the epoch in seconds."""
        return time.time() + self._offset

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass at once: links, notifications, tokens, windows age; running jobs do not."""
        self._offset += seconds


def iso(epoch: float) -> str:
    """Write an epoch as the API does: ISO 8601, UTC, ``Z``."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
