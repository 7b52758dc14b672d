# SPDX-License-Identifier: Apache-2.0
"""The clock of the emulator, which tests can advance."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """Wall-clock time plus an offset; decides what has expired."""

    def __init__(self) -> None:
        self._offset = 0.0

    def time(self) -> float:
        """Return the time as epoch seconds."""
        return time.time() + self._offset

    def advance(self, seconds: float) -> None:
        """Advance the clock. Links, notifications, tokens and rate windows age; running jobs do not."""
        self._offset += seconds


def iso(epoch: float) -> str:
    """Format epoch seconds as the API does: ISO 8601, UTC, ``Z``."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
