# SPDX-License-Identifier: Apache-2.0
"""An emulator for one test: short jobs, failures to plan, and what was bought."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from airflow_provider_piktid.emulator import EmulatorServer, Fault, Settings

#: Everything that takes time, a hundred times shorter than at PiktID, and no rate limit.
QUICK: dict[str, Any] = {
    "job_seconds": 0.1,
    "post_process_seconds": 0.1,
    "preprocessing_seconds": 0.1,
    "generate_seconds": 0.1,
    "mask_seconds": 0.05,
    "jobs_per_minute": 0,
    "keepalive_seconds": 1.0,
    "transform": False,
}


class PiktidEmulator(EmulatorServer):
    """
    A local PiktID on a free loopback port, in a thread; it starts empty. A context manager.

    :param settings: Settings that differ from those of :data:`QUICK`; see
        :class:`airflow_provider_piktid.emulator.Settings`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(Settings(**(QUICK | settings)))

    def fail(self, operation: str, kind: str, **how: Any) -> Fault:
        """
        Plan a failure; the same as ``faults.add``, whose table of operations and kinds is in the documentation.

        :raises ValueError: Unknown operation or kind; the message lists the known ones.
        """
        return self.faults.add(operation, kind, **how)

    @property
    def bought_images(self) -> list[str]:
        """The file names of the images in paid jobs, sorted; one that was bought twice is there twice."""
        return sorted(
            self.state.v2.files[image].filename for job in self.state.ledger() for image in job["images"]
        )

    @property
    def bought_persons(self) -> list[tuple[int, str]]:
        """Number of the person and value of the keyword of every paid v1 generation, sorted."""
        rows = self.state.generations()
        return sorted((row["id_person"], ", ".join(map(str, row["keyword"].values()))) for row in rows)

    @property
    def credits_spent(self) -> float:
        """Credits deducted so far, regenerations included."""
        return float(self.settings.credits - self.state.credits.balance)

    def assert_nothing_bought_twice(self) -> None:
        """
        Check that no content was bought twice with the same identity and options, under whatever file name.

        :raises AssertionError: The message names the images, or the persons and keywords.
        """
        twice = [key[0] for key, count in Counter(self._purchases()).items() if count > 1]
        assert not twice, f"bought more than once: {', '.join(sorted(twice))}"

    def assert_failures_happened(self) -> None:
        """
        Check that each planned failure has happened: one that is never reached proves nothing.

        :raises AssertionError: The message names those that did not happen.
        """
        left = [f"{fault.operation} {fault.kind}" for fault in self.faults.pending()]
        assert not left, f"planned failures that did not happen: {', '.join(left)}"

    def _purchases(self) -> list[tuple[str, str, str]]:
        """Return label, content and options of every purchase."""
        return [
            (
                self.state.v2.files[image].filename,
                self._content(image),
                _options(job, "job_type", "identity_code"),
            )
            for job in self.state.ledger()
            for image in job["images"]
        ] + [
            (
                f"person {row['id_person']} {row['keyword']}",
                row["picture"],
                _options(row, "id_person", "keyword"),
            )
            for row in self.state.generations()
        ]

    def _content(self, file_id: str) -> str:
        """Return the checksum of an upload, or its id if it never arrived."""
        blob = self.state.v2.files[file_id].blob
        return blob.digest("sha256").hex() if blob else file_id


def _options(row: dict[str, Any], *names: str) -> str:
    return json.dumps([row["options"], *(row[name] for name in names)], sort_keys=True, default=str)
