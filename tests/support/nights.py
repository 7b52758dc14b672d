# SPDX-License-Identifier: Apache-2.0
"""
A night of a refresh in a process of its own, which can end at any step.

A step is the moment before or after an HTTP request, and before or after a file gets its content: whatever a crash can
separate. ``os._exit`` leaves no chance to tidy up.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Exit code of a process that ended at its step.
ENDED = 9


@dataclass
class Steps:
    """Counts steps; ends the process at one of them."""

    log: Path
    end_at: int | None
    names: list[str] = field(default_factory=list)

    def reach(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) - 1 == self.end_at:
            self.write()
            os._exit(ENDED)

    def write(self) -> None:
        self.log.write_text(json.dumps(self.names))

    def arm(self) -> None:
        """Put steps around all requests and all writes of this process. Nothing is put back: it ends with the night."""
        import httpx

        from airflow_provider_piktid.files import receive, storage

        send = httpx.AsyncClient.send

        async def counted_send(client: httpx.AsyncClient, request: httpx.Request, **options: Any) -> Any:
            what = f"{request.method} {request.url.path.split('/')[1]}"
            self.reach(f"before {what}")
            response = await send(client, request, **options)
            self.reach(f"after {what}")
            return response

        vars(httpx)["AsyncClient"].send = counted_send
        self._around(storage, "write_bytes")
        self._around(storage, "copy_file")
        self._around(receive, "_rename")

    def _around(self, module: Any, name: str) -> None:
        original: Callable[..., Any] = getattr(module, name)

        def counted(*arguments: Any) -> Any:
            what = f"{name} {self._target(arguments)}"
            self.reach(f"before {what}")
            result = original(*arguments)
            self.reach(f"after {what}")
            return result

        setattr(module, name, counted)

    @staticmethod
    def _target(arguments: tuple[Any, ...]) -> str:
        place = next((item for item in arguments if hasattr(item, "path")), None)
        return Path(place.path if place is not None else str(arguments[-1])).name


def run_night(
    connection: str,
    source: str,
    output: str,
    number: int,
    log: str,
    end_at: int | None,
    swap: dict[str, Any],
    plan: dict[str, Any],
) -> None:
    """
    Run one night; called in the new process.

    :param number: Which night: the DAG run's id is made from it.
    :param log: Where the names of the steps up to the end are written.
    :param end_at: Index of the step at which the process ends.
    :param swap: More arguments of the swap.
    :param plan: More arguments of the plan.
    """
    from tests.support.refresh import Nights

    os.environ["AIRFLOW_CONN_PIKTID_DEFAULT"] = connection
    steps = Steps(Path(log), end_at)
    nights = Nights(source, output, images_per_batch=2, options=swap, **plan)
    nights.count = number - 1
    with (
        Path(os.devnull).open("w") as quiet,
        contextlib.redirect_stdout(quiet),
        contextlib.redirect_stderr(quiet),
    ):
        steps.arm()
        nights.run(swap=swap)
    steps.write()
