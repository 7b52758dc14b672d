# SPDX-License-Identifier: Apache-2.0
"""The balance of the account, which both APIs spend."""

from __future__ import annotations

import threading

from .counters import Counters


class Credits:
    """
    A balance that is never overdrawn. Safe to use from any thread.

    :param start: Balance at the start and after each :meth:`clear`.
    """

    def __init__(self, start: float, counters: Counters) -> None:
        self._start = start
        self._counters = counters
        self._lock = threading.Lock()
        self.balance = start

    def clear(self) -> None:
        """Restore the balance of the start."""
        self.balance = self._start

    def take(self, amount: float) -> bool:
        """Take ``amount``; return False, and count a refused submission, if the balance is too low."""
        with self._lock:
            if amount <= self.balance:
                self.balance -= amount
                return True
        self._counters.refused("credits")
        return False

    def refund(self, amount: float) -> None:
        """Add ``amount`` to the balance."""
        with self._lock:
            self.balance += amount
