# SPDX-License-Identifier: Apache-2.0
"""
Parts of a distributed Airflow are killed while a nightly refresh is under way.

After each kill all outputs are there, each paid once, and no task waits for a person: a dead part comes back as a
supervisor restarts it, and what Airflow's retries do again costs nothing.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.needs import missing
from tests.cluster.processes import memory, processor_seconds
from tests.cluster.services import ClusterError
from tests.cluster.settings import PARTS
from tests.support.cluster_kills import KILLS
from tests.support.cluster_night import ClusterNight, distinct_pictures
from tests.support.stack import emulator_call, emulator_process
from tests.system.conftest import TOKEN, connect

pytestmark = [
    pytest.mark.slow,
    pytest.mark.stack,
    pytest.mark.chaos,
    pytest.mark.skipif(bool(missing()), reason="; ".join(missing())),
]

DAGS = Path(__file__).parent / "cluster_dags"
IMAGES, JOBS = 60, 6
MANY_IMAGES, MANY_JOBS = 500, 50


@pytest.fixture(scope="module")
def running_cluster() -> Iterator[Cluster]:
    """A healthy cluster, started once; that takes half a minute."""
    home = Path(tempfile.mkdtemp(prefix="piktid-cluster-"))
    start = time.monotonic()
    with Cluster.running(home / "airflow", DAGS) as cluster:
        used = processor_seconds(cluster.state["parent"])
        print(
            f"\ncluster: healthy after {time.monotonic() - start:.1f} s with {used:.0f} s of processor time, "
            f"load {os.getloadavg()[0]:.1f}"
        )
        yield cluster
    shutil.rmtree(home)


@pytest.fixture
def cluster(running_cluster: Cluster) -> Cluster:
    """The cluster, with all parts healthy again that an earlier test killed."""
    running_cluster.url = running_cluster.url_of("api-1")
    running_cluster.start(*PARTS)
    running_cluster.wait_until_healthy()
    return running_cluster


Begin = Callable[..., ClusterNight]


@pytest.fixture
def begin(cluster: Cluster, tmp_path: Path) -> Iterator[Begin]:
    """Start a night of new images against an emulator of its own, with planned faults."""
    numbers = count()
    with ExitStack() as stack:

        def start(
            dag_id: str = "nightly",
            *,
            images: int = IMAGES,
            faults: list[dict[str, Any]] | None = None,
            active_jobs: int = 5,
            request_timeout: float = 60,
        ) -> ClusterNight:
            limits = ("--jobs-per-minute", "0", "--active-jobs", str(active_jobs))
            options = ("--token", TOKEN, "--fast-images", "--job-seconds", "8", *limits)
            url = stack.enter_context(emulator_process(*options))
            own = {"jobs_per_minute": 100, "active_jobs": active_jobs, "timeout": request_timeout}
            connect(cluster, url, own)
            if faults:
                emulator_call(url, "faults", faults)
            folder = tmp_path / str(next(numbers))
            source = distinct_pictures(folder / "in", images)
            run_id = cluster.trigger(dag_id, source=str(source), output_path=str(folder / "out"))
            return ClusterNight(cluster, url, folder / "out", dag_id, run_id, images)

        yield start


def test_second_start_is_refused_and_disturbs_nothing(cluster: Cluster) -> None:
    """A start in the folder of a running cluster fails, and the cluster stays healthy."""
    with pytest.raises(ClusterError, match="cluster-down"):
        Cluster(cluster.home).up(DAGS)
    assert cluster.unhealthy() == []


#: One in `.ci/run`; all of them take half an hour on busy cores.
SAMPLE = ("a worker in the submission",)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in SAMPLE else pytest.mark.exhaustive) for name in KILLS],
)
def test_night_delivers_every_output_once(begin: Begin, name: str) -> None:
    """After a kill, the run succeeds by itself with 60 outputs, each paid once, in 6 jobs."""
    kill = KILLS[name]
    night = begin(faults=kill.faults, active_jobs=kill.active_jobs, request_timeout=kill.request_timeout)
    kill.moment(night)

    at = time.monotonic()
    kill.act(night)
    night.release()
    state = night.finish()

    after = time.monotonic() - at
    print(f"\n{name}: ended {after:.0f} s after the kill, {night.told()}")
    assert (state, night.paid_twice(), night.lost()) == ("success", 0, 0)
    assert len(night.ledger()) == JOBS


@pytest.mark.exhaustive
def test_large_night_with_a_worker_and_a_triggerer_killed(begin: Begin, cluster: Cluster) -> None:
    """Of 500 images in 50 jobs none is lost and none is paid twice if a worker and a triggerer are killed."""
    calm = begin("nightly_large", images=MANY_IMAGES, active_jobs=10)
    calm.wait(lambda: len(calm.ledger()) >= MANY_JOBS // 2, "half of the jobs")
    used = {part: round(memory(cluster.pid(part) or 0) / 1e6) for part in PARTS}
    assert calm.finish() == "success"
    print(
        f"\nnight of {MANY_IMAGES} images in {MANY_JOBS} jobs, no kill: {calm.told()}; MB of memory: {used}"
    )

    night = begin("nightly_large", images=MANY_IMAGES, active_jobs=10)
    night.wait(lambda: len(night.ledger()) >= 10 and bool(night.triggerers()), "ten jobs")
    cluster.kill(min(night.triggerers()), restart=True)
    night.wait(lambda: len(night.ledger()) >= 25 and bool(night.running("batch.collect")), "25 jobs")
    cluster.kill(night.running("batch.collect")[0]["hostname"], restart=True)
    state = night.finish()

    print(f"the same with a triggerer and a worker killed: {night.told()}")
    assert (state, night.paid_twice(), night.lost()) == ("success", 0, 0)
    assert len(night.ledger()) == len(calm.ledger()) == MANY_JOBS
