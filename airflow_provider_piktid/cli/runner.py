# SPDX-License-Identifier: Apache-2.0
"""Run one command: its output to stdout, everything else to stderr, and an exit code that says how it ended."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from airflow_provider_piktid.cli.definition import PACKAGE, Command
from airflow_provider_piktid.cli.output import Progress, Text
from airflow_provider_piktid.exceptions import (
    TRANSIENT_ERRORS,
    PiktidAuthError,
    PiktidConfigError,
    PiktidError,
)

#: Airflow's variable for what kind of process this is.
PROCESS_CONTEXT = "_AIRFLOW_PROCESS_CONTEXT"

DONE, WRONG, INVALID, REFUSED, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 4, 130


@dataclass(frozen=True)
class Result:
    """
    What a command found out.

    :param document: JSON values, without secrets and links.
    :param code: Exit code. Default: 0.
    """

    document: dict[str, Any] = field(default_factory=dict)
    code: int = DONE


def run(command: Command, arguments: Namespace) -> int:
    """Run a command and print its result; return the exit code."""
    stdout = sys.stdout
    try:
        # Airflow and its plugins may print and log to stdout, which is for the result alone.
        with contextlib.redirect_stdout(sys.stderr), _beside_airflow():
            module = import_module(f"{PACKAGE}.{command.module}")
            result: Result = module.collect(
                arguments, Progress(shown=not arguments.json and sys.stderr.isatty())
            )
        if arguments.json:
            print(json.dumps(result.document, indent=2), file=stdout)
        else:
            module.show(result.document, Text(stdout))
        stdout.flush()
    except PiktidError as error:
        return _report(str(error), code_of(error))
    except KeyboardInterrupt:
        return _report("Interrupted.", INTERRUPTED)
    except BrokenPipeError:
        # The reader has seen enough; the interpreter would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    return result.code


@contextlib.contextmanager
def _beside_airflow() -> Iterator[None]:
    """Let this process see connections of the metadata database, as Airflow's own commands do, and log errors only."""
    logger = logging.getLogger("airflow_provider_piktid")
    level, context = logger.level, os.environ.get(PROCESS_CONTEXT)
    os.environ.setdefault(PROCESS_CONTEXT, "server")
    # Results are printed; what else the package logs is for task logs.
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        if context is None:
            os.environ.pop(PROCESS_CONTEXT, None)


def _report(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code


def code_of(error: PiktidError) -> int:
    """Return the exit code for an error that ended a command."""
    if isinstance(error, PiktidAuthError):
        return REFUSED
    if isinstance(error, PiktidConfigError):
        return INVALID
    return UNREACHABLE if isinstance(error, TRANSIENT_ERRORS) else WRONG
