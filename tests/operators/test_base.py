# SPDX-License-Identifier: Apache-2.0
"""How tasks behave towards Airflow: permanent errors are not retried."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_piktid.exceptions import PiktidConfigError, PiktidConnectionError
from airflow_provider_piktid.operators.base import fail_fast_if_permanent


def test_permanent_error_fails_without_a_retry() -> None:
    """The error itself stays the cause, so that its kind can be read."""
    error = PiktidConfigError("no token")

    with pytest.raises(AirflowFailException, match="no token") as caught, fail_fast_if_permanent():
        raise error

    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [PiktidConnectionError("away"), RuntimeError("bug")], ids=["passing", "foreign"]
)
def test_other_errors_pass_as_they_are(error: Exception) -> None:
    """Airflow's retries deal with them."""
    with pytest.raises(type(error)) as caught, fail_fast_if_permanent():
        raise error

    assert caught.value is error
