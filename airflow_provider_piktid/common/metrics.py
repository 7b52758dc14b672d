# SPDX-License-Identifier: Apache-2.0
"""
Metrics of paid work, through Airflow's ``Stats``: statsd, Datadog or OpenTelemetry, whatever Airflow is set to.

A metric never fails or delays a task: errors are dropped, and statsd sends one UDP packet without waiting for an
answer. All names are in :data:`METRICS`; the docs have the same list.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

log = logging.getLogger(__name__)

PREFIX = "piktid."

#: Statuses with a counter of their own; any other one is counted as ``other``.
STATUSES = ("completed", "failed", "aborted", "lost", "other")


@dataclass(frozen=True)
class Metric:
    """
    One metric.

    :param name: Name after :data:`PREFIX`.
    :param unit: What one of it is.
    """

    name: str
    kind: Literal["counter", "timer"]
    unit: str
    meaning: str


METRICS = (
    Metric("jobs.submitted", "counter", "jobs", "PiktID accepted a job"),
    Metric("images.submitted", "counter", "images", "images in accepted jobs"),
    *(
        Metric(f"jobs.ended.{status}", "counter", "jobs", f"a job ended: {meaning}")
        for status, meaning in zip(
            STATUSES,
            (
                "successful, perhaps with failed images",
                "failed",
                "aborted at PiktID",
                "unknown to PiktID",
                "else",
            ),
            strict=True,
        )
    ),
    Metric("outputs.successful", "counter", "outputs", "outputs of ended jobs that can be downloaded"),
    Metric("outputs.failed", "counter", "outputs", "outputs of ended jobs that failed or are missing"),
    Metric("credits.used", "counter", "credits", "credits of ended jobs, as far as PiktID states them"),
    Metric("generations.submitted", "counter", "generations", "PiktID accepted a person generation"),
    Metric("generations.done", "counter", "generations", "the result of a generation is stored"),
    Metric("generations.failed", "counter", "generations", "a task ended without the result of a generation"),
    Metric("regenerations.submitted", "counter", "images", "PiktID accepted to make an image again"),
    Metric("promotions.submitted", "counter", "drafts", "PiktID made an identity of a draft"),
    Metric("presets.submitted", "counter", "presets", "PiktID extracted a preset"),
    Metric("room.wait", "timer", "seconds", "a wait for room in the account, from its begin to its end"),
    Metric("refused.rate", "counter", "requests", "429: too many submissions in the window"),
    Metric("refused.active_jobs", "counter", "requests", "429: too many active jobs"),
    Metric("attached", "counter", "requests", "a task took up what was paid for before"),
    Metric("bought_again", "counter", "requests", "paid for again because the DAG says so"),
)

_NAMES = frozenset(metric.name for metric in METRICS)


def count(name: str, number: float | None = 1, **tags: str) -> None:
    """
    Increase a counter.

    :param number: By how much; None or 0 sends nothing. Default: 1.
    :param tags: For backends that know tags.
    """
    if number:
        whole = int(number) if float(number).is_integer() else number
        _send(name, lambda stats, full: stats.incr(full, whole, tags=tags))


def waited(name: str, seconds: float, **tags: str) -> None:
    """Report how long something took."""
    duration = timedelta(seconds=max(0.0, seconds))
    _send(name, lambda stats, full: stats.timing(full, duration, tags=tags))


@contextlib.contextmanager
def timed(name: str) -> Iterator[None]:
    """Report how long the block took, however it ends."""
    began = time.monotonic()
    try:
        yield
    finally:
        waited(name, time.monotonic() - began)


def job_ended(status: str) -> None:
    """Count a job that has ended by its last status."""
    count(f"jobs.ended.{status if status in STATUSES else 'other'}")


def _send(name: str, send: Callable[[Any, str], object]) -> None:
    assert name in _NAMES, name
    try:
        send(_stats(), PREFIX + name)
    except Exception:
        log.debug("Could not report %s", name, exc_info=True)


@functools.cache
def _stats() -> Any:
    """Return Airflow's ``Stats``, ready to use in this process."""
    try:
        from airflow.providers.common.compat.sdk import Stats
    except ImportError:
        # A common-compat that does not have it yet, on an Airflow that has it here.
        from airflow.stats import Stats
    with contextlib.suppress(Exception):
        _initialize(Stats)
    return Stats


def _initialize(stats: Any) -> None:
    """
    Connect the ``Stats`` of Airflow's Task SDK (3.2+) to the configured backend.

    The triggerer initializes only the core's copy of this module. That the SDK's copy is initialized too is a side
    effect of importing its serialization, which nothing promises. Repeating it is harmless.

    :param stats: In 3.2 also the argument of its factory.
    """
    from airflow.providers.common.compat.sdk import conf
    from airflow.sdk.observability.metrics import stats_utils

    if inspect.signature(stats_utils.get_stats_factory).parameters:
        stats.initialize(factory=stats_utils.get_stats_factory(stats))  # type: ignore[call-arg]
        return
    legacy = conf.getboolean("metrics", "legacy_names_on", fallback=True)
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=legacy)
