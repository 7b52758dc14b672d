# SPDX-License-Identifier: Apache-2.0
"""An S3 server over HTTP on loopback, and the connection to it."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import uuid
from collections.abc import Iterator
from typing import Any

from airflow_provider_piktid.files import storage

SECRET = "aws-very-secret"
CONNECTION_ID = "s3t"


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """Run moto's server in this process; its address."""
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
    """Describe Airflow's connection to it."""
    return {
        "conn_type": "aws",
        "login": "key",
        "password": SECRET,
        "extra": {"endpoint_url": endpoint, "region_name": "us-east-1"},
    }


def connection_id_of(endpoint: str) -> str:
    """Name the connection to a server after its port: a file system of another server is kept under its own."""
    return f"{CONNECTION_ID}_{endpoint.rpartition(':')[2]}"


@contextlib.contextmanager
def bucket_in(endpoint: str, monkeypatch: Any) -> Iterator[str]:
    """Make a bucket; its URI with the connection id."""
    connection_id = connection_id_of(endpoint)
    monkeypatch.setenv(f"AIRFLOW_CONN_{connection_id.upper()}", json.dumps(connection_to(endpoint)))
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    storage.locate(f"s3://{connection_id}@{name}/").fs.mkdir(name)
    yield f"s3://{connection_id}@{name}"


def put(uri: str, content: bytes) -> None:
    storage.write_bytes(storage.locate(uri), content)


#: Serve a bucket that is full from the start: filling it over HTTP would take longer than what is measured.
FULL_SERVER = """
import logging, sys
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID
from moto.server import ThreadedMotoServer
from tests.support.batch import JPEG

bucket, count = sys.argv[1], int(sys.argv[2])
backend = get_backend("s3")[DEFAULT_ACCOUNT_ID]["aws"]
backend.create_bucket(bucket, "us-east-1")
for number in range(count):
    backend.put_object(bucket, f"in/{number % 100:02d}/photograph-{number:05d}.jpg", JPEG)
# It would log every request to a pipe that nobody reads.
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%d" % server.get_host_and_port(), flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def full_s3_server(bucket: str, count: int) -> Iterator[str]:
    """Run a server as a process of its own with ``count`` small pictures below ``in/``; its address."""
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
