# SPDX-License-Identifier: Apache-2.0
"""A running Airflow whose DAGs start when jobs of an emulator end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_piktid.client import PiktidClient
from airflow_provider_piktid.jobs.end_memory import KEY, end_key
from tests.support.batch import JPEG
from tests.support.rest import OPENER
from tests.support.stack import AirflowStack, emulator_call, free_port

TOKEN = "emulator-token-5f1c9e"
CONN_ID = "piktid_default"
SCRIPT = Path(__file__).with_name("plain_job.py")


@dataclass
class EventStack:
    """
    The running Airflow and its emulator.

    :param folder: Where the DAGs write to.
    """

    airflow: AirflowStack
    url: str
    folder: Path

    def connect(self, **extra: str) -> None:
        """Store the connection in Airflow's database, or replace it."""
        body = {"conn_type": "piktid", "host": self.url, "password": TOKEN, "extra": json.dumps(extra)}
        body = {"connection_id": CONN_ID, **body}

        def stored() -> bool:
            try:
                self.airflow.call("POST", "connections", body)
            except urllib.error.HTTPError as error:
                if error.code != 409:
                    raise
                self.airflow.call("PATCH", f"connections/{CONN_ID}", body)
            return True

        # An SQLite database is locked at times, which Airflow answers with 500.
        self.airflow.wait(stored, "the connection", tolerant=True)

    def script(self, project: str, count: int = 1) -> list[str]:
        """Let a script without Airflow start jobs; return their ids."""
        image = self.folder / "front.jpg"
        image.write_bytes(JPEG)
        command = [sys.executable, str(SCRIPT), self.url, TOKEN, project, str(count), str(image)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.split()

    def set_webhook(self) -> str:
        """Set the account's webhook to the API server; return the secret."""
        with PiktidClient(TOKEN, base_url=self.url) as client:
            return str(client.set_webhook(f"{self.airflow.url}/piktid/webhook").secret)

    def remove_webhook(self) -> None:
        """Let PiktID deliver nothing any more; the connection keeps the secret."""
        call = urllib.request.Request(
            f"{self.url}/webhooks", method="DELETE", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        OPENER.open(call, timeout=30).close()

    def has_ended(self, *job_ids: str) -> bool:
        with PiktidClient(TOKEN, base_url=self.url) as client:
            return all(client.get_job(job_id).done for job_id in job_ids)

    def remembers(self, asset: str, *job_ids: str) -> bool:
        """Whether the watcher of an asset has stored that it reported these jobs."""
        with PiktidClient(TOKEN, base_url=self.url) as client:
            ends = {end_key(client.get_job(job_id)) for job_id in job_ids}
        (row,) = self.airflow.get(f"assets?name_pattern={asset}")["assets"]
        try:
            stored = self.airflow.get(f"assets/{row['id']}/state-store/{KEY}")["value"]
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return False
        return ends <= set(stored["ends"])

    def second_api_server(self) -> str:
        """Start another API server; return its URL when it answers."""
        port = free_port()
        self.airflow.start("api-server", "api-server-2", "--port", str(port))
        url = f"http://127.0.0.1:{port}"
        self.airflow.wait(lambda: _answers(url), "the second API server", seconds=120, tolerant=True)
        return url

    def events(self, asset: str) -> list[dict[str, Any]]:
        """The events of an asset, oldest first."""
        rows: list[dict[str, Any]] = []

        def read() -> bool:
            rows[:] = self.airflow.get("assets/events?limit=100&order_by=timestamp")["asset_events"]
            return True

        self.airflow.wait(read, "the events", tolerant=True)
        return [row for row in rows if row["name"] == asset]

    def reported(self, asset: str) -> Counter[str]:
        """How often each job was reported."""
        return Counter(
            job["job_id"] for event in self.events(asset) for job in event["extra"]["payload"]["jobs"]
        )

    def downloaded(self, name: str) -> set[str]:
        """The jobs of which a manifest was written."""
        return {
            row["job_id"]
            for path in (self.folder / name).rglob("manifest-*.json")
            for row in json.loads(path.read_text())
            if row["status"] == "done"
        }

    def wait_for_downloads(self, name: str, job_ids: list[str], *, seconds: float = 90) -> None:
        self.airflow.wait(
            lambda: set(job_ids) <= self.downloaded(name), f"{name}: downloads of {job_ids}", seconds=seconds
        )

    def wait_for_watcher(self, *, streams: int = 1, seconds: float = 60) -> None:
        """Wait until the triggerer listens."""
        self.airflow.wait(
            lambda: emulator_call(self.url, "stats")["streams"] >= streams, "the watcher", seconds=seconds
        )


def _answers(url: str) -> bool:
    with OPENER.open(f"{url}/api/v2/version", timeout=5) as answer:
        return bool(answer.status == 200)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def deliver(url: str, content: bytes, headers: dict[str, str]) -> tuple[int, float]:
    """Send a delivery to an API server; return the status of the answer and the seconds until it."""
    return request(f"{url}/piktid/webhook", "POST", content, headers)


def deliver_until_taken(url: str, content: bytes, headers: dict[str, str]) -> int:
    """Send a delivery again while the answer is 503, as PiktID does; return the status of the last answer."""
    for _ in range(10):
        status, _ = deliver(url, content, headers)
        if status != 503:
            break
        time.sleep(0.5)
    return status


def request(
    url: str, method: str, content: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, float]:
    """Send a request without authentication; return the status of the answer and the seconds until it."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
    prepared = urllib.request.Request(url, data=content, headers=headers or {}, method=method)
    began = time.perf_counter()
    try:
        with opener.open(prepared, timeout=30) as answer:
            status = int(answer.status)
    except urllib.error.HTTPError as error:
        status = error.code
        error.close()
    return status, time.perf_counter() - began
