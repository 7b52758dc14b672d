# SPDX-License-Identifier: Apache-2.0
"""The command line of ``python -m airflow_provider_piktid``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from airflow_provider_piktid.cli.definition import EXIT_CODES, ROOT, Command, Node

PROGRAM = "python -m airflow_provider_piktid"


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    result = argparse.ArgumentParser(prog=PROGRAM, description=ROOT.help, **_layout())
    _add_all(result, ROOT.commands)
    return result


def _layout() -> dict[str, Any]:
    return {"epilog": EXIT_CODES, "formatter_class": argparse.RawDescriptionHelpFormatter}


def _add_all(parent: argparse.ArgumentParser, nodes: Sequence[Node]) -> None:
    children = parent.add_subparsers(metavar="COMMAND", required=True)
    for node in nodes:
        if isinstance(node, Command):
            text = node.description or node.help
            child = children.add_parser(node.name, help=node.help, description=text, **_layout())
            for argument in node.arguments:
                child.add_argument(*argument.flags, **argument.options)
            child.set_defaults(command=node)
        else:
            child = children.add_parser(node.name, help=node.help, description=node.help, **_layout())
            _add_all(child, node.commands)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code."""
    arguments = parser().parse_args(argv)

    from airflow_provider_piktid.cli.runner import run

    return run(arguments.command, arguments)
