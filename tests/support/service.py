# SPDX-License-Identifier: Apache-2.0
"""An emulator with short jobs, the connection to it, and images."""

from __future__ import annotations

import json
import os
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
    """Return an emulator whose jobs take 0.3 s; it is not started."""
    return EmulatorServer(Settings(**(QUICK | settings)))


def connection_json(url: str, *, password: str = "piktid-emulator", **extra: Any) -> str:
    """Return a connection as JSON for ``AIRFLOW_CONN_*``."""
    return json.dumps({"conn_type": "piktid", "host": url, "password": password, "extra": extra})


def picture(path: Path, *, size: tuple[int, int] = (64, 48), color: str = "orange") -> Path:
    """Write a small valid image; the file extension selects its format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)
    return path


def pictures(folder: Path, *names: str) -> Path:
    """Write small images of different content, each a second newer than the one before; return the folder."""
    for number, name in enumerate(names):
        path = picture(folder / name, color=f"rgb({60 * number}, 90, 90)")
        os.utime(path, (1000 + number, 1000 + number))
    return folder
