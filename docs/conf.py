# SPDX-License-Identifier: Apache-2.0
"""Configuration of Sphinx. Build with `make docs`; warnings are errors there."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

# Airflow is imported for the reference, and makes its home where it is told to.
_HOME = tempfile.TemporaryDirectory(prefix="piktid-docs-", ignore_cleanup_errors=True)
os.environ["AIRFLOW_HOME"] = _HOME.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from airflow_provider_piktid import __version__  # noqa: E402

project = "airflow-provider-piktid"
author = "the authors of airflow-provider-piktid"
project_copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
# Signatures of Airflow's classes are long; the parameters stand in the docstrings.
autodoc_typehints = "none"
autodoc_class_signature = "separated"

html_theme = "furo"
html_title = f"{project} {release}"
html_show_copyright = False
html_show_sphinx = False
