# SPDX-License-Identifier: Apache-2.0
"""A night of a refresh on a cluster: what is under way, what it has paid for, and what is there in the end."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from tests.cluster.cluster import Cluster
from tests.cluster.settings import PARTS
from tests.support.rest import ENDED
from tests.support.stack import emulator_call

#: Seconds in which something has to happen in a night, whatever was killed.
DEADLINE = 420.0


def distinct_pictures(folder: Path, count: int) -> Path:
    """Write small images, each with a content of its own; return the folder."""
    folder.mkdir(parents=True)
    for number in range(count):
        color = (number % 256, number // 256, 90)
        Image.new("RGB", (64, 48), color).save(folder / f"{number:04d}.png")
    return folder


@dataclass
class ClusterNight:
    """
    One run of a refresh.

    :param url: The emulator.
    :param output: Where its pictures go.
    :param images: How many sources it has.
    """

    cluster: Cluster
    url: str
    output: Path
    dag_id: str
    run_id: str
    images: int
    began: float = field(default_factory=time.time)
    took: float = 0.0

    # -- what is under way ----------------------------------------------------------------------------------

    def wait(self, condition: Callable[[], bool], what: str, *, seconds: float = 300) -> None:
        self.cluster.wait(condition, what, seconds=seconds, tolerant=True, progress=self._progress)

    def _progress(self) -> Any:
        return self.cluster.progress(self.dag_id, self.run_id), self.ledger()

    def tasks(self, task: str = "") -> list[dict[str, Any]]:
        """Return the task instances of the run, or of one task of the refresh such as ``batch.swap``."""
        rows = self.cluster.tasks(self.dag_id, self.run_id)
        return [row for row in rows if row["task_id"].endswith(task)]

    def running(self, task: str) -> list[dict[str, Any]]:
        return [row for row in self.tasks(task) if row["state"] == "running"]

    def is_deferred(self) -> bool:
        """Whether all swaps wait in a triggerer, with all jobs submitted that the account takes at once."""
        swaps = self.tasks("batch.swap")
        return bool(swaps) and all(row["state"] == "deferred" and row["triggerer_job"] for row in swaps)

    def triggerers(self) -> set[str]:
        """Return the triggerers that hold the waits."""
        return {row["triggerer_job"]["hostname"] for row in self.tasks("batch.swap") if row["triggerer_job"]}

    def fault_met(self) -> int:
        """Return how often the planned faults have happened."""
        return sum(fault["met"] for fault in emulator_call(self.url, "faults")["faults"])

    def ledger(self) -> list[dict[str, Any]]:
        return list(emulator_call(self.url, "ledger")["jobs"])

    def release(self) -> None:
        """End the jobs that would never end by themselves."""
        for job in self.ledger():
            if job["status"] in ("pending", "processing"):
                emulator_call(self.url, f"jobs/{job['job_id']}/complete", {})

    def state(self) -> str:
        return self.cluster.run_state(self.dag_id, self.run_id)

    # -- what is there in the end ---------------------------------------------------------------------------

    def finish(self) -> str:
        """Wait until the run has ended; return its state."""
        self.wait(lambda: self.state() in ENDED, "the run to end", seconds=DEADLINE)
        self.took = time.time() - self.began
        return self.state()

    def paid_twice(self) -> int:
        """Return how many images were paid for beyond one for each source, all of which differ."""
        return sum(len(job["images"]) for job in self.ledger()) - self.images

    def lost(self) -> int:
        """Return how many sources have no output that can be opened."""
        found = [path for path in self.output.rglob("*.*") if "_piktid" not in path.parts]
        for path in found:
            with Image.open(path) as picture:
                picture.load()
        return self.images - len(found)

    def told(self) -> str:
        """Return the figures of an ended night; tries are those beyond the first, by task."""
        tries = Counter(
            row["task_id"].rpartition(".")[2] for row in self.tasks() for _ in range(row["try_number"] - 1)
        )
        return (
            f"{self.took:.0f} s in all, more tries {dict(tries)}, {len(self.ledger())} jobs, "
            f"paid twice {self.paid_twice()}, lost {self.lost()}, load {os.getloadavg()[0]:.1f}, "
            f"parts that ended by themselves: {self.ended_by_themselves() or 'none'}"
        )

    def ended_by_themselves(self) -> list[str]:
        """Return the parts that ended since the run began, without being killed."""
        return [
            part
            for part in PARTS
            for when, code in self.cluster.ends(part)
            if when >= self.began and code != -signal.SIGKILL
        ]
