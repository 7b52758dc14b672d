# SPDX-License-Identifier: Apache-2.0
"""Run the emulator: ``python -m airflow_provider_piktid.emulator``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from .app import create_app
from .server import make_server, open_socket, url_of
from .settings import Settings
from .variants import VARIANTS

DEFAULT_PORT = 8420
_SECONDS = {
    "rate_window": "length of the window of the rate limit",
    "job_seconds": "how long a job takes",
    "post_process_seconds": "how long post-processing takes",
    "preprocessing_seconds": "how long an identity is prepared",
    "upload_link_seconds": "life of an upload link",
    "result_link_seconds": "life of a result link",
    "zip_link_seconds": "life of a ZIP link",
    "notification_seconds": "life of a notification",
    "keepalive_seconds": "silence before a keepalive",
    "webhook_backoff": "wait before a webhook is tried again",
    "credits": "balance at the start",
    "credits_per_output": "price of one output",
    "generate_seconds": "how long a generation of v1 takes",
    "mask_seconds": "how long the masks of a picture take on v1",
    "target_seconds": "life of a picture uploaded to v1",
    "poll_seconds": "shortest time between two polls of v1, with --variant v1_poll_limit=on",
    "credits_per_generation": "price of one generation of v1",
}
_COUNTS = {
    "jobs_per_minute": "submissions in a window; 0 for no limit",
    "active_jobs": "jobs at once; 0 for no limit",
    "max_identities": "own identities",
    "max_tokens": "issued API tokens",
    "webhook_tries": "tries to deliver a notification",
    "picture_workers": "threads for image work",
    "faces": "pretend so many faces in each picture uploaded to v1 instead of looking",
}
_TEXTS = {
    "token": "API token that is accepted",
    "login": "e-mail of the account",
    "password": "its password",
    "public_url": "base of the links in answers; default: the address a request came to",
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    result = argparse.ArgumentParser(
        prog="python -m airflow_provider_piktid.emulator", description="A local PiktID."
    )
    result.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    result.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="0 takes a free one (default %(default)s)"
    )
    defaults = Settings()
    for names, kind in ((_TEXTS, str), (_SECONDS, float), (_COUNTS, int)):
        for name, meaning in names.items():
            option = "--" + name.replace("_", "-")
            default = getattr(defaults, name)
            result.add_argument(option, type=kind, default=default, help=f"{meaning} (default {default})")
    result.add_argument("--latency-ms", type=float, default=0.0, help="added to each request (default 0)")
    result.add_argument("--data-dir", type=Path, help="folder for the bytes (default: a temporary one)")
    result.add_argument(
        "--fast-images", action="store_true", help="give inputs back as outputs, without image work"
    )
    result.add_argument(
        "--variant",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="turn a switch, repeatable: "
        + "; ".join(f"{v.name}={'|'.join(v.values) or 'N'}" for v in VARIANTS.values()),
    )
    return result


def settings_of(arguments: argparse.Namespace) -> Settings:
    """
    Return the settings that a command line asks for.

    :raises ValueError: For an unknown switch or value.
    """
    chosen = dict(item.partition("=")[::2] for item in arguments.variant)
    for name, value in chosen.items():
        if name not in VARIANTS:
            raise ValueError(f"unknown variant {name!r}; known: {', '.join(VARIANTS)}")
        VARIANTS[name].check(value)
    given = {name: getattr(arguments, name) for name in (*_TEXTS, *_SECONDS, *_COUNTS)}
    return Settings(
        **given,
        latency=arguments.latency_ms / 1000,
        data_dir=arguments.data_dir,
        transform=not arguments.fast_images,
        variants=chosen,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal ends it; the first line printed is the base URL."""
    options = parser()
    arguments = options.parse_args(argv)
    try:
        settings = settings_of(arguments)
        listening = open_socket(arguments.host, arguments.port)
    except (OSError, ValueError) as error:
        options.error(str(error))
    app = create_app(settings)
    print(url_of(listening), flush=True)
    try:
        make_server(app).run(sockets=[listening])
    finally:
        app.state.emulator.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
