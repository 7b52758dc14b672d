# SPDX-License-Identifier: Apache-2.0
"""The commands of ``airflow piktid``, for Airflow 3.2 and newer. Airflow imports it for every ``airflow`` command."""

from __future__ import annotations

import functools
from argparse import Namespace
from typing import Any

from airflow_provider_piktid.cli.definition import EXIT_CODES, ROOT, Command, Node


def get_cli_commands() -> list[Any]:
    """Return the commands as Airflow's command line takes them."""
    return [_converted(ROOT)]


def _converted(node: Node) -> Any:
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

    if isinstance(node, Command):
        return ActionCommand(
            name=node.name,
            help=node.help,
            func=functools.partial(_run, node),
            args=[Arg(argument.flags, **argument.options) for argument in node.arguments],
            description=node.description,
            epilog=EXIT_CODES,
        )
    commands = tuple(_converted(each) for each in node.commands)
    return GroupCommand(name=node.name, help=node.help, subcommands=commands)


def _run(command: Command, arguments: Namespace) -> None:
    # Imported here, as Airflow's own `lazy_load_command` does: most commands are not ours.
    from airflow_provider_piktid.cli.runner import run

    code = run(command, arguments)
    if code:
        # Airflow ignores what a command returns.
        raise SystemExit(code)
