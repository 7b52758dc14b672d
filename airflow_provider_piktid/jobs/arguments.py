# SPDX-License-Identifier: Apache-2.0
"""Arguments that a DAG author gets wrong: checks and errors beside those of a submission."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.exceptions import PiktidConfigError
from airflow_provider_piktid.jobs.submission import type_name

if TYPE_CHECKING:
    from airflow_provider_piktid.models import Identity

_ROWS = '`images` must be `upload.output["images"]`, the rows of the upload'


def checked_rows(images: Any) -> list[Mapping[str, Any]] | None:
    """
    Return the rows of an upload as a list; None if there are none.

    :raises PiktidConfigError: Something else, such as file ids.
    """
    if not images:
        return None
    if isinstance(images, str | Mapping) or not isinstance(images, Sequence):
        raise PiktidConfigError(f"{_ROWS}, not {type_name(images)}.")
    if not all(isinstance(row, Mapping) and "file_id" in row for row in images):
        raise PiktidConfigError(f"{_ROWS}, not a list of {type(images[0]).__name__}.")
    return list(images)


def unknown_identity(connection: str, code: str, known: Iterable[Identity]) -> PiktidConfigError:
    """Return the error for an identity that does not exist; it proposes those with similar codes or names."""
    codes = {
        text.lower(): each.identity_code for each in known for text in (each.identity_code, each.name) if text
    }
    near = [codes[text] for text in difflib.get_close_matches(code.lower(), list(codes), n=3)]
    hint = f" Did you mean {', '.join(dict.fromkeys(near))}?" if near else ""
    return PiktidConfigError(
        f"{connection}: there is no identity {code!r} in this account.{hint} Correct `identity_code`, or upload one "
        "with PiktidUploadIdentityOperator. Nothing was submitted."
    )
