# SPDX-License-Identifier: Apache-2.0
"""Fixtures: an emulator that listens on a socket."""

from __future__ import annotations

from tests.support.fixtures import server, start

__all__ = ["server", "start"]
