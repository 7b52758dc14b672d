# SPDX-License-Identifier: Apache-2.0
"""Count how many operations run at once."""

from __future__ import annotations

import asyncio


class Parallel:
    """Counts operations that run at once; the first ``expected`` wait for each other, however slow the machine is."""

    def __init__(self, expected: int) -> None:
        self.most = self.begun = self._now = 0
        self._expected = expected
        self._reached = asyncio.Event()

    async def begin(self) -> None:
        self.begun += 1
        self._now += 1
        self.most = max(self.most, self._now)
        if self._now >= self._expected:
            self._reached.set()
        await asyncio.wait_for(self._reached.wait(), 30)

    def end(self) -> None:
        self._now -= 1
