# SPDX-License-Identifier: Apache-2.0
"""Measure time and memory in a separate process, with the emulator in another one."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.service import connection_json
from tests.support.stack import emulator_process

#: Added by the emulator to each request, as a typical network latency.
LATENCY_MS = 50

#: Options that switch the account limits off.
UNLIMITED = ("--jobs-per-minute", "0", "--active-jobs", "0", "--credits", "1000000")


class Meter:
    """
    Measure time and the growth of peak resident memory in a ``with`` block.

    ``seconds`` and ``megabytes`` are set when the block ends.
    """

    seconds = 0.0
    megabytes = 0.0
    cpu = 0.0

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):
            # Resets the kernel's peak memory. Without the permission the measured growth is too large.
            Path("/proc/self/clear_refs").write_text("5")
        self._before = _memory("VmRSS")
        self._cpu = time.process_time()
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._started
        self.cpu = time.process_time() - self._cpu
        self.megabytes = _memory("VmHWM") - self._before

    def report(self, **more: Any) -> dict[str, Any]:
        return {"seconds": self.seconds, "megabytes": self.megabytes, "cpu": self.cpu, **more}


def resident() -> float:
    """Resident memory of this process in MB."""
    return _memory("VmRSS")


def _memory(field: str) -> float:
    """Return a field of ``/proc/self/status`` in MB, or the peak memory if that file does not exist."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def in_child(
    module: str, function: str, *, url: str = "", extra: Mapping[str, Any] | None = None, **arguments: Any
) -> dict[str, Any]:
    """
    Call a function in a new process and return its result, a JSON object.

    :param url: Emulator that ``piktid_default`` points to, with ``extra``.
    """
    environment = dict(os.environ)
    # Allow bytecode, as for an installed package; otherwise the child would measure its compilation.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment.setdefault("PYTHONPYCACHEPREFIX", os.path.join(environment["AIRFLOW_HOME"], "bytecode"))
    if url:
        environment["AIRFLOW_CONN_PIKTID_DEFAULT"] = connection_json(url, **(extra or {}))
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.process", module, function, json.dumps(arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        raise RuntimeError(f"{module}.{function} failed:\n{done.stderr[-3000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@contextlib.contextmanager
def emulator(*options: str, latency_ms: float = LATENCY_MS) -> Iterator[str]:
    """Run an emulator in another process, without image processing; yield its base URL."""
    with emulator_process("--fast-images", "--latency-ms", str(latency_ms), *options) as url:
        yield url


def main(module: str, function: str, arguments: str) -> None:
    """Run the function; called in the new process."""
    print(json.dumps(getattr(import_module(module), function)(**json.loads(arguments))))


if __name__ == "__main__":
    main(*sys.argv[1:])
