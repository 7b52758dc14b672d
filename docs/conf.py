# SPDX-License-Identifier: Apache-2.0
"""Configuration of Sphinx. Build with `make docs`; warnings are errors there."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

# The reference imports Airflow, which writes to its home.
_HOME = tempfile.TemporaryDirectory(prefix="piktid-docs-", ignore_cleanup_errors=True)
os.environ["AIRFLOW_HOME"] = _HOME.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from airflow_provider_piktid import __version__  # noqa: E402
from airflow_provider_piktid.emulator import LIMITS, VARIANTS  # noqa: E402
from airflow_provider_piktid.emulator.faults import HTTP_KINDS, JOB_KINDS, STREAM_KINDS  # noqa: E402


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


project = "airflow-provider-piktid"
author = "the authors of airflow-provider-piktid"
project_copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist", "substitution"]
myst_substitutions = {
    "limits": "\n".join(f"- {limit}" for limit in LIMITS),
    "variants": _table(
        ("Name", "Values", "Meaning"),
        (
            (f"`{v.name}`", ", ".join(f"`{value}`" for value in v.values or (f"{v.default}...",)), v.meaning)
            for v in VARIANTS.values()
        ),
    ),
    "faults": _table(
        ("Kind", "Where", "What happens"),
        (
            (f"`{kind}`", where, meaning)
            for where, kinds in (("answer", HTTP_KINDS), ("stream", STREAM_KINDS), ("job", JOB_KINDS))
            for kind, meaning in kinds.items()
        ),
    ),
}
myst_heading_anchors = 3

autodoc_member_order = "bysource"
# Signatures of Airflow's classes are long; the docstrings describe the parameters.
autodoc_typehints = "none"
autodoc_class_signature = "separated"

html_theme = "furo"
html_title = f"{project} {release}"
html_show_copyright = False
html_show_sphinx = False
