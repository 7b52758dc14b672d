# SPDX-License-Identifier: Apache-2.0
"""
Run all benchmarks, or one: ``python -m tests.bench [--only NAME] [--quick] [--json FILE]``.

A benchmark is a module of this package with a function ``run`` that returns rows and may accept ``quick``.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

# First: it sets ``AIRFLOW_HOME``, which must happen before Airflow is imported.
import tests.conftest  # noqa: F401 - see above
from tests.bench.rows import Row, as_mapping, table

# Task logs of this process would hide the tables.
os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")


def benches() -> dict[str, ModuleType]:
    """Find the modules of this package that have a function ``run``."""
    names = [
        info.name for info in iter_modules([str(Path(__file__).parent)]) if not info.name.startswith("_")
    ]
    modules = {name: import_module(f"tests.bench.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, "run")}


def measure(module: ModuleType, *, quick: bool) -> list[dict[str, Any]]:
    """Run one benchmark; if it raises, return a missed row, so that the others still run."""
    knows = "quick" in inspect.signature(module.run).parameters
    try:
        rows = module.run(quick=quick) if knows else module.run()
    except Exception as error:  # noqa: BLE001 - shown, and counted as missed
        traceback.print_exc()
        rows = [Row("could not be measured", type(error).__name__, "", False)]
    return [as_mapping(row) for row in rows]


def main(argv: Sequence[str] | None = None) -> int:
    """Run and print; return 1 if a bound is missed or a benchmark could not run."""
    modules = benches()
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Figures of this package.")
    parser.add_argument("--only", action="append", choices=sorted(modules), help="repeatable; default all")
    parser.add_argument("--quick", action="store_true", help="smaller loads, the same bounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there as well")
    options = parser.parse_args(argv)
    found: list[dict[str, Any]] = []
    for name in options.only or sorted(modules):
        print(f"{name} ...", file=sys.stderr, flush=True)
        started = time.monotonic()
        rows = measure(modules[name], quick=options.quick)
        found += [{"bench": name, **row} for row in rows]
        if rows:
            print(f"\n{name}, {time.monotonic() - started:.0f} s\n{table(rows)}\n", flush=True)
    if options.json:
        document = {"machine": machine(), "quick": options.quick, "rows": found}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    missed = [row for row in found if not row["ok"]]
    print(f"{len(found) - len(missed)} of {len(found)} figures kept" if found else "nothing measured")
    return 1 if missed or not found else 0


def machine() -> dict[str, Any]:
    """Describe the machine of the measurement."""
    from airflow import __version__ as airflow

    return {
        "processors": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "airflow": airflow,
    }


if __name__ == "__main__":
    sys.exit(main())
