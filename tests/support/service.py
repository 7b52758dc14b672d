# SPDX-License-Identifier: Apache-2.0
"""An emulator with quick jobs, the connection to it, and photographs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from airflow_provider_piktid.emulator import EmulatorServer, Settings

#: Jobs and windows a hundred times shorter than PiktID's.
QUICK: dict[str, Any] = {
    "job_seconds": 0.3,
    "jobs_per_minute": 0,
    "transform": False,
    "keepalive_seconds": 1.0,
}


def emulator(**settings: Any) -> EmulatorServer:
    """Make an emulator whose jobs take 0.3 s; not started yet."""
    return EmulatorServer(Settings(**(QUICK | settings)))


def connection_json(url: str, *, password: str = "piktid-emulator", **extra: Any) -> str:
    """Describe a connection as ``AIRFLOW_CONN_*`` wants it."""
    return json.dumps({"conn_type": "piktid", "host": url, "password": password, "extra": extra})


def picture(path: Path, *, size: tuple[int, int] = (64, 48), color: str = "orange") -> Path:
    """Write a small real picture; the name decides its format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)
    return path
