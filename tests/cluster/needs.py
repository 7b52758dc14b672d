# SPDX-License-Identifier: Apache-2.0
"""What the cluster needs on this machine, and how to install what is missing."""

from __future__ import annotations

import shutil
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

#: Debian and Ubuntu keep the server's programs out of ``PATH``, in a folder for each version.
DEBIAN_POSTGRES = Path("/usr/lib/postgresql")
EXTRA = "pip install -e '.[cluster]'"


def postgres_program(name: str) -> Path | None:
    """Return the path of one of Postgres' programs, of the newest version; None if there is none."""
    versions = sorted(DEBIAN_POSTGRES.glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    found = shutil.which(name)
    return versions[-1] if versions else Path(found) if found else None


def missing() -> list[str]:
    """Return a sentence for each part that is missing, with the command that installs it."""
    programs = [
        (postgres_program("initdb"), "Postgres is missing: apt-get install postgresql"),
        (shutil.which("redis-server"), "Redis is missing: apt-get install redis-server"),
        (shutil.which("setpriv"), "setpriv is missing: apt-get install util-linux"),
    ]
    modules = ("airflow.providers.celery", "airflow.providers.postgres", "psycopg2", "redis")
    absent = [name for name in modules if not _has(name)]
    told = [sentence for path, sentence in programs if not path]
    if absent:
        told.append(f"Python packages are missing ({', '.join(absent)}): {EXTRA}")
    return told + _unsuitable()


def _unsuitable() -> list[str]:
    """Return what is installed in a version that does not work."""
    told = []
    if _version("apache-airflow") < (3,):
        told.append("the cluster needs Airflow 3: pip install 'apache-airflow>=3.3'")
    if _version("celery") >= (5, 7):
        told.append(f"Airflow's worker does not start with celery 5.7: {EXTRA}")
    return told


def _has(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _version(distribution: str) -> tuple[int, ...]:
    try:
        text = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ()
    return tuple(int(part) for part in text.split(".")[:2])
