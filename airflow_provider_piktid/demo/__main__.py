# SPDX-License-Identifier: Apache-2.0
"""Run an example DAG against the emulator, or start Airflow with all example DAGs."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from airflow_provider_piktid.demo import batch, nights, person, ui
from airflow_provider_piktid.demo.environment import DemoError, example_dags

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_piktid.demo",
        description=__doc__,
        epilog="With AIRFLOW_CONN_PIKTID_DEFAULT set, it uses that service instead and spends its credits.",
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=("swap", "person", "refresh", "ui"),
        default="swap",
        help="model swap, generated persons, three nights of a refresh, or the web interface "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--images",
        type=Path,
        help="folder of your own JPEG or PNG photographs; person uses the first one",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("piktid-demo-output"),
        help="folder for the results (default: %(default)s)",
    )
    parser.add_argument(
        "--identity", default="PiktidSummer", help="identity that swap and refresh use (default: %(default)s)"
    )
    parser.add_argument(
        "--dags", type=Path, default=example_dags(), help="folder of the example DAGs (default: %(default)s)"
    )
    return parser


def _exit(number: int, _: object) -> None:
    """Exit, which stops the emulator and Airflow; a second signal does not interrupt that."""
    for each in SIGNALS:
        signal.signal(each, lambda *_: None)
    sys.exit(128 + number)


def main() -> int:
    args = _parser().parse_args()
    for number in SIGNALS:
        signal.signal(number, _exit)
    try:
        if args.command == "ui":
            return ui.run(args.dags)
        if args.command == "person":
            person.run(args.dags, args.images, args.output)
        elif args.command == "refresh":
            nights.run(args.dags, args.output, args.identity)
        else:
            batch.run(args.dags, args.images, args.output, args.identity)
        return 0
    except DemoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
