# SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests with processes of their own."""

from __future__ import annotations

from tests.support.fixtures import server, start

__all__ = ["server", "start"]
