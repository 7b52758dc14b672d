# SPDX-License-Identifier: Apache-2.0
"""``fail_fast_if_permanent``: permanent errors are not retried."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_piktid.exceptions import PiktidConfigError, PiktidConnectionError
from airflow_provider_piktid.operators.base import fail_fast_if_permanent


def test_permanent_error_fails_without_a_retry() -> None:
    """A permanent error raises ``AirflowFailException`` with the error as its cause."""
    error = PiktidConfigError("no token")

    with pytest.raises(AirflowFailException, match="no token") as caught, fail_fast_if_permanent():
        raise error

    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [PiktidConnectionError("away"), RuntimeError("bug")], ids=["temporary", "unexpected"]
)
def test_other_errors_are_raised_unchanged(error: Exception) -> None:
    """Other errors are raised unchanged."""
    with pytest.raises(type(error)) as caught, fail_fast_if_permanent():
        raise error

    assert caught.value is error
