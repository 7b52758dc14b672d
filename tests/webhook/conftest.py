# SPDX-License-Identifier: Apache-2.0
"""Fixtures: an emulator with jobs that have ended, assets in Airflow's database, and signed deliveries."""

from __future__ import annotations

from tests.support.fixtures import server, start

__all__ = ["server", "start"]
