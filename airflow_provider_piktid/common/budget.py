# SPDX-License-Identifier: Apache-2.0
"""The limits that a DAG author sets for what a task may pay."""

from __future__ import annotations

import math
from typing import Any

from airflow_provider_piktid.exceptions import PiktidConfigError


def limit_of(connection: str, name: str, value: Any) -> float:
    """
    Return a limit as a number, infinity for none. ``nan`` would allow anything, so it is refused.

    :param connection: Connection id, for the message.
    :raises PiktidConfigError: Not a number from 0.
    """
    if value is None or value == "":
        return math.inf
    try:
        limit = float(value)
    except (TypeError, ValueError):
        limit = math.nan
    if not limit >= 0:
        raise PiktidConfigError(
            f"{connection}: {name} must be a number from 0, not {value!r}. Nothing was submitted."
        )
    return limit
