# SPDX-License-Identifier: Apache-2.0
"""
A distributed Airflow with the emulator and the example DAGs: ``python -m tests.cluster up``.

``kill NAME`` ends a part and all its processes at once, and ``start NAME`` brings it back; ``status`` lists the parts.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from airflow_provider_piktid.demo.pictures import photographs
from tests.cluster.cluster import Cluster, example_dags
from tests.cluster.services import ClusterError
from tests.cluster.settings import PARTS
from tests.support.rest import StackError

HOME = Path(".piktid-cluster")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("--home", type=Path, default=HOME, help=f"its folder (default {HOME})")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start everything and wait until it is healthy")
    up.add_argument("--dags", type=Path, default=example_dags(), help="DAG files (default: the examples)")
    commands.add_parser("down", help="stop everything and remove the database")
    commands.add_parser("status", help="list the parts")
    for name, told in (("kill", "kill parts with SIGKILL"), ("start", "start parts that were killed")):
        commands.add_parser(name, help=told).add_argument("parts", nargs="+", choices=PARTS)
    options = parser.parse_args(argv)
    cluster = Cluster(options.home / "airflow")
    try:
        return _run(cluster, options)
    except (ClusterError, StackError) as error:
        print(error, file=sys.stderr)
        return 1


def _run(cluster: Cluster, options: argparse.Namespace) -> int:
    if options.command == "up":
        _up(cluster, options.dags)
    elif options.command == "down":
        cluster.down()
    elif not cluster.state:
        raise ClusterError(f"there is no cluster in {cluster.home}: start one with `make cluster`")
    elif options.command == "status":
        return _status(cluster)
    else:
        getattr(cluster, options.command)(*options.parts)
    return 0


def _up(cluster: Cluster, dags: Path) -> None:
    start = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - start:5.1f} s  {what}", flush=True)

    pictures, output = cluster.home.with_name("photographs"), cluster.home.with_name("output")
    examples = {"PIKTID_EXAMPLE_IMAGES": str(pictures), "PIKTID_EXAMPLE_OUTPUT": str(output)}
    # Some of the examples have a schedule.
    cluster.up(dags, examples | {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True"}, say)
    emulator = cluster.emulator()
    say("healthy")
    photographs(pictures)
    connection = {"connection_id": "piktid_default", "conn_type": "piktid", "host": emulator}
    cluster.call("POST", "connections", connection | {"password": "piktid-emulator"})
    print(f"airflow:   {cluster.url_of('api-1')} and {cluster.url_of('api-2')} (no login needed)")
    print(f"emulator:  {emulator}")
    print("try:       unpause and trigger example_piktid_model_swap; its parameters are already set")
    print(f"results:   {output}")
    print(f"logs:      {cluster.home}")
    print("stop:      make cluster-down")


def _status(cluster: Cluster) -> int:
    """Print the parts and what is not healthy; return 1 if anything is not."""
    for part in PARTS:
        ends = len(cluster.ends(part))
        print(f"{part:14} {cluster.pid(part) or 'does not run':>12}  ended {ends} times")
    try:
        sick = cluster.unhealthy()
    except OSError as error:
        sick = [f"api-1: {error}"]
    print(json.dumps({"not healthy": sick}))
    return int(bool(sick))


if __name__ == "__main__":
    sys.exit(main())
