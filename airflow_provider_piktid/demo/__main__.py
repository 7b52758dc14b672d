# SPDX-License-Identifier: Apache-2.0
"""``python -m airflow_provider_piktid.demo``: run an example DAG; ``... ui``: start Airflow to click through."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from airflow_provider_piktid.demo import batch, person, ui
from airflow_provider_piktid.demo.stage import DemoError, example_dags


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_piktid.demo", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("swap", "person", "ui"), default="swap")
    parser.add_argument("--images", type=Path, help="folder of JPEG or PNG photographs of your own")
    parser.add_argument("--output", type=Path, default=Path("piktid-demo-output"), help="where results go")
    parser.add_argument("--identity", default="PiktidSummer", help="identity to swap in")
    parser.add_argument(
        "--dags", type=Path, default=example_dags(), help="folder of the example DAGs (default: %(default)s)"
    )
    args = parser.parse_args()
    # What was started is ended on the way out, also when a supervisor asks for it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if args.command == "ui":
            return ui.run(args.dags)
        if args.command == "person":
            return person.run(args.dags, args.images, args.output)
        return batch.run(args.dags, args.images, args.output, args.identity)
    except DemoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
