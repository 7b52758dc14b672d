# SPDX-License-Identifier: Apache-2.0
"""Dependencies point down: the rooms of docs/architecture.md and what each must not import."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import airflow_provider_piktid

NAME = "airflow_provider_piktid"
PACKAGE = Path(airflow_provider_piktid.__file__).parent

OPERATORS = ("operators", "sensors")
#: Room, as a path prefix below the package, and the modules that its files must not import at all.
#: A name without a dot that is a room of the package means that room; any other is a top-level module.
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "__init__": ("*",),
    "get_provider_info": ("airflow", "*rooms"),
    "exceptions": ("airflow", "httpx", "pydantic", "*rooms"),
    "models/": ("airflow", "httpx", "client"),
    "client/_build": ("airflow", "asyncio", "socket"),
    "client/_parse": ("airflow", "asyncio", "socket"),
    "client/_retry": ("airflow", "asyncio", "socket"),
    "client/_urls": ("airflow", "asyncio", "socket"),
    "client/": ("airflow", "hooks", "emulator", "operators", "sensors", "triggers"),
    "events": (*OPERATORS, "triggers"),
    "records": (*OPERATORS, "triggers", "client"),
    "submission": ("airflow", "httpx", *OPERATORS, "triggers", "hooks", "client"),
    "generations": ("airflow", "httpx", *OPERATORS, "triggers", "hooks", "client"),
    "regenerations": ("airflow", "httpx", *OPERATORS, "triggers", "hooks", "client"),
    "media": ("airflow", "client"),
    "storage": ("client", "operators"),
    "landing": ("client", "operators"),
    "manifest": ("client", "operators"),
    "listing": ("airflow", "httpx", *OPERATORS, "client"),
    "catalogue": ("airflow", "httpx", *OPERATORS, "triggers", "hooks", "client"),
    "catalogue_store": (*OPERATORS, "triggers", "hooks", "client"),
    "contact_sheet": (*OPERATORS, "triggers", "hooks", "client"),
    "lineage": (*OPERATORS, "triggers", "hooks", "client"),
    "hooks/": ("triggers", "operators", "sensors"),
    "triggers/": (*OPERATORS, "client._sync"),
    "operators/": ("httpx", "sensors"),
    "tasks/": ("operators", "sensors"),
    "sensors/": ("httpx", "operators"),
    "task_groups/": ("httpx", "client"),
    "plugins/": ("client",),
    "links": ("client",),
    "emulator/": ("airflow", "*rooms"),
}

#: Rooms whose modules a DAG file imports: httpx and pydantic may be imported inside functions only.
LATE = (
    "operators/",
    "sensors/",
    "triggers/",
    "tasks/",
    "hooks/",
    "events",
    "records",
    "generations",
    "regenerations",
    "media",
    "storage",
    "landing",
    "manifest",
    "listing",
    "catalogue",
    "catalogue_store",
    "contact_sheet",
    "lineage",
    "task_groups/",
    "links",
)

#: Private helpers shared by the operators; each public operator module stands alone.
SHARED_PREFIX = "operators._"


@dataclass(frozen=True)
class Import:
    """One imported module as a dotted name, with `late` set where it happens inside a function."""

    module: str
    late: bool
    line: int


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).with_suffix("").as_posix(), path


def _imports(path: Path) -> Iterator[Import]:
    package = [NAME, *path.relative_to(PACKAGE).parent.parts]
    yield from _walk(ast.parse(path.read_text()), package, late=False)


def _walk(node: ast.AST, package: list[str], *, late: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, late, child.lineno) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            above = package[: len(package) - child.level + 1] if child.level else []
            origin = ".".join([*above, *([child.module] if child.module else [])])
            yield from (Import(f"{origin}.{alias.name}", late, child.lineno) for alias in child.names)
        yield from _walk(
            child, package, late=late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        )


def _rooms() -> set[str]:
    return {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()} - {"__init__"}


def _is_forbidden(module: str, name: str, room: str) -> bool:
    inside = module.removeprefix(f"{NAME}.") if module.startswith(f"{NAME}.") else None
    if name == "*":
        return module != "__future__.annotations"
    if name == "*rooms":
        own = room.rstrip("/")
        allowed = ("__version__", own)
        return inside is not None and inside.split(".")[0] not in allowed
    if name.split(".")[0] in _rooms():
        return inside is not None and (inside == name or inside.startswith(f"{name}."))
    return inside is None and (module == name or module.startswith(f"{name}."))


def _is_in(module: str, room: str) -> bool:
    return module.startswith(room) if room.endswith("/") else module in (room, f"{room}/__init__")


def _violations(room: str, names: tuple[str, ...]) -> list[str]:
    found = []
    for module, path in _modules():
        if not _is_in(module, room):
            continue
        found += [
            f"{module}.py:{entry.line} imports {entry.module}"
            for entry in _imports(path)
            if any(_is_forbidden(entry.module, name, room) for name in names)
        ]
    return found


@pytest.mark.parametrize(
    ("module", "name", "forbidden"),
    [
        pytest.param("airflow.sdk.BaseOperator", "airflow", True, id="library"),
        pytest.param(
            "airflow_provider_piktid.events.JobEvent", "airflow", False, id="name that begins alike"
        ),
        pytest.param(f"{NAME}.client.PiktidClient", "client", True, id="room"),
        pytest.param(f"{NAME}.client._sync.PiktidClient", "client._sync", True, id="part of a room"),
        pytest.param(f"{NAME}.client._async.AsyncPiktidClient", "client._sync", False, id="other part"),
        pytest.param("client.something", "client", False, id="foreign module named as a room"),
        pytest.param(f"{NAME}.models.v2.Job", "*rooms", True, id="any other room"),
        pytest.param(f"{NAME}.emulator.state.State", "*rooms", False, id="own room"),
        pytest.param(f"{NAME}.__version__", "*rooms", False, id="the version"),
        pytest.param("json", "*", True, id="anything"),
    ],
)
def test_rule_tells_forbidden_from_allowed(module: str, name: str, forbidden: bool) -> None:
    """The rules of this file see what they are meant to see."""
    assert _is_forbidden(module, name, "emulator/") is forbidden


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_ruled_room_exists(room: str) -> None:
    """A rule for a room that was renamed away would hold nothing."""
    assert [module for module, _ in _modules() if _is_in(module, room)]


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_room_imports_nothing_from_above(room: str) -> None:
    """No file of the room imports what the table of the architecture forbids it."""
    assert _violations(room, FORBIDDEN[room]) == []


def test_operators_do_not_import_each_other() -> None:
    """One file per thing: what operators share stands in a private module."""
    found = [
        f"{module}.py:{entry.line} imports {entry.module}"
        for module, path in _modules()
        if module.startswith("operators/")
        for entry in _imports(path)
        if entry.module.startswith(f"{NAME}.operators.")
        and not entry.module.startswith(f"{NAME}.{SHARED_PREFIX}")
    ]
    assert found == []


@pytest.mark.parametrize("library", ["httpx", "pydantic", "httpx_sse"])
def test_heavy_library_is_imported_late(library: str) -> None:
    """A DAG file does not pay for the client: its libraries are imported inside functions."""
    found = [
        f"{module}.py:{entry.line}"
        for module, path in _modules()
        if module.startswith(LATE)
        for entry in _imports(path)
        if not entry.late and entry.module.split(".")[0] == library
    ]
    assert found == []


def test_importing_operators_imports_no_client() -> None:
    """What the files promise holds at run time too: no module of the client or the models is loaded."""
    names = [
        f"{NAME}.{m.replace('/', '.')}" for m, _ in _modules() if m.startswith(("operators/", "sensors/"))
    ]
    code = (
        f"import importlib, sys; [importlib.import_module(n.removesuffix('.__init__')) for n in {names}];"
        f"rooms = tuple('{NAME}.' + room for room in ('client', 'models', 'emulator'));"
        "print([m for m in sys.modules if m.startswith(rooms)])"
    )
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (result.returncode, result.stdout.strip().splitlines()[-1:]) == (0, ["[]"]), result.stderr


def test_every_room_has_a_rule_or_a_reason() -> None:
    """A new room needs a row in the table here and in docs/architecture.md."""
    ruled = {room.split("/")[0] for room in FORBIDDEN}
    assert _rooms() - ruled - {"demo", "__pycache__", "py"} == set()


def test_every_rule_stands_in_the_architecture(repository: Path) -> None:
    """The page names each room that this table knows."""
    page = (repository / "docs" / "architecture.md").read_text()
    rooms = {room.split("/")[-1] or room.rstrip("/").split("/")[-1] for room in FORBIDDEN}
    assert {room for room in rooms if room not in page} == set()


def test_files_stay_small() -> None:
    """No file of the package reaches 400 lines."""
    long = {
        module: count for module, path in _modules() if (count := len(path.read_text().splitlines())) >= 400
    }
    assert long == {}


def test_functions_stay_small() -> None:
    """No function of the package is longer than 40 lines, signature and docstring left out."""
    found = []
    for module, path in _modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
                if (node.end_lineno or 0) - body[0].lineno + 1 > 40:
                    found.append(f"{module}.py:{node.lineno} {node.name}")
    assert found == []
