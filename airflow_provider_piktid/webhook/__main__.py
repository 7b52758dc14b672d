# SPDX-License-Identifier: Apache-2.0
"""The receiver as a process of its own, for Airflow 2.11 and for API servers that PiktID cannot reach."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

#: The answers to deliveries wait so long, and PiktID does not document how long it waits for them.
LONGEST_GATHER = 5.0
EXTRA = "airflow-provider-piktid[webhook]"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    result = argparse.ArgumentParser(
        prog="python -m airflow_provider_piktid.webhook",
        description="Take PiktID's webhook at /piktid/webhook and create asset events by Airflow's REST API.",
    )
    result.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    result.add_argument("--port", type=int, default=8430, help="port; 0: any free one (default %(default)s)")
    result.add_argument(
        "--piktid-conn-id",
        default="piktid_default",
        help="connection with webhook_secret (default %(default)s)",
    )
    result.add_argument(
        "--airflow-conn-id",
        default="airflow_api",
        help="connection to Airflow: host, and login and password, or a token as password (default %(default)s)",
    )
    result.add_argument(
        "--gather",
        type=_seconds,
        default=3.0,
        help=f"least seconds between two events of an asset, at most {LONGEST_GATHER:g} (default %(default)s)",
    )
    return result


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= LONGEST_GATHER:
        raise argparse.ArgumentTypeError(f"must be from 0 to {LONGEST_GATHER:g}")
    return seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Print the address, and serve until SIGINT or SIGTERM."""
    arguments = parser().parse_args(argv)
    try:
        import uvicorn

        from airflow_provider_piktid.webhook.app import PATH, PREFIX, webhook_app
    except ImportError as error:
        print(f"{error.name} is not installed: pip install '{EXTRA}'", file=sys.stderr)  # noqa: T201
        return 1
    from airflow_provider_piktid.webhook.airflow_api import AirflowApi
    from airflow_provider_piktid.webhook.receiver import WebhookReceiver
    from airflow_provider_piktid.webhook.rest import RestSink

    logging.getLogger("airflow_provider_piktid").setLevel(logging.INFO)
    sink = RestSink(AirflowApi(arguments.airflow_conn_id), arguments.gather)
    app = webhook_app(WebhookReceiver(arguments.piktid_conn_id, sink), PREFIX + PATH)
    config = uvicorn.Config(app, host=arguments.host, port=arguments.port)
    socket = config.bind_socket()
    # Who reads the address can connect to it.
    socket.listen(config.backlog)
    print(f"http://{arguments.host}:{socket.getsockname()[1]}{PREFIX}{PATH}", flush=True)  # noqa: T201
    uvicorn.Server(config).run(sockets=[socket])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
