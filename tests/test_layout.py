# SPDX-License-Identifier: Apache-2.0
"""Imports point down: the ranked rooms of docs/architecture.md, held against every import of the package."""

from __future__ import annotations

import ast
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

import airflow_provider_piktid

NAME = "airflow_provider_piktid"
PACKAGE = Path(airflow_provider_piktid.__file__).parent

#: The rooms of the package, lowest first. A room may import the rooms before it, and itself.
ROOMS = (
    "__init__",
    "exceptions",
    "retries",
    "get_provider_info",
    "models",
    "client",
    "files",
    "common",
    "hooks",
    "links",
    "jobs",
    "person",
    "refresh",
    "triggers",
    "assets",
    "operators",
    "sensors",
    "task_groups",
    "webhook",
    "plugins",
    "probe",
    "cli",
    "__main__",
    "demo",
)

#: Rooms outside of this order, and what they may import of the package; no room of the order imports them. So no code
#: is shared between the client and the emulator, and neither can agree with itself in a wrong field name.
APART: dict[str, tuple[str, ...]] = {"emulator": (), "testing": ("emulator",)}

#: Libraries that a room must not import at all, also not inside a function.
WITHOUT = {
    "exceptions": ("airflow", "httpx", "pydantic"),
    "get_provider_info": ("airflow", "httpx", "pydantic"),
    "models": ("airflow", "httpx"),
    "client": ("airflow",),
    "probe": ("airflow",),
    "emulator": ("airflow",),
    "operators": ("httpx",),
    "sensors": ("httpx",),
    "task_groups": ("httpx",),
}

#: Pure modules: no Airflow, no HTTP, no event loop, so that a table can test them.
PURE = (
    "client/_build",
    "client/_parse",
    "client/_retry",
    "files/formats",
    "files/listing",
    "files/names",
    "jobs/ended",
    "jobs/manifest",
    "jobs/submission",
    "person/attribution",
    "person/matching",
    "person/record",
    "refresh/catalogue",
    "refresh/naming",
    "refresh/presence",
    "webhook/delivery",
)

#: Rooms that a DAG file imports: the client's libraries are imported inside functions only.
LIGHT = (
    "files/",
    "common/",
    "hooks/",
    "links",
    "jobs/",
    "person/",
    "refresh/",
    "triggers/",
    "assets",
    "operators/",
    "sensors/",
    "task_groups/",
)


@dataclass(frozen=True)
class Import:
    """One imported module or name as a dotted name; ``late`` if it is inside a function, ``typing`` if never run."""

    module: str
    late: bool
    typing: bool
    line: int


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).with_suffix("").as_posix(), path


def _imports(source: str, module: str) -> Iterator[Import]:
    package = [NAME, *module.split("/")[:-1]]
    yield from _walk(ast.parse(source), package, late=False, typing=False)


def _walk(node: ast.AST, package: list[str], *, late: bool, typing: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, late, typing, child.lineno) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            above = package[: len(package) - child.level + 1] if child.level else []
            origin = ".".join([*above, *([child.module] if child.module else [])])
            yield from (Import(f"{origin}.{alias.name}", late, typing, child.lineno) for alias in child.names)
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        checking = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        yield from _walk(child, package, late=late or inside, typing=typing or checking)


def _room(module: str) -> str:
    return module.split("/")[0]


def _parts(imported: str) -> list[str] | None:
    """Return the path below the package that an import names, None if it is of another package."""
    if imported == NAME:
        return []
    return imported.removeprefix(f"{NAME}.").split(".") if imported.startswith(f"{NAME}.") else None


def _is_upward(module: str, imported: str) -> bool:
    """Whether a module of the package imports a room above its own, or one that it must not share code with."""
    parts = _parts(imported)
    own = _room(module)
    if not parts or parts[0] == own or parts == ["__version__"]:
        return parts == [] and own not in ("demo", *APART)
    if own in APART or parts[0] in APART:
        return parts[0] not in APART.get(own, ())
    return ROOMS.index(parts[0]) > ROOMS.index(own)


def _is_private(module: str, imported: str) -> bool:
    """Whether a module imports an underscore module, or name, of another room."""
    parts = _parts(imported)
    if not parts or parts[0] == _room(module) or parts == ["__version__"]:
        return False
    return any(part.startswith("_") for part in parts[1:])


@functools.cache
def _all_imports() -> tuple[tuple[str, Import], ...]:
    return tuple(
        (module, entry) for module, path in _modules() for entry in _imports(path.read_text(), module)
    )


#: Upward imports that an earlier list of forbidden imports let pass, in today's places, and other ways to write one.
UPWARD = [
    ("client/_http", f"from {NAME}.jobs.submission import Submission"),
    ("hooks/piktid", f"from {NAME}.operators.base import fail_fast_if_permanent"),
    ("models/v2", f"from {NAME}.hooks.piktid import PiktidHook"),
    ("triggers/job", f"from {NAME}.operators.base import framework_timeout"),
    ("common/records", f"from {NAME}.operators.base import PaidJobOperator"),
    ("files/storage", f"from {NAME}.refresh.store import CatalogueStore"),
    ("files/formats", f"from {NAME}.operators.upload import PiktidUploadImagesOperator"),
    ("jobs/waiting", f"import {NAME}.triggers.job"),
    ("jobs/waiting", f"from {NAME} import triggers"),
    ("jobs/waiting", "from ..triggers import job"),
    ("emulator/state", "from ..models import v2"),
    ("demo/__main__", f"from {NAME}.emulator import Settings"),
    ("testing/plugin", f"from {NAME}.client import PiktidClient"),
    ("emulator/state", f"from {NAME}.testing.service import QUICK"),
    ("operators/base", f"from {NAME}.testing import plugin"),
]

FORMS = {
    "at the top": "{}",
    "inside a function": "def function():\n    {}",
    "for type checkers": "if TYPE_CHECKING:\n    {}",
    "inside a class": "class Thing:\n    def method(self):\n        if self:\n            {}",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(("module", "line"), UPWARD, ids=[f"{m} <- {line[-30:]}" for m, line in UPWARD])
def test_upward_import_is_found(module: str, line: str, form: str) -> None:
    """An import of a higher room is found wherever it is written in the file."""
    (entry,) = _imports(form.format(line), module)
    assert _is_upward(module, entry.module)


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        pytest.param("operators/upload", f"{NAME}.client.PiktidClient", id="lower room"),
        pytest.param("jobs/submission", f"{NAME}.jobs.watch.JobWatcher", id="own room"),
        pytest.param("emulator/state", f"{NAME}.emulator.clock.Clock", id="own room, apart"),
        pytest.param("testing/service", f"{NAME}.emulator.Settings", id="test kit and emulator"),
        pytest.param("client/_http", f"{NAME}.__version__", id="version"),
        pytest.param("models/v2", "operators.something", id="other package named like a room"),
        pytest.param("models/v2", "airflow_provider_piktid_more.thing", id="package that begins alike"),
    ],
)
def test_downward_import_is_allowed(module: str, imported: str) -> None:
    """The rule does not refuse what it should allow."""
    assert not _is_upward(module, imported)


@pytest.mark.parametrize(
    ("imported", "private"),
    [
        pytest.param(f"{NAME}.client._http", True, id="module"),
        pytest.param(f"{NAME}.client._http.HttpSession", True, id="name in a private module"),
        pytest.param(f"{NAME}.jobs.watch._shown", True, id="private name"),
        pytest.param(f"{NAME}.client.PiktidClient", False, id="public name"),
        pytest.param(f"{NAME}.operators.base", False, id="own room"),
    ],
)
def test_private_import_is_told_apart(imported: str, private: bool) -> None:
    """An underscore name belongs to the room in which it stands."""
    assert _is_private("operators/model_swap", imported) is private


def test_imports_point_down() -> None:
    """No module imports a room above its own: not at the top, not inside a function, not for type checkers."""
    assert [
        f"{module}.py:{entry.line} imports {entry.module}"
        for module, entry in _all_imports()
        if _is_upward(module, entry.module)
    ] == []


def test_rooms_keep_their_private_names() -> None:
    """No module imports an underscore module or name of another room."""
    assert [
        f"{module}.py:{entry.line} imports {entry.module}"
        for module, entry in _all_imports()
        if _is_private(module, entry.module)
    ] == []


def test_every_room_is_ranked() -> None:
    """A new folder or module at the root needs a place in the order."""
    found = {_room(module) for module, _ in _modules()}
    assert found == {*ROOMS, *APART}


def test_modules_import_each_other_in_one_direction() -> None:
    """No two modules of a room need each other, directly or by way of others."""
    edges: dict[str, set[str]] = {module: set() for module, _ in _modules()}
    for module, entry in _all_imports():
        parts = _parts(entry.module)
        for end in range(len(parts or []), 0, -1):
            target = "/".join((parts or [])[:end])
            found = next((name for name in (target, f"{target}/__init__") if name in edges), None)
            if found and found != module:
                edges[module].add(found)
                break
    while leaves := [module for module, targets in edges.items() if not targets & edges.keys()]:
        for leaf in leaves:
            del edges[leaf]
    assert edges == {}


@pytest.mark.parametrize("room", WITHOUT)
def test_room_does_without_library(room: str) -> None:
    """Rooms that are used without Airflow, or by every DAG file, do not import what they have no use for."""
    assert [
        f"{module}.py:{entry.line} imports {entry.module}"
        for module, entry in _all_imports()
        if _room(module) == room and entry.module.split(".")[0] in WITHOUT[room]
    ] == []


@pytest.mark.parametrize("name", PURE)
def test_pure_module_has_no_input_or_output(name: str) -> None:
    """What decides without I/O imports none of the libraries that do I/O."""
    assert (PACKAGE / f"{name}.py").is_file()
    assert [
        entry.module
        for module, entry in _all_imports()
        if module == name
        and entry.module.split(".")[0] in ("airflow", "asyncio", "httpx", "socket", "fsspec")
    ] == []


@pytest.mark.parametrize("library", ["httpx", "pydantic", "httpx_sse", "PIL"])
def test_heavy_library_is_imported_late(library: str) -> None:
    """A DAG file does not pay for the client: its libraries are imported inside functions."""
    assert [
        f"{module}.py:{entry.line}"
        for module, entry in _all_imports()
        if module.startswith(LIGHT)
        and not (entry.late or entry.typing)
        and entry.module.split(".")[0] == library
    ] == []


def test_operators_do_not_import_each_other() -> None:
    """One file per operator: what operators share is in ``operators/base.py`` or in a lower room."""
    assert [
        f"{module}.py:{entry.line} imports {entry.module}"
        for module, entry in _all_imports()
        if module.startswith("operators/")
        and entry.module.startswith(f"{NAME}.operators.")
        and not entry.module.startswith(f"{NAME}.operators.base.")
    ] == []


def test_importing_operators_imports_no_client() -> None:
    """Importing every operator and sensor loads no module of the client, the models or the emulator."""
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


def test_architecture_shows_the_same_order(repository: Path) -> None:
    """The table of docs/architecture.md has one row for each room, in the order of this file."""
    page = (repository / "docs" / "architecture.md").read_text()
    rows = [line.split("|")[1].strip().strip("`") for line in page.splitlines() if line.startswith("| `")]
    ranked = [row.removesuffix(".py").rstrip("/") for row in rows]
    assert ranked == [*ROOMS, *APART]


def test_root_stays_small() -> None:
    """At most eight files stand at the root of the package."""
    assert len([path for path in PACKAGE.iterdir() if path.is_file()]) <= 8


def test_files_stay_small() -> None:
    """No file of the package is longer than 400 lines."""
    counts = {module: len(path.read_text().splitlines()) for module, path in _modules()}
    assert {module: count for module, count in counts.items() if count > 400} == {}


@functools.cache
def _functions() -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return all functions of the package by their places."""
    return {
        f"{module}.py:{node.lineno} {node.name}": node
        for module, path in _modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_functions_stay_small() -> None:
    """Half of all functions have at most 8 lines and 95 % at most 25, signature and docstring included."""
    lengths = sorted((node.end_lineno or 0) - node.lineno + 1 for node in _functions().values())
    assert (lengths[len(lengths) // 2], lengths[len(lengths) * 95 // 100]) <= (8, 25)


def test_no_function_is_long() -> None:
    """No function of the package is longer than 40 lines, signature and docstring left out."""
    found = []
    for place, node in _functions().items():
        body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
        if (node.end_lineno or 0) - body[0].lineno + 1 > 40:
            found.append(place)
    assert found == []


def test_rooms_have_one_order() -> None:
    """The ranks are a plain order: no room is named twice."""
    assert all(first != second for first, second in pairwise(sorted(ROOMS)))
