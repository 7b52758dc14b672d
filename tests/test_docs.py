# SPDX-License-Identifier: Apache-2.0
"""The documentation describes everything that is public, and its examples work."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_provider_piktid
from airflow_provider_piktid import exceptions
from airflow_provider_piktid.get_provider_info import CONN_FIELDS
from airflow_provider_piktid.jobs.manifest import Row
from airflow_provider_piktid.operators.base import JobOperator, PaidJobOperator, PaidOperator

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
PACKAGE = Path(airflow_provider_piktid.__file__).parent
MODULES = sorted(
    f"airflow_provider_piktid.{room}.{path.stem}"
    for room in ("hooks", "operators", "sensors", "triggers")
    for path in (PACKAGE / room).glob("*.py")
    if not path.stem.startswith("_")
)
ROOT_PAGES = [DOCS.parent / "README.md"]
PAID_PAGE = DOCS / "operators" / "paid.md"


def _prose(path: Path) -> str:
    """Return the text of a page without the parts that Sphinx generates."""
    return re.sub(r"```\{eval-rst\}.*?```", "", path.read_text(), flags=re.DOTALL)


def _classes(module: str) -> list[type]:
    loaded = importlib.import_module(module)
    return [
        value
        for name, value in vars(loaded).items()
        if inspect.isclass(value) and value.__module__ == module and not name.startswith("_")
    ]


def _parameters(cls: type) -> set[str]:
    """Return the parameters of the constructor, without those of Airflow's own classes."""
    found: set[str] = set()
    for base in cls.__mro__:
        if base.__module__.startswith("airflow_provider_piktid") and "__init__" in vars(base):
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            found |= {p.name for p in parameters if p.kind is not p.VAR_KEYWORD} - {"self"}
    return found


def _page_of(cls: type) -> Path:
    room, _, stem = cls.__module__.removeprefix("airflow_provider_piktid.").partition(".")
    return DOCS / ("sensor.md" if room == "sensors" else f"operators/{stem}.md")


def _undocumented(cls: type) -> list[str]:
    """Return the parameters that neither the page of the class nor, for shared ones, that of paid operators names."""
    bases = [base for base in (PaidOperator, JobOperator, PaidJobOperator) if issubclass(cls, base)]
    shared = set().union(*map(_parameters, bases))
    own, paid = _prose(_page_of(cls)), _prose(PAID_PAGE)
    return [
        name
        for name in sorted(_parameters(cls))
        if f"`{name}`" not in own and not (name in shared and f"`{name}`" in paid)
    ]


def _python_blocks() -> list[tuple[str, str]]:
    found = []
    # The page for contributors shows an interface, not an example.
    for page in [*(page for page in PAGES if page.name != "architecture.md"), *ROOT_PAGES]:
        for number, match in enumerate(
            re.finditer(r"^( *)```python\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL)
        ):
            indent = match[1]
            code = "\n".join(line.removeprefix(indent) for line in match[2].splitlines())
            found.append((f"{page.relative_to(DOCS.parent)}:{number}", code))
    return found


BLOCKS = _python_blocks()


@pytest.mark.parametrize("module", MODULES)
def test_public_class_is_documented(module: str) -> None:
    """Each public class of hooks, operators, sensors and triggers is named on a page."""
    text = "\n".join(page.read_text() for page in PAGES)
    assert [cls.__name__ for cls in _classes(module) if cls.__name__ not in text] == []


@pytest.mark.parametrize("module", [m for m in MODULES if ".operators." in m or ".sensors." in m])
def test_parameters_are_documented(module: str) -> None:
    """Each parameter of an operator or sensor is named in backticks on its page or on that of paid operators."""
    classes = [cls for cls in _classes(module) if cls.__name__.startswith("Piktid")]
    missing = {cls.__name__: _undocumented(cls) for cls in classes}
    assert {name: left for name, left in missing.items() if left} == {}


@pytest.mark.parametrize("base", [PaidOperator, JobOperator, PaidJobOperator])
def test_shared_parameters_are_defined_on_the_page_of_paid_operators(base: type) -> None:
    """Each parameter that paid operators share has an entry in a definition list of one page."""
    defined = re.findall(r"^`(\w+)`\n: ", PAID_PAGE.read_text(), re.MULTILINE)
    assert sorted(_parameters(base) - set(defined)) == []


def test_manifest_columns_are_documented() -> None:
    """The page of the download describes every field of a manifest row."""
    prose = _prose(DOCS / "operators" / "download.md")
    assert [field.name for field in dataclasses.fields(Row) if f"`{field.name}`" not in prose] == []


def test_exceptions_are_in_the_table_of_errors() -> None:
    """The table of errors has a row for each error."""
    prose = _prose(DOCS / "errors.md")
    assert [name for name in exceptions.__all__ if f"`{name}`" not in prose] == []


def test_exceptions_are_drawn_and_exported() -> None:
    """The tree at the top of the module and `__all__` name every error."""
    classes = {
        name for name, value in vars(exceptions).items() if inspect.isclass(value) and "Piktid" in name
    }
    assert classes == set(exceptions.__all__) - {"TRANSIENT_ERRORS"}
    assert [name for name in classes if name not in (exceptions.__doc__ or "")] == []


@pytest.mark.parametrize("field", sorted(CONN_FIELDS))
def test_connection_field_has_a_section(field: str) -> None:
    """Each field of the connection form has a section of its own that names its default."""
    page = (DOCS / "connection.md").read_text()
    _, heading, section = page.partition(f"## Extra: `{field}`\n")
    assert heading
    default = CONN_FIELDS[field]["schema"].get("default")
    assert (
        f"Default {default}" in section.split("\n## ")[0]
        if default
        else "Default:" in section.split("\n## ")[0]
    )


def test_excerpts_of_the_examples_are_shown() -> None:
    """Each marked part of an example DAG is on a page, and each operator page shows such a part."""
    marked = {
        name
        for path in (DOCS.parent / "example_dags").glob("*.py")
        for name in re.findall(r"\[START (\w+)\]", path.read_text())
    }
    shown = {
        name for page in PAGES for name in re.findall(r":start-after: \"\[START (\w+)\]", page.read_text())
    }
    assert marked == shown
    operators = [page for page in PAGES if page.parent.name == "operators"]
    assert [page.name for page in operators if "{literalinclude}" not in page.read_text()] == []


@pytest.mark.parametrize("module", ["airflow_provider_piktid.client", "airflow_provider_piktid.emulator"])
def test_public_names_of_a_room_are_documented(module: str) -> None:
    """Each name that a room exports in `__all__` is on a page."""
    text = "\n".join(page.read_text() for page in PAGES)
    assert [name for name in importlib.import_module(module).__all__ if name not in text] == []


@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in BLOCKS])
def test_python_on_a_page_is_real(code: str) -> None:
    """Each Python example parses, and every name that it imports from this package exists."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("airflow_provider_piktid"):
            module = importlib.import_module(node.module or "")
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@pytest.mark.parametrize(
    "code", [pytest.param(code, id=name) for name, code in BLOCKS if "Operator(" in code]
)
def test_operator_arguments_on_a_page_exist(code: str) -> None:
    """No example passes an argument that the operator does not have."""
    operators = {cls.__name__: cls for module in MODULES for cls in _classes(module)}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in operators:
            given = {keyword.arg for keyword in node.keywords if keyword.arg}
            assert given - _parameters(operators[node.func.id]) - {"task_id"} == set()


def test_every_page_is_in_the_contents() -> None:
    """The contents of the index list every page."""
    contents = (DOCS / "index.md").read_text()
    names = [str(page.relative_to(DOCS).with_suffix("")) for page in PAGES if page.name != "index.md"]
    assert [name for name in names if f"\n{name}\n" not in contents] == []


@pytest.mark.slow
def test_documentation_builds_without_warnings(tmp_path: Path) -> None:
    """Every reference resolves and every docstring is well-formed."""
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-b",
        "html",
        str(DOCS),
        str(tmp_path),
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "index.html").is_file()
