# SPDX-License-Identifier: Apache-2.0
"""The import time that this package adds to the parsing of a DAG file."""

from __future__ import annotations

import statistics
import time
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from tests.bench.process import in_child
from tests.bench.rows import Row, at_most, told

MILLISECONDS = 60
PROCESSES = 9


def run(*, quick: bool = False) -> list[Row]:
    """
    Return the median of several new processes, each of which times both imports.

    The first process is not measured: it writes bytecode and warms the disk cache.
    """
    in_child(__name__, "imported")
    runs = [in_child(__name__, "imported") for _ in range(5 if quick else PROCESSES)]
    ours = statistics.median(one["ours"] for one in runs)
    airflow = statistics.median(one["airflow"] for one in runs)
    ratio = f"{100 * ours / airflow:.1f} % of BaseOperator's {airflow:.0f} ms"
    return [
        at_most(
            "all operators and sensors", ours, MILLISECONDS, "ms", f"{runs[0]['count']} modules, {ratio}"
        ),
        told("import of Airflow's BaseOperator alone", airflow, "ms", f"median of {len(runs)} processes"),
    ]


def imported() -> dict[str, Any]:
    """Import BaseOperator, then every module with an operator or a sensor; return both times in ms."""
    started = time.perf_counter()
    import_module("airflow.sdk").BaseOperator  # noqa: B018 - Airflow imports it when it is asked for
    between = time.perf_counter()
    names = _public("airflow_provider_piktid.operators") + _public("airflow_provider_piktid.sensors")
    for name in names:
        import_module(name)
    ended = time.perf_counter()
    return {
        "airflow": 1000 * (between - started),
        "ours": 1000 * (ended - between),
        "count": len(names),
    }


def _public(package: str) -> list[str]:
    found = iter_modules(import_module(package).__path__, package + ".")
    return [info.name for info in found if not info.name.rpartition(".")[2].startswith("_")]
