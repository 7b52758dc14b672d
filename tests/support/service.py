# SPDX-License-Identifier: Apache-2.0
"""An emulator with short jobs, the connection to it, and images."""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_piktid.emulator import EmulatorServer, Settings
from airflow_provider_piktid.testing.pictures import write_picture as picture
from airflow_provider_piktid.testing.pictures import write_pictures as pictures

__all__ = ["QUICK", "connection_json", "emulator", "picture", "pictures"]

#: Jobs and windows a hundred times shorter than PiktID's.
QUICK: dict[str, Any] = {
    "job_seconds": 0.3,
    "jobs_per_minute": 0,
    "transform": False,
    "keepalive_seconds": 1.0,
}


def emulator(**settings: Any) -> EmulatorServer:
    """Return an emulator whose jobs take 0.3 s; it is not started."""
    return EmulatorServer(Settings(**(QUICK | settings)))


def connection_json(url: str, *, password: str = "piktid-emulator", **extra: Any) -> str:
    """Return a connection as JSON for ``AIRFLOW_CONN_*``."""
    return json.dumps({"conn_type": "piktid", "host": url, "password": password, "extra": extra})
