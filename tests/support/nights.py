# SPDX-License-Identifier: Apache-2.0
"""
A night of a refresh, or a try of a person task, in a process of its own, which can end at any step.

A step is the moment before or after an HTTP request, and before or after a file gets its content: whatever a crash can
separate. ``os._exit`` leaves no chance to tidy up.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

#: Exit code of a process that ended at its step.
ENDED = 9


@dataclass(frozen=True)
class Kind:
    """
    A type of job in a refresh of four sources, each with one output.

    :param operator: Module and name of the operator.
    :param request: First part of the path of its paid request.
    :param sources_of_a_job: With two images in a job at most.
    """

    operator: str
    request: str
    sources_of_a_job: int
    arguments: dict[str, Any] = field(default_factory=dict)
    group_by: str | None = None

    def files(self) -> list[str]:
        """Return the names of the files, each with another content."""
        return [
            f"{name}/{n}.jpg" if self.group_by else f"{name}.jpg"
            for name in "abcd"
            for n in range(self.images)
        ]

    @property
    def images(self) -> int:
        """Images of a source."""
        return 2 if self.group_by else 1


KINDS = {
    "swap": Kind("model_swap.PiktidModelSwapOperator", "model-swap", 2),
    "recolor": Kind(
        "recolor.PiktidGarmentRecolorOperator",
        "garment-recolor",
        2,
        {"reference_text": "navy", "post_process": False},
    ),
    "packshot": Kind(
        "packshot.PiktidPackshotOperator", "create-packshot", 1, {"instructions": [{"style": "free"}]}
    ),
    "looks": Kind("flat_to_model.PiktidFlatToModelOperator", "flat-2-model", 1, {}, "folder"),
}


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
            what = f"{request.method} {request.url.path.removeprefix('/api').split('/')[1]}"
            self.reach(f"before {what}")
            response = await send(client, request, **options)
            self.reach(f"after {what}")
            return response

        vars(httpx)["AsyncClient"].send = counted_send
        self.around(storage, "write_bytes")
        self.around(storage, "copy_file")
        self.around(receive, "_rename")
        self.around(receive, "_link")

    def around(self, module: Any, name: str) -> None:
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
        return Path(place.path).name if place is not None else "state"


def run_night(
    connection: str,
    source: str,
    output: str,
    number: int,
    log: str,
    end_at: int | None,
    swap: dict[str, Any],
    plan: dict[str, Any],
    kept: str | None = None,
    kind: str = "swap",
) -> None:
    """
    Run one night; called in the new process.

    :param number: Which night: the DAG run's id is made from it.
    :param log: Where the names of the steps up to the end are written.
    :param end_at: Index of the step at which the process ends.
    :param swap: More arguments of the swap.
    :param plan: More arguments of the plan.
    :param kept: File with the XCom of the tasks that have ended: they are not run again. Default: none.
    :param kind: Which of :data:`KINDS`.
    """
    from tests.support.refresh import KeptNights, Nights

    chosen = KINDS[kind]
    module, _, name = chosen.operator.partition(".")
    operator = getattr(import_module(f"airflow_provider_piktid.operators.{module}"), name)
    fixed: dict[str, Any] = {
        "images_per_batch": 2,
        "operator": operator,
        "options": chosen.arguments | swap,
        "group_by": chosen.group_by,
    }
    os.environ["AIRFLOW_CONN_PIKTID_DEFAULT"] = connection
    steps = Steps(Path(log), end_at)
    nights = Nights(source, output, **fixed, **plan)
    if kept:
        nights = KeptNights(source, output, **fixed, **plan)
        nights.kept = Path(kept)
    nights.count = number - 1
    with (
        Path(os.devnull).open("w") as quiet,
        contextlib.redirect_stdout(quiet),
        contextlib.redirect_stderr(quiet),
    ):
        steps.arm()
        nights.run(swap=swap)
    steps.write()


@dataclass(frozen=True)
class PersonTry:
    """
    One try of a person task.

    :param store: File of the task state store; None: there is none.
    """

    connection: str
    folder: str
    number: int
    store: str | None
    arguments: dict[str, Any]


def run_person_try(wanted: PersonTry, log: str, end_at: int | None) -> None:
    """
    Run one try; called in the new process. Its rows, or its error, are written beside ``log``.

    :param log: Where the names of the steps up to the end are written.
    :param end_at: Index of the step at which the process ends.
    """
    from tests.support.person import person_run
    from tests.support.processes import FileStateStore

    os.environ["AIRFLOW_CONN_PIKTID_DEFAULT"] = wanted.connection
    steps = Steps(Path(log), end_at)
    run = person_run(Path(wanted.folder), **wanted.arguments)
    run.ti.try_number = wanted.number - 1
    store: Any = FileStateStore(Path(wanted.store)) if wanted.store else None
    run.store = store
    with (
        Path(os.devnull).open("w") as quiet,
        contextlib.redirect_stdout(quiet),
        contextlib.redirect_stderr(quiet),
    ):
        steps.arm()
        steps.around(FileStateStore, "set")
        try:
            outcome = {"rows": run.run()}
        except Exception as error:  # noqa: BLE001 - reported to the parent
            outcome = {"error": f"{type(error.__cause__ or error).__name__}: {error}"}
    Path(log).with_suffix(".outcome").write_text(json.dumps(outcome))
    steps.write()
