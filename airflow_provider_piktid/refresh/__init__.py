# SPDX-License-Identifier: Apache-2.0
"""The refresh of a catalogue: plan what changed, collect the outputs, summarize the run, read the rows."""

from __future__ import annotations

from airflow_provider_piktid.refresh.store import iter_rows, read_rows

__all__ = ["iter_rows", "read_rows"]
