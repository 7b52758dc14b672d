# SPDX-License-Identifier: Apache-2.0
"""Outputs that somebody removed from the folder, and outputs that no run can download."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_piktid.refresh.catalogue import Reason, SourceState, add_rows
from airflow_provider_piktid.refresh.content import Classified, missing_files
from airflow_provider_piktid.refresh.outputs import PresentFiles
from airflow_provider_piktid.refresh.request import RefreshRequest

REMOVED = "its output was removed from the output folder"
GIVEN_UP = "it was paid for, but could not be downloaded in {} runs"


class Presence:
    """
    Compares the catalogue with the files in the output folder.

    :param known: The catalogue of these sources; those whose state changes get new rows.
    :param present: The files in the output folder.
    :param now: Time of new rows, epoch seconds.
    """

    def __init__(
        self,
        request: RefreshRequest,
        known: dict[str, SourceState],
        present: PresentFiles,
        now: float,
    ) -> None:
        self._request = request
        self._known = known
        self._present = present
        self._now = now
        self.rows: list[dict[str, Any]] = []

    def apply(self, classified: Iterable[Classified]) -> list[Classified]:
        """Return the sources with their reasons; those without the output that the catalogue names have another."""
        return [(file, self._reason(file.relative, reason)) for file, reason in classified]

    def _reason(self, name: str, reason: Reason) -> Reason:
        if name not in self._known:
            return reason
        state = self._known[name]
        if reason == "same" and (gone := missing_files(state, self._present)):
            self._write(name, [_removed(row) if row["file"] in gone else row for row in state.rows])
            return "lost"
        if reason == "lost":
            return self._reason_of_lost(name, state)
        if reason == "pending" and self._is_too_late(state):
            error = GIVEN_UP.format(self._request.max_late_runs)
            self._write(name, [{**row, "status": "failed", "error": error} for row in state.rows])
            return "expired"
        return reason

    def _reason_of_lost(self, name: str, state: SourceState) -> Reason:
        """A file that is back counts; one that cannot be downloaded is bought only on request."""
        rows = [
            _returned(row) if self._present.get(row["file"]) == row["size"] else row for row in state.rows
        ]
        if all(row["status"] != "lost" for row in rows):
            self._write(name, rows)
            return "same"
        return "rebuild" if self._request.rebuilds(state) else "lost"

    def _is_too_late(self, state: SourceState) -> bool:
        runs = [row.get("late_runs", 0) for row in state.rows if row["status"] == "pending"]
        return min(runs, default=0) >= self._request.max_late_runs

    def _write(self, name: str, rows: list[dict[str, Any]]) -> None:
        fresh = [{**row, "at": self._now, "run": self._request.run} for row in rows]
        self.rows += fresh
        add_rows(self._known, fresh)


def _removed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "status": "lost", "error": REMOVED, "late_runs": 0}


def _returned(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "status": "done", "error": None, "late_runs": 0} if row["status"] == "lost" else dict(row)
