# SPDX-License-Identifier: Apache-2.0
"""
Upload and swap, or a regeneration, are killed at every step and continued in three ways; nothing is paid twice.

``state_path`` is all that the tasks have in common: there is no task state store.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_piktid.client import PiktidClient
from airflow_provider_piktid.emulator import EmulatorServer
from tests.support.batch import bought_by_content, swap_run
from tests.support.fixtures import Start
from tests.support.service import connection_json, pictures
from tests.support.tries import Tries

#: Steps that are tried in CI, beside those around paid requests; `make chaos` tries all.
SAMPLE = 4
SEED = int(os.environ.get("PIKTID_CRASH_SEED", "20261121"))

UPLOAD = "airflow_provider_piktid.operators.upload.PiktidUploadImagesOperator"
SWAP = "airflow_provider_piktid.operators.model_swap.PiktidModelSwapOperator"
REGENERATE = "airflow_provider_piktid.operators.regenerate.PiktidRegenerateOperator"

#: How the work goes on after the process was killed.
WAYS = ("retry", "clear", "new run")


@dataclass
class Crashing:
    """A DAG over three pictures in two jobs."""

    server: EmulatorServer
    folder: Path
    swap: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        pictures(self.folder / "in", "a.jpg", "b.jpg", "c.jpg")
        state = {"state_path": str(self.folder / "state")}
        given = {"project_id": {"xcom": ["upload", "project_id"]}, "images": {"xcom": ["upload", "images"]}}
        fixed = {"identity_code": "PiktidSummer", "poll_interval": 3.0, "lost_reply_grace": 0.1}
        self.tries = Tries(
            self.folder,
            connection_json(self.server.url, images_per_job=2, jobs_per_minute=100),
            [
                ("upload", UPLOAD, {"images": str(self.folder / "in"), "project_name": "x", **state}),
                ("swap", SWAP, {**given, **fixed, **state, **self.swap}),
            ],
        )

    def go_on(self, way: str) -> None:
        if way == "clear":
            self.tries.clear()
        elif way == "new run":
            self.tries.new_run()
        self.tries.run()

    @property
    def bought(self) -> list[int]:
        """How often each picture was bought, by its content."""
        return sorted(bought_by_content(self.server).values())


@dataclass
class Regenerating(Crashing):
    """The regeneration of two of three outputs."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.server.faults.add("job", "fail_image", indices=[0, 2])
        (self.job_id,) = swap_run(self.server, 3).run()
        fixed = {"poll_interval": 3.0, "lost_reply_grace": 0.1, "state_path": str(self.folder / "state")}
        arguments = {"job_ids": [self.job_id], **fixed, **self.swap}
        self.tries = Tries(self.folder, connection_json(self.server.url), [("again", REGENERATE, arguments)])

    @property
    def bought(self) -> list[int]:
        """How often each of the two outputs was made again."""
        with PiktidClient("piktid-emulator", base_url=self.server.url) as client:
            results = client.get_job_results(self.job_id).results
        newest = {index: max(r.version for r in results if r.image_index == index) for index in (0, 2)}
        return sorted(version for version in newest.values() if version)


def is_unknowable(steps: list[str]) -> bool:
    """Whether a process that died after these steps had recorded a paid request and not sent it."""
    last = steps[-1]
    if last in ("before POST model-swap", "before POST jobs"):
        return True
    is_record = last.startswith("after write_bytes") and ("piktid_jobs" in last or "piktid_regen" in last)
    writes = [step for step in steps if step == last]
    # Each paid request is written before and after it.
    return is_record and len(writes) % 2 == 1


def explore(make: Any, folder: Path, chosen: list[int], *, ways: tuple[str, ...] = WAYS, **swap: Any) -> int:
    """Kill the work at each chosen step, go on in the given ways in turn, and check what was paid; count the kills."""
    killed = 0
    for number, index in enumerate(chosen):
        way = ways[number % len(ways)]
        crashing = make(folder / f"{index}-{way.replace(' ', '-')}", **swap)
        ended = crashing.tries.run(end_at=index)
        killed += ended
        step = f"{crashing.tries.steps[-1]}, {way}"
        unknown = ended and is_unknowable(crashing.tries.steps) and "on_lost_reply" not in swap
        crashing.go_on(way)
        error = crashing.tries.error
        after = crashing.bought
        crashing.go_on(way)

        assert crashing.bought == after or not error, (step, error)
        assert max(crashing.bought, default=0) <= 1, (step, crashing.bought)
        if unknown:
            assert "PiktidSubmissionError" in error, step
        else:
            assert error == "", (step, error)
            assert crashing.bought == [1] * len(crashing.bought), step
            assert len(crashing.bought) == (
                3 if isinstance(crashing.tries.tasks[0][2].get("images"), str) else 2
            )
    assert killed > 0.9 * len(chosen)
    return killed


@pytest.fixture
def swapping(start: Start) -> Any:
    def make(folder: Path, **swap: Any) -> Crashing:
        return Crashing(start(job_seconds=0.05), folder, {"reuse": True, "deferrable": True, **swap})

    return make


@pytest.fixture
def regenerating(start: Start) -> Any:
    def make(folder: Path, **arguments: Any) -> Regenerating:
        return Regenerating(start(job_seconds=0.05), folder, arguments)

    return make


def steps_of(crashing: Crashing) -> list[str]:
    crashing.tries.run()
    assert crashing.tries.error == ""
    return crashing.tries.steps


def around_purchases(steps: list[str]) -> set[int]:
    marks = ("POST model-swap", "POST jobs", "piktid_jobs", "piktid_regen")
    return {index for index, step in enumerate(steps) if any(mark in step for mark in marks)}


POLICIES = pytest.mark.parametrize("swap", [{}, {"on_lost_reply": "resubmit"}], ids=["fail", "resubmit"])


@pytest.mark.slow
@POLICIES
def test_swap_killed_around_a_purchase_pays_once(swapping: Any, tmp_path: Path, swap: dict[str, Any]) -> None:
    """Upload and swap that die around a paid request, or at some other steps, pay once in each way to go on."""
    steps = steps_of(swapping(tmp_path / "count"))
    others = random.Random(SEED).sample(range(len(steps)), SAMPLE)

    explore(swapping, tmp_path, sorted({*around_purchases(steps), *others}), **swap)


@pytest.mark.slow
@POLICIES
def test_regenerate_killed_around_a_purchase_pays_once(
    regenerating: Any, tmp_path: Path, swap: dict[str, Any]
) -> None:
    """A regeneration that dies around a paid request requests each output once."""
    steps = steps_of(regenerating(tmp_path / "count"))

    explore(regenerating, tmp_path, sorted(around_purchases(steps)), ways=("retry", "clear"), **swap)


@pytest.mark.chaos
@pytest.mark.exhaustive
@POLICIES
@pytest.mark.parametrize("way", WAYS)
def test_swap_killed_at_every_step_pays_once(
    swapping: Any, tmp_path: Path, way: str, swap: dict[str, Any]
) -> None:
    """Whatever step upload and swap die at, each way to go on pays once."""
    steps = steps_of(swapping(tmp_path / "count"))

    killed = explore(swapping, tmp_path, list(range(len(steps))), ways=(way,), **swap)
    print(f"swap, {way}, {swap or 'default'}: {killed} steps, none paid twice")


@pytest.mark.chaos
@pytest.mark.exhaustive
@POLICIES
@pytest.mark.parametrize("way", ["retry", "clear"])
def test_regenerate_killed_at_every_step_pays_once(
    regenerating: Any, tmp_path: Path, way: str, swap: dict[str, Any]
) -> None:
    """Whatever step a regeneration dies at, a retry and a clear request each output once."""
    steps = steps_of(regenerating(tmp_path / "count"))

    killed = explore(regenerating, tmp_path, list(range(len(steps))), ways=(way,), **swap)
    print(f"regenerate, {way}, {swap or 'default'}: {killed} steps, none paid twice")
