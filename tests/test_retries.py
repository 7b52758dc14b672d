# SPDX-License-Identifier: Apache-2.0
"""Which errors the retry policy fails at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_piktid import retries
from airflow_provider_piktid.exceptions import (
    PiktidAuthError,
    PiktidConfigError,
    PiktidConnectionError,
    PiktidError,
    PiktidJobFailedError,
)
from airflow_provider_piktid.retries import PiktidRetryPolicy

HAS_POLICIES = vars(retries)["RetryDecision"] is not None
needs_policies = pytest.mark.skipif(not HAS_POLICIES, reason="retry policies came with Airflow 3.3")


def failed(*, permanent: bool) -> PiktidError:
    error = PiktidJobFailedError("the job failed")
    error.permanent = permanent
    return error


@needs_policies
@pytest.mark.parametrize(
    ("error", "action"),
    [
        pytest.param(PiktidAuthError("no", status=401), "fail", id="permanent"),
        pytest.param(PiktidConfigError("no token"), "fail", id="configuration"),
        pytest.param(failed(permanent=True), "fail", id="job that was paid for"),
        pytest.param(failed(permanent=False), "retry", id="job that cost nothing"),
        pytest.param(PiktidConnectionError("away"), "retry", id="no answer"),
        pytest.param(ValueError("a bug"), "default", id="not of PiktID"),
    ],
)
def test_decision(error: Exception, action: str) -> None:
    """Permanent errors of PiktID fail, its others are retried, and all else is left to Airflow."""
    decision: Any = PiktidRetryPolicy().evaluate(error, 1, 3)

    assert decision.action.value == action


@needs_policies
def test_policy_survives_serialization() -> None:
    """The policy is restored from what it serializes to, as JSON."""
    stored = json.loads(json.dumps(PiktidRetryPolicy().serialize()))

    assert isinstance(PiktidRetryPolicy.deserialize(stored), PiktidRetryPolicy)


@pytest.mark.skipif(HAS_POLICIES, reason="this Airflow has retry policies")
def test_policy_says_which_airflow_it_needs() -> None:
    """Before 3.3 the module can be imported, and the policy names the version that it needs."""
    with pytest.raises(RuntimeError, match=r"3\.3"):
        PiktidRetryPolicy()
