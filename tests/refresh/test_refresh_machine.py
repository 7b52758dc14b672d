# SPDX-License-Identifier: Apache-2.0
"""
Nights over a catalogue that anything may happen to, against a small model of what was paid.

The model: each content is bought once for each value of ``rerun_key``, not counting jobs that failed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from airflow_provider_piktid.files import storage
from airflow_provider_piktid.operators.base import PaidJobOperator
from airflow_provider_piktid.operators.model_swap import PiktidModelSwapOperator
from airflow_provider_piktid.operators.packshot import PiktidPackshotOperator
from airflow_provider_piktid.refresh import read_rows
from tests.operators.test_refresh import wait_for_jobs
from tests.support.batch import jobs
from tests.support.refresh import Night, Nights
from tests.support.service import connection_json, emulator, picture

NAMES = ("a.jpg", "b.jpg", "A.jpg", "a.png", "sub/a.jpg", "sub/c.jpg")
numbers = st.integers(0, 5)


class Killed(BaseException):
    """The end of a process, as far as one process can imitate it."""


class Catalogue(RuleBasedStateMachine):
    """Sources, nights and their ends; :meth:`teardown` checks what must hold at the end."""

    #: Catalogues that were checked to their end.
    checked = 0
    #: Operator that submits the jobs, and its arguments.
    operator: ClassVar[type[PaidJobOperator]] = PiktidModelSwapOperator
    options: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.folder = Path(tempfile.mkdtemp())
        self._stack.callback(shutil.rmtree, self.folder)
        self.server = self._stack.enter_context(emulator(job_seconds=0.02))
        connection = connection_json(self.server.url, images_per_job=2, jobs_per_minute=1000)
        self._stack.enter_context(mock.patch.dict(os.environ, AIRFLOW_CONN_PIKTID_DEFAULT=connection))
        self.nights = Nights(
            str(self.folder / "in"),
            str(self.folder / "out"),
            operator=self.operator,
            options=self.options,
            images_per_batch=2,
        )
        self.contents = 0
        self.keys = 0
        self.prune = False
        #: Nights whose plan ended, each with its ``rerun_key``.
        self.earlier: list[tuple[Night, int]] = []
        #: The ``rerun_key`` for which each job was bought.
        self.key_of: dict[str, int] = {}
        self._add("first.jpg")

    # -- sources ------------------------------------------------------------------------------------------

    def _add(self, name: str) -> None:
        """Write a content that never existed before; the first ones have the same size."""
        self.contents += 1
        color = f"rgb({self.contents % 250}, {self.contents // 250}, 90)"
        path = picture((self.folder / "in" / name).with_suffix(".jpg.new.jpg"), color=color)
        path.rename(self.folder / "in" / name)

    @property
    def live(self) -> list[str]:
        """Names of the sources, at least one."""
        folder = self.folder / "in"
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))

    def _path(self, number: int) -> Path:
        return self.folder / "in" / self.live[number % len(self.live)]

    @rule(name=st.sampled_from(NAMES))
    def add_or_change(self, name: str) -> None:
        self._add(name)

    @rule(number=numbers)
    def touch(self, number: int) -> None:
        os.utime(self._path(number))

    @rule(number=numbers, name=st.sampled_from(NAMES))
    def rename(self, number: int, name: str) -> None:
        target = self.folder / "in" / name
        target.parent.mkdir(exist_ok=True)
        self._path(number).rename(target)

    @rule(number=numbers, name=st.sampled_from(NAMES))
    def duplicate(self, number: int, name: str) -> None:
        content = self._path(number).read_bytes()
        target = self.folder / "in" / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)

    @rule(one=numbers, other=numbers)
    def exchange(self, one: int, other: int) -> None:
        first, second = self._path(one), self._path(other)
        contents = first.read_bytes(), second.read_bytes()
        first.write_bytes(contents[1])
        second.write_bytes(contents[0])

    @precondition(lambda self: len(self.live) > 1)
    @rule(number=numbers)
    def remove(self, number: int) -> None:
        self._path(number).unlink()

    # -- settings and failures ----------------------------------------------------------------------------

    @rule()
    def change_options(self) -> None:
        self.keys += 1

    @rule(prune=st.booleans())
    def set_prune(self, prune: bool) -> None:
        self.prune = prune

    @rule()
    def fail_next_job(self) -> None:
        self.server.faults.add("job", "fail_job")

    @rule(number=numbers)
    def remove_output(self, number: int) -> None:
        folder = self.folder / "out"
        found = sorted(path for path in folder.rglob("*.*") if "_piktid" not in path.parts)
        if found:
            found[number % len(found)].unlink()

    # -- nights -------------------------------------------------------------------------------------------

    @rule()
    def night(self) -> None:
        try:
            night = self.nights.begin(rerun_key=str(self.keys), prune=self.prune, max_attempts=99)
            self.earlier.append((night, self.keys))
            self.nights.finish(night)
        finally:
            self._note_jobs(self.keys)

    @rule(writes=st.integers(0, 20))
    def killed_night(self, writes: int) -> None:
        """A night ends before one of its writes; nothing of Airflow is left of it."""
        with killed_before_write(writes), suppress(Killed):
            self.night()

    @precondition(lambda self: self.earlier)
    @rule(number=numbers, index=numbers)
    def clear_batch(self, number: int, index: int) -> None:
        """Upload, swap and collect of a batch of some night run again."""
        night, key = self.earlier[-1 - number % len(self.earlier)]
        if index < len(night.batches):
            self.nights.batch(night, index, {})
        self._note_jobs(key)

    def _note_jobs(self, key: int) -> None:
        for job in jobs(self.server):
            self.key_of.setdefault(job["job_id"], key)

    # -- what must hold -----------------------------------------------------------------------------------

    @property
    def paid(self) -> Counter[tuple[str, int]]:
        """How often each content was bought for each ``rerun_key``, without jobs that failed."""
        good = [job for job in jobs(self.server) if not self._failed(job["job_id"])]
        return Counter(
            (self._digest(file_id), self.key_of[job["job_id"]]) for job in good for file_id in job["images"]
        )

    def _failed(self, job_id: str) -> bool:
        return any(job.job_id == job_id and job.status == "failed" for job in self.server.state.v2.jobs.all())

    def _digest(self, file_id: str) -> str:
        blob = self.server.state.v2.files[file_id].blob
        assert blob is not None
        return hashlib.sha256(blob.path.read_bytes()).hexdigest()

    def _wait_for_jobs(self) -> None:
        """Let jobs end, up to the first one that failed."""
        with suppress(AirflowFailException):
            wait_for_jobs(self.server)

    def teardown(self) -> None:
        try:
            self.server.faults.clear()
            self._wait_for_jobs()
            for _ in range(2):
                self.night()
            self._check_outputs()
            bought = len(jobs(self.server))
            self.night()
            assert len(jobs(self.server)) == bought
            assert max(self.paid.values(), default=0) <= 1
            type(self).checked += 1
        finally:
            self._stack.close()

    def _check_outputs(self) -> None:
        """Each source has an output of its own that was made from its content."""
        rows = {row["relative"]: row for row in read_rows(self.nights.output) if row["relative"] in self.live}
        assert {name: row["status"] for name, row in rows.items()} == dict.fromkeys(self.live, "done")
        for name, row in rows.items():
            source = (self.folder / "in" / name).read_bytes()
            output = Path(self.nights.output, row["file"]).read_bytes()
            assert row["source_sha256"] == hashlib.sha256(source).hexdigest(), name
            assert row["sha256"] == hashlib.sha256(output).hexdigest(), name
        assert len({row["file"].lower() for row in rows.values()}) == len(rows)


class Packshots(Catalogue):
    """The same with a job for each source, which combines its images."""

    operator = PiktidPackshotOperator
    options: ClassVar[dict[str, Any]] = {"instructions": [{"style": "free"}]}


MACHINES = pytest.mark.parametrize("machine", [Catalogue, Packshots])


@contextmanager
def killed_before_write(count: int) -> Iterator[None]:
    """Raise :class:`Killed` before write ``count`` of a file or a copy, and before all later ones."""
    left = [count]

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def write(*arguments: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return original(*arguments)

        return write

    names = ("write_bytes", "copy_file")
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(mock.patch.object(storage, name, counted(getattr(storage, name))))
        yield


def explore(machine: type[Catalogue], examples: int, steps: int, *, derandomize: bool) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=derandomize,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
@MACHINES
def test_no_content_is_paid_twice_and_no_output_lost(machine: type[Catalogue]) -> None:
    """Whatever happens to sources, options, outputs and nights, two undisturbed nights complete the catalogue."""
    explore(machine, 3, 12, derandomize=True)


@pytest.mark.chaos
@pytest.mark.exhaustive
@MACHINES
def test_no_content_is_paid_twice_in_many_catalogues(machine: type[Catalogue]) -> None:
    """The same, with many more catalogues."""
    explore(machine, int(os.environ.get("PIKTID_MACHINE_EXAMPLES", "500")), 20, derandomize=False)
    print(f"{machine.checked} catalogues, nothing paid twice and no output lost")
