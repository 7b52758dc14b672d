# SPDX-License-Identifier: Apache-2.0
"""
A person task is killed at every step of a try; no later try buys a generation twice, and no output is lost.

The later tries are retries, which find Airflow's task state, or follow a clear that dropped it.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_piktid.emulator import EmulatorServer
from tests.support.fixtures import Start
from tests.support.nights import ENDED, PersonTry, run_person_try
from tests.support.person import account_json, bought
from tests.support.processes import _FORKS

#: Steps that are tried in CI, beside those around paid requests and one download; `make chaos` tries all.
SAMPLE = 3
SEED = int(os.environ.get("PIKTID_CRASH_SEED", "20261121"))

WANTED = {(0, "Oceania"), (0, "Africa")}

#: Where the record lies, and whether a clear drops the task state before the next try.
WAYS = pytest.mark.parametrize(
    ("place", "cleared"),
    [
        pytest.param("output_path", False, id="retry"),
        pytest.param("output_path", True, id="clear"),
        pytest.param("task state", False, id="retry without a folder"),
    ],
)
POLICIES = pytest.mark.parametrize("policy", ["fail", "resubmit"])


@dataclass
class MortalTask:
    """A task of two generations, and its tries."""

    server: EmulatorServer
    folder: Path
    place: str
    arguments: dict[str, Any] = field(default_factory=dict)
    tries: int = 0

    @property
    def _store(self) -> Path:
        return self.folder / "state.json"

    def attempt(self, *, end_at: int | None = None) -> tuple[list[str], dict[str, Any] | None]:
        """Run one try, and return its steps and its outcome: ``rows`` or ``error``, None if it was killed."""
        self.tries += 1
        log = self.folder / "try.json"
        fixed: dict[str, Any] = {"stagger": 0.0, "lost_reply_grace": 0.4, "delete_notifications": True}
        if self.place == "task state":
            fixed["output_path"] = None
        wanted = PersonTry(
            account_json(self.server.url),
            str(self.folder),
            self.tries,
            str(self._store),
            fixed | self.arguments,
        )
        process = _FORKS.Process(target=run_person_try, args=(wanted, str(log), end_at))
        process.start()
        process.join(60)
        assert process.exitcode in (0, ENDED), process.exitcode
        outcome = json.loads(log.with_suffix(".outcome").read_text()) if process.exitcode == 0 else None
        return json.loads(log.read_text()), outcome

    def clear(self) -> None:
        """Drop the task state, as a clear can."""
        self._store.unlink(missing_ok=True)

    @property
    def bought(self) -> Counter[tuple[int, str]]:
        return Counter(bought(self.server))

    @property
    def unknowable(self) -> set[tuple[int, str]]:
        """Generations whose request is recorded and was never sent: nobody outside PiktID can know that."""
        paths = [*(self.folder / "out" / "_piktid").glob("*.json"), self._store]
        if self.place == "task state" and not self._store.exists():
            # Killed before the first write: the same is seen after a clear that dropped everything.
            return WANTED - set(self.bought)
        values = [json.loads(path.read_text()) for path in paths if path.exists()]
        records = [value for value in values if "generations" in value] + [
            record for value in values for record in value.values() if isinstance(record, dict)
        ]
        intents = {
            (item["id_person"], item["keyword"][1])
            for record in records
            for item in record["generations"]
            if item.get("state") == "intent"
        }
        return intents - set(self.bought)

    @property
    def outputs(self) -> list[str]:
        names = [path.name for path in (self.folder / "out").glob("*") if path.is_file()]
        return sorted(name for name in names if not name.endswith(".probe"))


def make(start: Start, folder: Path, place: str, policy: str) -> MortalTask:
    folder.mkdir(parents=True, exist_ok=True)
    server = start(faces=1, generate_seconds=0.05, mask_seconds=0.0)
    return MortalTask(server, folder, place, {"on_lost_reply": policy})


def assert_bought_once(task: MortalTask, step: str, policy: str) -> None:
    """The next try completes the task, or reports what nobody can know; the one after it buys nothing."""
    unknowable = task.unknowable
    _, outcome = task.attempt()
    expected = WANTED if policy == "resubmit" else WANTED - unknowable
    assert dict(task.bought) == dict.fromkeys(expected, 1), (step, outcome)
    assert outcome is not None
    if policy == "fail" and unknowable:
        assert outcome.get("error", "").startswith("PiktidSubmissionError"), (step, outcome)
    else:
        assert len(outcome["rows"]) == len(WANTED), (step, outcome)
    if task.place == "output_path":
        assert len(task.outputs) == len(expected), (step, task.outputs)
    _, again = task.attempt()
    assert dict(task.bought) == dict.fromkeys(expected, 1), (step, outcome)
    assert again is not None
    assert again.get("rows") == outcome.get("rows"), step


def explore(start: Start, folder: Path, place: str, cleared: bool, policy: str, chosen: list[int]) -> None:
    """Kill a first try at each chosen step, and go on."""
    killed = 0
    for index in chosen:
        task = make(start, folder / str(index), place, policy)
        # The number of polls differs from try to try: the same index may be another step, or none.
        steps, outcome = task.attempt(end_at=index)
        killed += outcome is None
        if cleared:
            task.clear()
        assert_bought_once(task, steps[-1], policy)
    assert killed > 0.7 * len(chosen)


def steps_of_a_try(start: Start, folder: Path, place: str) -> list[str]:
    steps, outcome = make(start, folder, place, "fail").attempt()
    assert outcome is not None
    assert "rows" in outcome, outcome
    return steps


def is_paid(step: str) -> bool:
    return step.endswith("POST edit")


@WAYS
def test_try_has_a_write_before_and_after_each_purchase(
    start: Start, tmp_path: Path, place: str, cleared: bool
) -> None:
    """The record is written before and after each paid request."""
    steps = steps_of_a_try(start, tmp_path, place)

    sent = [index for index, step in enumerate(steps) if step == "before POST edit"]
    # The first one is the upload, which costs nothing.
    assert len(sent) == 1 + len(WANTED)
    kind = "after write_bytes" if place == "output_path" else "after set"
    assert all(steps[index - 1].startswith(kind) for index in sent[1:])
    assert all(steps[index + 2].startswith(kind.replace("after", "before")) for index in sent[1:])


@pytest.mark.slow
@WAYS
@POLICIES
def test_kill_around_a_purchase_pays_once(
    start: Start, tmp_path: Path, place: str, cleared: bool, policy: str
) -> None:
    """A try that dies around a paid request, or at some other steps, is completed without paying twice."""
    steps = steps_of_a_try(start, tmp_path / "count", place)
    paid = [n for n, step in enumerate(steps) if is_paid(step)][-2:]
    downloaded = [n for n, step in enumerate(steps) if step == "after GET f"][-1:]
    others = random.Random(SEED).sample(range(len(steps) - 3), SAMPLE)

    explore(start, tmp_path, place, cleared, policy, sorted({*paid, *downloaded, *others}))


@pytest.mark.chaos
@pytest.mark.exhaustive
@WAYS
@POLICIES
def test_kill_at_every_step_pays_once(
    start: Start, tmp_path: Path, place: str, cleared: bool, policy: str
) -> None:
    """Whatever step a try dies at, later tries pay for nothing twice and lose no output."""
    steps = steps_of_a_try(start, tmp_path / "count", place)

    explore(start, tmp_path, place, cleared, policy, list(range(len(steps))))
    print(f"{len(steps)} steps, none paid twice or lost an output ({place}, {cleared=}, {policy})")
