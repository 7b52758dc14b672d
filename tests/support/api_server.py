# SPDX-License-Identifier: Apache-2.0
"""The application of Airflow's API server, in this process."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@contextlib.contextmanager
def api_application(folder: Path, user: str, role: str, password: str) -> Iterator[Any]:
    """Yield the application with one user of Airflow's simple authentication; ``folder`` is for its password."""
    from airflow.api_fastapi.app import create_app, purge_cached_app

    passwords = folder / "passwords.json"
    passwords.write_text(json.dumps({user: password}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", f"{user}:{role}")
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(passwords))
        purge_cached_app()
        yield create_app(apps="core")
        purge_cached_app()
