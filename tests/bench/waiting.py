# SPDX-License-Identifier: Apache-2.0
"""A thousand waiting tasks in one triggerer: the cost of their waits, the time to an event, and a lost stream."""

from __future__ import annotations

import statistics
from typing import Any

from tests.bench import waits
from tests.bench.process import LATENCY_MS, UNLIMITED, emulator, in_child
from tests.bench.rows import Row, at_least, at_most, told
from tests.support.stack import emulator_call

#: A TLS context for each client costs 22 ms and 0.85 MB; the shared one must cost less than a tenth of that.
TIMES_CHEAPER = 10
STREAMS, CONNECTIONS, KILOBYTES, SECONDS = 1, 10, 10, 3
MEDIAN_MS, P99_MS = 50, 100
REQUESTS_PER_SECOND = 500


def run(*, quick: bool = False) -> list[Row]:
    """Compare clients with a shared TLS context to clients with their own, and run real triggers."""
    return [*_clients(quick=quick), *_waiting(quick=quick), *_events(quick=quick), *_lost(quick=quick)]


def _clients(*, quick: bool) -> list[Row]:
    count = 200 if quick else 1000
    each = in_child(waits.__name__, "clients_with_a_context_each", count=100)
    ours = in_child(waits.__name__, "clients", count=count)
    per_each, per_ours = _per(each, "seconds"), _per(ours, "seconds")
    memory_each, memory_ours = _per(each, "megabytes"), _per(ours, "megabytes")
    detail = f"{1e3 * per_each:.2f} ms -> {1e3 * per_ours:.3f} ms for each of {count}"
    memory = f"{1e3 * memory_each:.0f} kB -> {1e3 * memory_ours:.1f} kB for each"
    return [
        at_least(
            "clients with one TLS context, times faster", per_each / per_ours, TIMES_CHEAPER, "x", detail
        ),
        at_least(
            "clients with one TLS context, times smaller",
            memory_each / memory_ours,
            TIMES_CHEAPER,
            "x",
            memory,
        ),
    ]


def _waiting(*, quick: bool) -> list[Row]:
    """Start all triggers at once; the best of three runs, as the bound on the time is close."""
    count, runs = 1000, []
    for _ in range(1 if quick else 3):
        with emulator("--job-seconds", "600", *UNLIMITED, latency_ms=0) as url:
            runs.append(in_child(waits.__name__, "triggers", url=url, base=url, count=count))
    best = min(runs, key=lambda figures: float(figures["seconds"]))
    times = ", ".join(f"{figures['seconds']:.2f}" for figures in runs)
    detail = f"best of {times} s; {best['cpu']:.2f} s of processor time"
    return [
        at_most(f"{count} waiting triggers, streams", best["streams"], STREAMS, ""),
        at_most(
            "connections, at most at once", best["connections"], CONNECTIONS, "", "one is the measurement's"
        ),
        at_most("memory of each", 1e3 * _per(best, "megabytes"), KILOBYTES, "kB", "peak while they start"),
        at_most("until all have a stream and a status", best["seconds"], SECONDS, "s", detail),
    ]


def _events(*, quick: bool) -> list[Row]:
    waiting, events = (200, 60) if quick else (500, 200)
    with emulator("--job-seconds", "600", *UNLIMITED) as url:
        seen = in_child(waits.__name__, "single_events", url=url, base=url, count=waiting, events=events)[
            "events"
        ]
        ends = {job["job_id"]: job["updated_at"] for job in emulator_call(url, "ledger")["jobs"]}
    delays = sorted(1000 * (moment - ends[job_id]) - LATENCY_MS for job_id, moment in seen.items())
    detail = f"{events} jobs, {waiting} waiting; without the {LATENCY_MS} ms of the status request"
    return [
        at_most(
            "job's end to its trigger's event, median", statistics.median(delays), MEDIAN_MS, "ms", detail
        ),
        at_most("the same, 99th percentile", delays[int(0.99 * len(delays))], P99_MS, "ms"),
    ]


def _lost(*, quick: bool) -> list[Row]:
    count = 200 if quick else 1000
    with emulator("--job-seconds", "600", *UNLIMITED, latency_ms=0) as url:
        figures = in_child(waits.__name__, "lose_the_stream", url=url, base=url, count=count)
    ended, silent = figures["ended"], figures["silent"]
    return [
        at_most(
            "stream lost: status requests in the first second", figures["first"], REQUESTS_PER_SECOND, ""
        ),
        # Once the stream is back, each job with an event is asked for at once: the requests limit themselves to eight.
        told("the same, most in any second", figures["peak"], "", "when the stream is back"),
        at_least(
            "jobs that ended meanwhile and were found",
            figures["found"],
            ended,
            "",
            f"{ended} of {count} waits; of {silent} no event ever came",
        ),
        told("those with an event, after the stream is back", figures["with_event_s"], "s"),
        told("all of them", figures["all_s"], "s", "the others ask 20 times a second"),
    ]


def _per(figures: dict[str, Any], what: str) -> float:
    return max(1e-6, float(figures[what]) / float(figures["count"]))
