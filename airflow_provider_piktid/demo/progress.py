# SPDX-License-Identifier: Apache-2.0
"""Show that a long step is working: one line that is rewritten on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

#: What the operators and triggers of this package log, in Airflow's text format.
_LINE = re.compile(r"\[info\s*\] (.+?)\s*\[airflow\S*provider_piktid\.\S+\]")
_JOB_ID = re.compile(r"\b([Jj]ob) job_[0-9a-f]{32}")
NOTE_LENGTH = 100


class Step:
    """A running step; ``note()`` says how far it is. ``log`` is read for notes, if given."""

    def __init__(self, label: str, text: str, log: Path | None = None) -> None:
        self._head = f"{f'{label}:':<11}{text}"
        self._log = log
        self._offset = log.stat().st_size if log and log.exists() else 0
        self._note = ""
        self._since = time.monotonic()
        self._ended = threading.Event()
        self._is_terminal = sys.stdout.isatty()

    def note(self, text: str) -> None:
        """Show a new state; without a terminal it is printed as a line of its own."""
        if text == self._note:
            return
        self._note = text
        if not self._is_terminal:
            print(f"{'':<11}{text}", flush=True)

    def begin(self) -> None:
        if not self._is_terminal:
            print(f"{self._head} ...", flush=True)

    def watch(self) -> None:
        """Read the log and rewrite the line, until the step ends."""
        while not self._ended.wait(0.5):
            self._read_log()
            if self._is_terminal:
                self._show(f"{self._head} ... {self.seconds:.0f} s  {self._note}")
        self._read_log()

    def stop_watching(self) -> None:
        self._ended.set()

    def end(self) -> None:
        if self._is_terminal:
            self._show(f"{self._head}, {self.seconds:.0f} s")
            print(flush=True)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._since

    def _show(self, line: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        sys.stdout.write(f"\r\033[K{line[:width]}")
        sys.stdout.flush()

    def _read_log(self) -> None:
        if self._log is None or not self._log.exists():
            return
        with self._log.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
        complete = new[: new.rfind(b"\n") + 1]
        self._offset += len(complete)
        for message in _LINE.findall(complete.decode(errors="replace")):
            if not message.startswith("{"):
                short = _JOB_ID.sub(r"\1", message)
                self.note(short if len(short) <= NOTE_LENGTH else f"{short[: NOTE_LENGTH - 4]} ...")


@contextlib.contextmanager
def step(label: str, text: str, log: Path | None = None) -> Iterator[Step]:
    """
    Show a step while the block runs.

    :param log: Log of Airflow whose lines of this package are shown as notes. Default: none.
    """
    running = Step(label, text, log)
    running.begin()
    watcher = threading.Thread(target=running.watch, daemon=True)
    watcher.start()
    try:
        yield running
    finally:
        running.stop_watching()
        watcher.join()
        running.end()
