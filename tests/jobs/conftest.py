# SPDX-License-Identifier: Apache-2.0
"""Fixtures: an emulator over a socket, and images that were uploaded to it."""

from __future__ import annotations

from tests.support.fixtures import server, start

__all__ = ["server", "start"]
