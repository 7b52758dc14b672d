# SPDX-License-Identifier: Apache-2.0
"""What is killed while a night is under way on a cluster, and when."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.processes import command_of, family_of, is_alive
from tests.support.cluster_night import ClusterNight


@dataclass
class Kill:
    """
    What is killed, and when.

    :param moment: Returns once the night has come to where the kill belongs.
    :param act: Kills; returns when the parts may work again.
    :param faults: Faults of the emulator that hold the night at this point.
    :param active_jobs: What the account runs at once. Default 5: the sixth job waits for a free place.
    :param request_timeout: Seconds that a request waits for its reply. Default 60, that of the connection.
    """

    moment: Callable[[ClusterNight], None]
    act: Callable[[ClusterNight], None]
    faults: list[dict[str, Any]] = field(default_factory=list)
    active_jobs: int = 5
    request_timeout: float = 60


# -- moments ------------------------------------------------------------------------------------------------


def waiting(night: ClusterNight) -> None:
    """All swaps wait in a triggerer."""
    night.wait(night.is_deferred, "the swaps to wait in a triggerer")


def paying(night: ClusterNight) -> None:
    """The first job is paid, others are about to be."""
    night.wait(lambda: bool(night.ledger()), "the first job")


def held(task: str, count: int = 1) -> Callable[[ClusterNight], None]:
    """So many tasks hang in a request of theirs, and all others of their kind have gone on."""

    def moment(night: ClusterNight) -> None:
        night.wait(
            lambda: night.fault_met() == count and len(night.running(task)) == count,
            f"{count} {task} to hang",
        )

    return moment


# -- kills --------------------------------------------------------------------------------------------------


def nothing(night: ClusterNight) -> None:
    """Disturb nothing."""


def supervised(*parts: str) -> Callable[[ClusterNight], None]:
    """Kill parts; the supervisor starts them again after a second."""
    return lambda night: night.cluster.kill(*parts, restart=True)


def one_triggerer(night: ClusterNight) -> None:
    """Kill a triggerer that holds waits, and leave it dead: the other one takes over."""
    night.cluster.kill(min(night.triggerers()))


def worker_of(task: str) -> Callable[[ClusterNight], None]:
    """Kill the worker that runs the task which hangs, and leave it dead."""
    return lambda night: night.cluster.kill(night.running(task)[0]["hostname"])


def api_server(*parts: str, seconds: float = 30) -> Callable[[ClusterNight], None]:
    def act(night: ClusterNight) -> None:
        night.cluster.url = night.cluster.url_of("api-2")
        night.cluster.kill(*parts)
        night.release()
        time.sleep(seconds)
        night.cluster.start(*parts)

    return act


def redis(night: ClusterNight) -> None:
    """Kill Redis, with all messages in it, for three seconds."""
    night.cluster.kill_redis()
    time.sleep(3)
    night.cluster.start_redis()


def postgres(night: ClusterNight) -> None:
    night.cluster.restart_postgres()


def old_process(night: ClusterNight) -> None:
    """
    Kill the worker around the process of a swap that waits for the reply to its first paid request.

    The process lives on beside its retry, until its request times out. It then knows of a job to submit that the
    retry has submitted. A stopped process would not do: the kernel ends it together with its parents.
    """
    (swap,) = night.running("batch.swap")
    family = family_of(night.cluster.pid(swap["hostname"]) or 0)
    (task,) = [pid for pid in family if f"worker -- {swap['id']}" in command_of(pid)]
    for pid in family:
        if pid != task:
            os.kill(pid, signal.SIGKILL)

    def retried() -> bool:
        (row,) = [row for row in night.tasks("batch.swap") if row["map_index"] == swap["map_index"]]
        return bool(row["try_number"] == 2 and row["state"] in ("running", "deferred", "success"))

    night.wait(retried, "the retry")
    if not is_alive(task):
        raise AssertionError("the old process has ended before its retry began")
    night.wait(lambda: not is_alive(task), "the old process to end")


#: The jobs that the account runs at once last until :meth:`ClusterNight.release`, so that all swaps wait at one time.
ENDLESS = {"operation": "job", "kind": "never_end", "times": 5}
HANG = {"kind": "hang", "after": 1, "done": True}
SWAP, COLLECT = "batch.swap", "batch.collect"

KILLS = {
    "nothing": Kill(waiting, nothing, [ENDLESS]),
    "a triggerer": Kill(waiting, one_triggerer, [ENDLESS]),
    "both triggerers": Kill(waiting, supervised("triggerer-1", "triggerer-2"), [ENDLESS]),
    "a worker in the submission": Kill(
        held(SWAP), worker_of(SWAP), [{"operation": "model_swap", **HANG}], active_jobs=10
    ),
    "a worker in the download": Kill(
        held(COLLECT), worker_of(COLLECT), [{"operation": "result_image", **HANG}]
    ),
    "both workers": Kill(
        held(SWAP, 2),
        supervised("worker-1", "worker-2"),
        [{"operation": "model_swap", **HANG, "times": 2}],
        active_jobs=10,
    ),
    "the scheduler": Kill(waiting, supervised("scheduler"), [ENDLESS]),
    "an API server for 30 s": Kill(waiting, api_server("api-1"), [ENDLESS]),
    "both API servers for 30 s": Kill(waiting, api_server("api-1", "api-2"), [ENDLESS]),
    "Redis for 3 s": Kill(paying, redis),
    "Postgres restarted": Kill(waiting, postgres, [ENDLESS]),
    "an old task process beside its retry": Kill(
        held(SWAP),
        old_process,
        [{"operation": "model_swap", **HANG, "after": 0}],
        active_jobs=10,
        request_timeout=90,
    ),
}
