# SPDX-License-Identifier: Apache-2.0
"""A person task: an image, an operator, and the generations that the emulator counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.operators.generate_person import PiktidGeneratePersonOperator
from tests.support.service import picture
from tests.support.tasks import TaskRun

#: Two faces in each image, and generations a hundred times shorter than PiktID's.
QUICK_PERSONS: dict[str, Any] = {"faces": 2, "generate_seconds": 0.15, "mask_seconds": 0.05}


def account_json(url: str, *, v1_poll_interval: float = 0.05, **more: Any) -> str:
    """Return a connection with a login as JSON for ``AIRFLOW_CONN_*``; notifications are polled quickly."""
    login = {"login": "demo@example.com", "password": "piktid-emulator"}
    extra = {"v1_poll_interval": v1_poll_interval}
    return json.dumps({"conn_type": "piktid", "host": url, "extra": extra, **login, **more})


def person_run(folder: Path, **arguments: Any) -> TaskRun:
    """Return a task instance that generates persons in an image below ``folder``."""
    image = folder / "in" / "street.jpg"
    if not image.exists():
        picture(image)
    fixed = {
        "task_id": "generate",
        "image": None if "id_image" in arguments else str(image),
        "keywords": ["Oceania", "Africa"],
        "output_path": str(folder / "out"),
        "stagger": 0.2,
        "timeout": 20.0,
        "deferrable": True,
        "lost_reply_grace": 2.0,
    }
    return TaskRun(lambda: PiktidGeneratePersonOperator(**(fixed | arguments)))


def bought(server: EmulatorServer) -> list[tuple[int, str]]:
    """Person and keyword of every paid generation, in order."""
    return [(row["id_person"], *row["keyword"].values()) for row in server.state.generations()]
