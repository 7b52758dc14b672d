# SPDX-License-Identifier: Apache-2.0
"""A local S3 server and the connection to it."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from airflow_provider_piktid.files import storage

SECRET = "aws-very-secret"
CONNECTION_ID = "s3t"


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """Run moto's server in this process; yield its URL."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def connection_to(endpoint: str) -> dict[str, Any]:
    """Return the Airflow connection to the server."""
    return {
        "conn_type": "aws",
        "login": "key",
        "password": SECRET,
        "extra": {"endpoint_url": endpoint, "region_name": "us-east-1"},
    }


def connection_id_of(endpoint: str) -> str:
    """Return a connection id that contains the port, because file systems are cached by connection id."""
    return f"{CONNECTION_ID}_{endpoint.rpartition(':')[2]}"


@contextlib.contextmanager
def bucket_in(endpoint: str, monkeypatch: Any) -> Iterator[str]:
    """Create a bucket; yield its URI with the connection id."""
    connection_id = connection_id_of(endpoint)
    monkeypatch.setenv(f"AIRFLOW_CONN_{connection_id.upper()}", json.dumps(connection_to(endpoint)))
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    storage.locate(f"s3://{connection_id}@{name}/").fs.mkdir(name)
    yield f"s3://{connection_id}@{name}"


def put(uri: str, content: bytes) -> None:
    storage.write_bytes(storage.locate(uri), content)


def stock(uri: str, names: Iterable[str]) -> None:
    """Put empty objects below a folder of this process's server, without a request for each."""
    from moto.backends import get_backend
    from moto.core.models import DEFAULT_ACCOUNT_ID

    bucket, _, folder = uri.partition("@")[2].partition("/")
    for name in names:
        get_backend("s3")[DEFAULT_ACCOUNT_ID]["aws"].put_object(bucket, f"{folder}/{name}", b"")


#: Serves a bucket that already contains objects: uploading them would take longer than the measurement.
FULL_SERVER = """
import logging, sys
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID
from moto.server import ThreadedMotoServer
from tests.support.batch import JPEG

bucket, count = sys.argv[1], int(sys.argv[2])
backend = get_backend("s3")[DEFAULT_ACCOUNT_ID]["aws"]
# The server scans a whole bucket for each page of a listing, so the outputs have a bucket of their own.
for name in (bucket, f"{bucket}-out"):
    backend.create_bucket(name, "us-east-1")
for number in range(count):
    name = f"{number % 100:02d}/photograph-{number:05d}"
    backend.put_object(bucket, f"in/{name}.jpg", JPEG)
    backend.put_object(f"{bucket}-out", f"out/{name}_0_v1.jpg", b"")
# It would log every request to a pipe that nobody reads.
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%d" % server.get_host_and_port(), flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def full_s3_server(bucket: str, count: int) -> Iterator[str]:
    """Run a server process with ``count`` small images below ``in/``, and bucket ``<bucket>-out`` of empty outputs."""
    import subprocess

    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", FULL_SERVER, bucket, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()
