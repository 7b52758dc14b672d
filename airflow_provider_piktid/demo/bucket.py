# SPDX-License-Identifier: Apache-2.0
"""
A local S3 server with a bucket of photographs, as a process.

It prints its URL, and ends when its standard input is closed. Buckets are kept in memory.
"""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from airflow_provider_piktid.demo.environment import DemoError, stop

#: As the examples name them.
CONNECTION_VARIABLE = "AIRFLOW_CONN_AWS_DEFAULT"
SOURCES, OUTPUTS, FOLDER = "catalogue", "catalogue-swapped", "photographs"
REGION = "us-east-1"
NEEDED = ("apache-airflow-providers-amazon", "flask", "flask-cors", "moto", "s3fs")


@contextlib.contextmanager
def bucket_server(photographs: Path) -> Iterator[dict[str, str]]:
    """
    Serve the files below a folder, and an empty bucket for outputs; yield the variable of the connection to it.

    :raises DemoError: A package is missing, or the server does not start.
    """
    if missing := [name for name in NEEDED if not _is_installed(name)]:
        raise DemoError(
            f"{', '.join(missing)} not installed; the local S3 server needs "
            "`pip install 'airflow-provider-piktid[ui]'`"
        )
    command = [sys.executable, "-W", "ignore", "-m", "airflow_provider_piktid.demo.bucket", str(photographs)]
    # In a session of its own: Ctrl-C in a terminal would end it with a traceback.
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        url = process.stdout.readline().strip() if process.stdout else ""
        if not url.startswith("http"):
            raise DemoError(f"the local S3 server did not start; try `{' '.join(command[3:])}`")
        yield {CONNECTION_VARIABLE: json.dumps(connection_to(url))}
    finally:
        stop(process)


def connection_to(url: str) -> dict[str, object]:
    """Return the Airflow connection to a local S3 server, which accepts any key."""
    return {
        "conn_type": "aws",
        "login": "demo",
        "password": "demo",
        "extra": {"endpoint_url": url, "region_name": REGION},
    }


def main(folder: Path) -> None:
    from moto.backends import get_backend
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.server import ThreadedMotoServer

    # It would log each request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    backend = get_backend("s3")[DEFAULT_ACCOUNT_ID]["aws"]
    for bucket in (SOURCES, OUTPUTS):
        backend.create_bucket(bucket, REGION)
    for path in sorted(folder.rglob("*.jpg")):
        key = f"{FOLDER}/{path.relative_to(folder).as_posix()}"
        backend.put_object(SOURCES, key, path.read_bytes())
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print("http://{}:{}".format(*server.get_host_and_port()), flush=True)
    sys.stdin.read()


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]))
