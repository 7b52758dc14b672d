# SPDX-License-Identifier: Apache-2.0
"""The account's balance, shared by both APIs."""

from __future__ import annotations

import threading

from .counters import Counters


class Credits:
    """
    The balance; it never becomes negative. Safe to use from any thread.

    :param start: Balance at startup and after :meth:`clear`.
    """

    def __init__(self, start: float, counters: Counters) -> None:
        self._start = start
        self._counters = counters
        self._lock = threading.Lock()
        self.balance = start

    def clear(self) -> None:
        """Reset the balance."""
        self.balance = self._start

    def take(self, amount: float) -> bool:
        """Deduct ``amount``. If the balance is too low, count a refused submission and return False."""
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
