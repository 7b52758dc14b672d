# SPDX-License-Identifier: Apache-2.0
"""Text for people: lines, tables and a progress line, without characters that a terminal would obey."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

#: Columns of the output without a terminal: tables are not cut for a file or a pipe.
PIPE_WIDTH = 240


class Text:
    """
    Prints results.

    :param stream: Where to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def line(self, text: str = "") -> None:
        """Print one line; it is not wrapped, so that it can be copied."""
        print(printable(text), file=self._stream)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Print a table; None is shown as ``-``."""
        from rich.table import Table
        from rich.text import Text as RichText

        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(RichText("-" if cell is None else printable(str(cell))) for cell in row))
        console = self._console()
        with console.capture() as capture:
            console.print(table)
        for line in capture.get().splitlines():
            # Cells are padded to the width of their column, also at the end of a line.
            print(line.rstrip(), file=self._stream)

    def _console(self) -> Console:
        from rich.console import Console

        width = None if self._stream.isatty() else PIPE_WIDTH
        return Console(file=self._stream, width=width, highlight=False, markup=False, emoji=False)


class Progress:
    """
    A progress line on stderr.

    :param shown: False prints nothing: for programs, and where no person watches.
    """

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown

    @contextlib.contextmanager
    def watch(self, text: Callable[[], str], interval: float = 0.5) -> Iterator[None]:
        """Print what ``text`` returns again and again until the block ends."""
        if not self._shown:
            yield
            return
        ended = threading.Event()
        thread = threading.Thread(target=_repeat, args=(text, interval, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            sys.stderr.write("\r\x1b[K")

    def say(self, text: str) -> None:
        """Print one line."""
        if self._shown:
            sys.stderr.write(f"\r\x1b[K{printable(text)}\n")


def _repeat(text: Callable[[], str], interval: float, ended: threading.Event) -> None:
    while not ended.wait(interval):
        sys.stderr.write(f"\r\x1b[K{printable(text())}")
        sys.stderr.flush()


def printable(text: str) -> str:
    """Return text without characters that a terminal would obey."""
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)


def moment(seconds: float | None) -> str | None:
    """Return epoch seconds as UTC text; None for none."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ") if seconds else None


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as ``3 jobs``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
