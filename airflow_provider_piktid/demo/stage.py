# SPDX-License-Identifier: Apache-2.0
"""What a demonstration needs around it: an emulator, an Airflow home of its own, photographs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

CONNECTION_VARIABLE = "AIRFLOW_CONN_PIKTID_DEFAULT"


class DemoError(Exception):
    """The demonstration cannot go on; the text says what to change."""


@contextlib.contextmanager
def service() -> Iterator[dict[str, str]]:
    """
    Give the environment of a connection: the user's own service if one is set, else a new emulator.

    The emulator ends with the context.
    """
    if os.environ.get(CONNECTION_VARIABLE):
        print(f"service:   the one in {CONNECTION_VARIABLE} (this costs credits)")
        yield {}
        return
    with emulator() as url:
        print(f"service:   emulator at {url} (open it in a browser while it runs)")
        connection = {"conn_type": "piktid", "host": url, "password": "piktid-emulator"}
        yield {CONNECTION_VARIABLE: json.dumps(connection)}


@contextlib.contextmanager
def emulator() -> Iterator[str]:
    """Start the emulator on a free port and give its base URL."""
    command = [sys.executable, "-m", "airflow_provider_piktid.emulator", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline().strip() if process.stdout else ""
        if not url.startswith("http"):
            raise DemoError("the emulator did not start; try `python -m airflow_provider_piktid.emulator`")
        yield url
    finally:
        end(process)


def example_dags() -> Path:
    """Return the folder of the example DAGs: inside the package of a wheel, at the top of a clone."""
    folder = Path(__file__).resolve().parent
    bundled = folder / "example_dags"
    return bundled if bundled.is_dir() else folder.parents[1] / "example_dags"


def airflow_environment(home: Path, dags: Path) -> dict[str, str]:
    """Return an environment in which Airflow loads only these DAGs and keeps its files in ``home``."""
    if not dags.is_dir():
        raise DemoError(f"DAG folder not found: {dags}. Name the folder of the example DAGs with --dags.")
    home.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")}
    return kept | {
        "AIRFLOW_HOME": str(home.resolve()),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags.resolve()),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        # A proxy of the machine must not be asked for addresses on the machine.
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "PYTHONUNBUFFERED": "1",
        # `airflow standalone` starts its parts by the command's name.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    }


def airflow(arguments: list[str], environment: dict[str, str], log: Path) -> None:
    """
    Run one Airflow command, its output going to the end of ``log``.

    :raises DemoError: It failed. The text is the task's own error where there is one.
    """
    with log.open("a") as file:
        command = [sys.executable, "-m", "airflow", *arguments]
        code = subprocess.run(
            command, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False
        ).returncode
    if code:
        reason = task_error(log)
        if reason is None:
            print_end(log)
        raise DemoError(
            f"{reason or f'`airflow {arguments[0]} {arguments[1]}` failed with code {code}'} (log: {log})"
        )


def task_error(log: Path) -> str | None:
    """Find the last error of this package that a log tells."""
    text = log.read_text(errors="replace")
    found = re.findall(r"^[\w.]*(?:AirflowFailException|Piktid\w+): (.+)$", text, re.MULTILINE)
    return found[-1] if found else None


def print_end(log: Path) -> None:
    """Print the last lines of a log."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    print("\n".join(["...", *lines[-25:]]), file=sys.stderr)


def end(process: subprocess.Popen[str]) -> None:
    """End a process that we started, politely, then not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def photographs(folder: Path) -> Path:
    """
    Make a small shoot of the photograph of a person that scikit-image ships.

    Two pictures share a name in different folders, as in real shoots.
    """
    from PIL import Image
    from skimage import data

    person = Image.fromarray(data.astronaut())
    crops = {
        "look-1/front.jpg": person,
        "look-1/detail.jpg": person.crop((100, 0, 400, 300)),
        "look-2/front.jpg": person.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    }
    for name, picture in crops.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, quality=92)
    return folder
