# SPDX-License-Identifier: Apache-2.0
"""The summary of a whole run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

from airflow_provider_piktid.exceptions import PiktidPartialResultError
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.storage import Location
from airflow_provider_piktid.refresh.contact_sheet import Pair, write_sheet
from airflow_provider_piktid.refresh.store import CatalogueStore

STATUSES = ("done", "pending", "unknown", "lost", "failed", "rejected")


class RunSummary:
    """
    The rows that one run wrote.

    :param planned: ``summary`` of the plan; None if there is none.
    :param parts: Names of the parts of the catalogue when the plan ended. Default: not known.
    :raises PiktidPartialResultError: There is no plan.
    """

    def __init__(
        self,
        folder: Location,
        planned: Mapping[str, Any] | None,
        plan_task_id: str,
        parts: Collection[str] | None = None,
    ) -> None:
        if not planned:
            raise PiktidPartialResultError(f"No plan found in XCom of {plan_task_id}; check that task's log.")
        self.folder = folder
        self.planned = planned
        self._store = CatalogueStore(folder)
        self.rows = self._store.rows_of(str(planned["run"]), parts)
        self._sheet: Location | None = None

    @property
    def private(self) -> Location:
        """Folder of the refresh's own files."""
        return self._store.private

    @property
    def done(self) -> int:
        return sum(row["status"] == "done" for row in self.rows)

    @property
    def is_unchanged(self) -> bool:
        return not self.done and not self.planned["pruned"]

    @cached_property
    def _late_entries(self) -> list[dict[str, Any]]:
        return self._store.read_batches(f"{self.planned['run']}/late")

    @cached_property
    def _earlier(self) -> set[str]:
        """Sources that an earlier run submitted, and whose rows this one wrote."""
        late = {
            one["row"]["relative"] for entry in self._late_entries for one in (entry, *entry.get("equal", ()))
        }
        return late | {
            row["relative"] for row in self.rows if row["status"] == "lost" or row.get("late_runs")
        }

    @cached_property
    def _equal(self) -> set[str]:
        """Sources with the output of another one: not planned for submission."""
        return {row["relative"] for row in self.rows if row.get("equal_to")}

    def sources(self) -> dict[str, int]:
        """Count sources by outcome; ``missing``: planned, but not submitted."""
        states: dict[str, str] = {}
        for row in self.rows:
            before = states.get(row["relative"], "rejected")
            states[row["relative"]] = min(before, row["status"], key=STATUSES.index)
        others = self._earlier | self._equal
        submitted = [name for name, status in states.items() if status != "rejected" and name not in others]
        counts = {status: list(states.values()).count(status) for status in STATUSES}
        counts["rejected"] = int(self.planned["rejected"])
        return counts | {"missing": max(0, int(self.planned["images"]) - len(submitted))}

    def to_xcom(self) -> dict[str, Any]:
        """Return counts and URIs."""
        done = [row for row in self.rows if row["status"] == "done"]
        return {
            "run": self.planned["run"],
            "output_path": self.folder.uri,
            "catalogue": self._store.folder.uri,
            "contact_sheet": self._sheet.uri if self._sheet else None,
            "planned": dict(self.planned),
            "sources": self.sources(),
            "reused": len({row["relative"] for row in done} & self._equal),
            "files": len(done),
            "bytes": sum(row["size"] or 0 for row in done),
            "credits": self._credits(),
        }

    def _credits(self) -> float | None:
        """Return what the outputs of this run cost, None if PiktID stated nothing."""
        # The run that first downloaded an output has counted its credits.
        again = {entry["row"]["relative"] for entry in self._late_entries if "kept" in entry}
        spent = [
            row["credits"]
            for row in self.rows
            if row["status"] == "done" and row["credits"] is not None and row["relative"] not in again
        ]
        return round(sum(spent), 4) if spent else None

    def write_sheet(self, log: Any) -> Location | None:
        """Write the contact sheet. If that fails, log a warning and return None: paid work must not fail for it."""
        pairs = [
            Pair(
                title=row["relative"],
                before=tuple(map(storage.locate, row.get("sources") or [row["source"]])),
                after=self.folder.join(row["file"]) if row["status"] == "done" else None,
                note=row["error"] or _made_by(row),
                failed=row["status"] != "done",
            )
            for row in sorted(self.rows, key=_sheet_order)
        ]
        target = self.folder.join(f"{storage.PRIVATE_FOLDER}/contact_sheet/{self.planned['run']}.html")
        try:
            write_sheet(target, pairs, self._facts())
            self._sheet = target
        except OSError as error:
            log.warning("The contact sheet could not be written (%s).", type(error).__name__)
        return self._sheet

    def _facts(self) -> str:
        counts = self.sources()
        text = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        spent = self._credits()
        cost = "" if spent is None else f"; {spent:g} credit(s)"
        return f"{text or 'nothing'}; {self.planned['unchanged']} unchanged{cost}. Outputs: {self.folder.uri}"

    def raise_if_incomplete(self, *, fail_on_partial: bool, log: Any) -> None:
        """
        Fail or warn if sources have no output.

        :raises PiktidPartialResultError: No source has an output, or only some do and ``fail_on_partial`` is set.
        """
        counts = self.sources()
        lost = sum(counts.values()) - counts["done"]
        if not lost:
            return
        text = (
            f"{counts['failed']} source(s) failed at PiktID, {counts['pending']} are paid but not downloaded yet, "
            f"{counts['unknown']} may have been paid for (the reply was lost), "
            f"the outputs of {counts['lost']} were removed and could not be downloaded again, "
            f"{counts['missing']} belong to batches that failed (see the failed tasks of this run), "
            f"{counts['rejected']} are not supported images. The next run processes them again."
        )
        if fail_on_partial or (self.planned["images"] and not self.done):
            raise PiktidPartialResultError(text)
        log.warning(text)


def _made_by(row: Mapping[str, Any]) -> str:
    """Return the instruction and the engine of an output, as far as they are known."""
    number = row.get("instruction")
    engine = row["model_used"]
    parts = [f"instruction {number}" if number is not None else "", f"engine {engine}" if engine else ""]
    return ", ".join(filter(None, parts))


def _sheet_order(row: Mapping[str, Any]) -> tuple[bool, float, str]:
    """Sort failures first, then the newest sources."""
    return row["status"] == "done", -(row["source_modified"] or 0.0), row["relative"]


def event_extra(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the extra of the asset event: the catalogue and counts."""
    names = ("catalogue", "output_path", "run", "contact_sheet", "reused", "files", "bytes", "credits")
    counts = {name: summary["planned"][name] for name in ("listed", "unchanged", "waiting", "deleted")}
    return {**{name: summary[name] for name in names}, **summary["sources"], **counts}
