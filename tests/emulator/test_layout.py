# SPDX-License-Identifier: Apache-2.0
"""The imports between modules of the emulator have no cycle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from airflow_provider_piktid import emulator

PACKAGE = Path(emulator.__file__).parent


def _modules() -> dict[str, Path]:
    """Return the modules of the emulator by dotted name; ``__init__`` has the name of its package."""
    paths = {path.relative_to(PACKAGE).with_suffix("").parts: path for path in PACKAGE.rglob("*.py")}
    return {".".join(parts[:-1] if parts[-1] == "__init__" else parts): path for parts, path in paths.items()}


def _imported(name: str, tree: ast.AST, *, is_package: bool) -> Iterator[tuple[str, str]]:
    """Yield module and name of each import, wherever in the file it is."""
    package = [emulator.__name__, *name.split(".")] if name else [emulator.__name__]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + is_package - node.level] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((origin, alias.name) for alias in node.names)


def _needs(name: str, source: str, known: set[str], *, is_package: bool = False) -> set[str]:
    """Return the modules of the emulator that a file imports."""
    found = set()
    for origin, part in _imported(name, ast.parse(source), is_package=is_package):
        if origin != emulator.__name__ and not origin.startswith(f"{emulator.__name__}."):
            continue
        module = origin.removeprefix(emulator.__name__).removeprefix(".")
        inner = f"{module}.{part}".strip(".")
        found.add(inner if inner in known else module)
    return found - {name}


def _graph() -> dict[str, set[str]]:
    modules = _modules()
    return {
        name: _needs(name, path.read_text(), set(modules), is_package=path.stem == "__init__")
        for name, path in modules.items()
    }


def _cycle(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules of one cycle, or an empty list."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_kind_of_import_is_seen() -> None:
    """Relative and absolute imports count, and late ones and those under TYPE_CHECKING too."""
    source = (
        "from ..clock import iso\n"
        "from . import jobs\n"
        "import airflow_provider_piktid.emulator.faces\n"
        "from airflow_provider_piktid.emulator.v1 import pictures\n"
        "if TYPE_CHECKING:\n    from ..state import State\n"
        "def late():\n    from ..app import create_app\n"
    )
    known = {"app", "clock", "faces", "state", "v1", "v1.pictures", "v2", "v2.jobs", "v2.store"}
    expected = {"app", "clock", "faces", "state", "v1.pictures", "v2.jobs"}
    assert _needs("v2.store", source, known) == expected


def test_cycle_is_found() -> None:
    """Modules that import each other are reported."""
    assert set(_cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}


def test_every_module_is_walked() -> None:
    """The walk reaches the packages inside the emulator, and finds imports in them."""
    graph = _graph()
    assert {"", "app", "state", "v1.routes", "v2.routes"} <= set(graph)
    assert "v2.routes" in graph["app"]


def test_modules_do_not_import_each_other_in_a_cycle() -> None:
    """Each module imports only from below, late imports and those for type checking included."""
    assert _cycle(_graph()) == []
