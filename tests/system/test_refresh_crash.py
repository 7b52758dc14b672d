# SPDX-License-Identifier: Apache-2.0
"""
A refresh is killed at every step of a night; no later night buys anything twice, and no output is lost.

Nothing of Airflow survives the killed night: later nights know only what is below ``output_path`` and at PiktID.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.refresh import read_rows
from tests.support.batch import bought_by_content, jobs
from tests.support.fixtures import Start
from tests.support.nights import ENDED, KINDS, run_night
from tests.support.processes import _FORKS
from tests.support.service import connection_json, pictures

#: Steps that are tried in CI, beside those around paid requests; `make chaos` tries all.
SAMPLE = 4
SEED = int(os.environ.get("PIKTID_CRASH_SEED", "20261121"))

#: How the work goes on after a night was killed.
Way = Literal["next night", "clear", "retry"]


@dataclass
class Crashing:
    """A small catalogue, and nights over it."""

    server: EmulatorServer
    folder: Path
    swap: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    nights: int = 0
    kind: str = "swap"

    def __post_init__(self) -> None:
        pictures(self.folder / "in", *self.files)

    @property
    def files(self) -> list[str]:
        return KINDS[self.kind].files()

    @property
    def output(self) -> str:
        return str(self.folder / "out")

    def night(self, *, end_at: int | None = None, way: Way = "next night") -> tuple[list[str], bool]:
        """
        Run a night, and return its steps and whether it was killed.

        :param way: ``next night``: a new DAG run. ``clear``: the last one again. ``retry``: only those tasks of the
            last one that had not ended.
        """
        self.nights += way == "next night"
        kept = self.folder / f"xcom-{self.nights}.json"
        if way == "clear":
            kept.unlink(missing_ok=True)
        log = self.folder / "night.json"
        connection = connection_json(self.server.url, images_per_job=2, jobs_per_minute=100)
        source = str(self.folder / "in")
        arguments = (connection, source, self.output, self.nights, str(log), end_at, self.swap, self.plan)
        process = _FORKS.Process(target=run_night, args=(*arguments, str(kept), self.kind))
        process.start()
        process.join(60)
        assert process.exitcode in (0, ENDED), process.exitcode
        return json.loads(log.read_text()), process.exitcode == ENDED

    @property
    def bought(self) -> list[int]:
        """How often each image was bought, by its content."""
        return sorted(bought_by_content(self.server).values())

    @property
    def statuses(self) -> list[str]:
        return sorted(row["status"] for row in read_rows(self.output))

    @property
    def output_of(self) -> dict[str, bytes]:
        """The content of each source's output, by the source's name; sources that no longer exist are left out."""
        rows = [row for row in read_rows(self.output) if (self.folder / "in" / row["relative"]).exists()]
        return {
            row["relative"]: Path(self.output, row["file"]).read_bytes()
            for row in rows
            if row["status"] == "done"
        }

    @property
    def outputs(self) -> int:
        return len(list(Path(self.output).glob("*.jpg")))


def make(start: Start, folder: Path, kind: str = "swap", **swap: Any) -> Crashing:
    folder.mkdir(parents=True, exist_ok=True)
    return Crashing(start(job_seconds=0.05), folder, {"lost_reply_grace": 0.1, **swap}, kind=kind)


def steps_of_a_night(start: Start, folder: Path, kind: str = "swap") -> list[str]:
    steps, _ = make(start, folder, kind).night()
    return steps


def is_unknowable(steps: list[str], kind: str) -> bool:
    """Whether a night that died after these steps had recorded a paid request and not sent it: nobody can know."""
    last = steps[-1]
    recorded = last.startswith("after write_bytes") and last.endswith(".jobs.json")
    request = KINDS[kind].request
    # The record of a batch is written before its first request, and before and after each further one.
    is_intent = recorded and steps.count(last) % 2 == 1 and steps.count(last) <= 2 * _jobs_of_a_batch(kind)
    return last == f"before POST {request}" or is_intent


def _jobs_of_a_batch(kind: str) -> int:
    return 2 // KINDS[kind].sources_of_a_job


def assert_nothing_paid_twice(crashing: Crashing, step: str, *, unknown: bool) -> None:
    """Two more nights: the first one completes the catalogue, the second one has nothing to do."""
    crashing.night()
    before = len(jobs(crashing.server))
    crashing.night()

    assert max(crashing.bought, default=0) <= 1, step
    assert len(jobs(crashing.server)) == before, step
    if unknown:
        # The images are reported and not bought again.
        lost = KINDS[crashing.kind].sources_of_a_job
        assert crashing.statuses == ["done"] * (4 - lost) + ["unknown"] * lost, step
    else:
        assert (crashing.statuses, crashing.bought) == (["done"] * 4, [1] * len(crashing.files)), step
        assert crashing.outputs == 4, step


def explore(
    start: Start,
    folder: Path,
    chosen: list[int],
    ways: Sequence[Way] = get_args(Way),
    kind: str = "swap",
    **swap: Any,
) -> None:
    """Kill a first night at each chosen step, and go on in one of the ways in turn."""
    killed = 0
    for number, index in enumerate(chosen):
        crashing = make(start, folder / str(index), kind, **swap)
        # The number of status requests differs from night to night: the same index may be another step, or none.
        steps, ended = crashing.night(end_at=index)
        killed += ended
        assert ended or len(steps) <= index
        way = ways[number % len(ways)]
        if way != "next night":
            crashing.night(way=way)
        unknown = ended and is_unknowable(steps, kind) and "on_lost_reply" not in swap
        assert_nothing_paid_twice(crashing, f"{steps[-1]}, {way}", unknown=unknown)
    assert killed


def test_night_has_steps_before_and_after_each_purchase(start: Start, tmp_path: Path) -> None:
    """The steps contain each paid request and each write around it, in order."""
    steps = steps_of_a_night(start, tmp_path)

    paid = [index for index, step in enumerate(steps) if step == "before POST model-swap"]
    assert len(paid) == 2
    assert [steps[index - 1] for index in paid] == [
        f"after write_bytes batch-000{number}.jobs.json" for number in (1, 2)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("swap", [{}, {"on_lost_reply": "resubmit"}], ids=["fail", "resubmit"])
def test_kill_around_a_purchase_pays_once(start: Start, tmp_path: Path, swap: dict[str, Any]) -> None:
    """A night that dies around a paid request, or at some other steps, is completed without paying twice."""
    steps = steps_of_a_night(start, tmp_path / "count")
    paid = [n for n, step in enumerate(steps) if "POST model-swap" in step or "jobs.json" in step]
    others = random.Random(SEED).sample(range(len(steps)), SAMPLE)

    explore(start, tmp_path, sorted({*paid, *others}), **swap)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "swap"])
def test_kill_after_a_purchase_of_another_type_pays_once(start: Start, tmp_path: Path, kind: str) -> None:
    """A night that dies before it has the reply to a paid request is completed without paying twice."""
    steps = steps_of_a_night(start, tmp_path / "count", kind)
    replies = [n for n, step in enumerate(steps) if step == f"after POST {KINDS[kind].request}"]

    explore(start, tmp_path, replies[1:2], ("next night",), kind)


@pytest.mark.chaos
@pytest.mark.exhaustive
@pytest.mark.parametrize("way", get_args(Way))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("swap", [{}, {"on_lost_reply": "resubmit"}], ids=["fail", "resubmit"])
def test_kill_at_every_step_pays_once(
    start: Start, tmp_path: Path, way: Way, kind: str, swap: dict[str, Any]
) -> None:
    """Whatever step a night dies at, later nights pay for nothing twice and lose no output."""
    steps = steps_of_a_night(start, tmp_path / "count", kind)

    explore(start, tmp_path, list(range(len(steps))), (way,), kind, **swap)
    print(f"{kind}: {len(steps)} steps, then {way}: none paid twice or lost an output ({swap or 'default'})")


def rename_everything(crashing: Crashing) -> dict[str, bytes]:
    """Rename one source, let two exchange their names, duplicate one; return the output that each must have."""
    before, folder = crashing.output_of, crashing.folder / "in"
    (folder / "a.jpg").rename(folder / "z.jpg")
    (folder / "b.jpg").rename(folder / "temporary")
    (folder / "c.jpg").rename(folder / "b.jpg")
    (folder / "temporary").rename(folder / "c.jpg")
    (folder / "e.jpg").write_bytes((folder / "d.jpg").read_bytes())
    names = {"z": "a", "b": "c", "c": "b", "d": "d", "e": "d"}
    return {f"{new}.jpg": before[f"{old}.jpg"] for new, old in names.items()}


def kill_night_after_renames(start: Start, folder: Path, end_at: int | None) -> list[str]:
    """Kill the night after the renames at a step; two more nights complete it and buy nothing."""
    crashing = make(start, folder)
    crashing.night()
    expected = rename_everything(crashing)
    crashing.plan = {"prune": True}
    steps, _ = crashing.night(end_at=end_at)
    for _ in range(2):
        crashing.night()

    assert crashing.bought == [1] * 4, steps[-1]
    assert crashing.output_of == expected, steps[-1]
    assert crashing.outputs == 5, steps[-1]
    return steps


@pytest.mark.slow
def test_kill_around_copies_buys_nothing(start: Start, tmp_path: Path) -> None:
    """A night that dies while it copies outputs to new names is completed without a purchase."""
    steps = kill_night_after_renames(start, tmp_path / "count", None)
    copies = [number for number, step in enumerate(steps) if "copy_file" in step]

    for index in random.Random(SEED).sample(copies, 3):
        kill_night_after_renames(start, tmp_path / str(index), index)


@pytest.mark.chaos
@pytest.mark.exhaustive
def test_kill_at_every_step_after_renames_buys_nothing(start: Start, tmp_path: Path) -> None:
    """Whatever step dies in the night after renames, nothing is bought and every name has its output."""
    steps = kill_night_after_renames(start, tmp_path / "count", None)

    for index in range(len(steps)):
        kill_night_after_renames(start, tmp_path / str(index), index)
    print(f"{len(steps)} steps, nothing bought and no output lost")
