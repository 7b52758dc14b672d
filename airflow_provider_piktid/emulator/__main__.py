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
    "rate_window": "length of the rate limit window",
    "job_seconds": "how long a job takes",
    "post_process_seconds": "how long post-processing takes",
    "preprocessing_seconds": "how long the preprocessing of an identity takes",
    "upload_link_seconds": "lifetime of an upload link",
    "result_link_seconds": "lifetime of a result link",
    "zip_link_seconds": "lifetime of a ZIP link",
    "notification_seconds": "lifetime of a notification",
    "keepalive_seconds": "seconds without an event before a keepalive comment",
    "webhook_backoff": "wait before the first retry of a webhook delivery",
    "credits": "credits at startup",
    "credits_per_output": "price of one output",
    "credits_per_promotion": "price of the promotion of a draft",
    "credits_per_preset": "price of an extracted preset",
    "generate_seconds": "how long a v1 generation takes",
    "mask_seconds": "how long v1 takes to compute the masks of a picture",
    "target_seconds": "lifetime of a picture uploaded to v1",
    "poll_seconds": "shortest allowed time between two v1 polls, with --variant v1_poll_limit=on",
    "credits_per_generation": "price of one v1 generation",
}
_COUNTS = {
    "jobs_per_minute": "submissions per window; 0 for no limit",
    "active_jobs": "active jobs; 0 for no limit",
    "max_identities": "largest number of own identities",
    "max_tokens": "largest number of issued API tokens",
    "webhook_tries": "delivery attempts per notification",
    "picture_workers": "threads for image work",
    "faces": "report this many faces in each picture uploaded to v1 instead of detecting them",
}
_TEXTS = {
    "token": "accepted API token",
    "login": "login e-mail of the account",
    "password": "password of the account",
    "public_url": "base URL of links in responses; default: the address of the request",
}


def parser() -> argparse.ArgumentParser:
    """Return the command line parser."""
    result = argparse.ArgumentParser(
        prog="python -m airflow_provider_piktid.emulator", description="A local PiktID server."
    )
    result.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    result.add_argument(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        help="port to listen on, 0 for a free one (default %(default)s)",
    )
    defaults = Settings()
    for names, kind in ((_TEXTS, str), (_SECONDS, float), (_COUNTS, int)):
        for name, meaning in names.items():
            option = "--" + name.replace("_", "-")
            default = getattr(defaults, name)
            result.add_argument(option, type=kind, default=default, help=f"{meaning} (default {default})")
    result.add_argument(
        "--latency-ms", type=float, default=0.0, help="latency added to each request (default 0)"
    )
    result.add_argument("--data-dir", type=Path, help="folder for files (default: a temporary one)")
    result.add_argument(
        "--fast-images", action="store_true", help="return inputs as outputs, without image processing"
    )
    result.add_argument(
        "--variant",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a variant (repeatable): "
        + "; ".join(f"{v.name}={'|'.join(v.values) or 'N'}" for v in VARIANTS.values()),
    )
    return result


def settings_of(arguments: argparse.Namespace) -> Settings:
    """
    Return the settings for parsed arguments.

    :raises ValueError: Unknown variant or value.
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
    """Serve until SIGINT or SIGTERM; the first line printed is the base URL."""
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
