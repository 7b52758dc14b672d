# SPDX-License-Identifier: Apache-2.0
"""How tasks are retried: arguments for operators, and a policy for Airflow 3.3 and newer."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_piktid.exceptions import PiktidError

if TYPE_CHECKING:
    from airflow.sdk import RetryDecision, RetryPolicy
else:
    try:
        from airflow.sdk import RetryDecision, RetryPolicy
    except ImportError:  # before Airflow 3.3
        RetryDecision, RetryPolicy = None, object

__all__ = ["RETRIES", "PiktidRetryPolicy"]

#: For ``default_args`` or an operator. Airflow starts the retries after 2 to 4, 4 to 8 and 8 to 16 minutes: an API
#: server of Airflow that is away for half a minute uses up a try within seconds.
RETRIES: Final[dict[str, Any]] = {
    "retries": 3,
    "retry_delay": timedelta(minutes=2),
    "retry_exponential_backoff": True,
}


class PiktidRetryPolicy(RetryPolicy):
    """
    Fail at once on an error of PiktID that no retry can fix, and retry others. Airflow 3.3 and newer.

    This package's operators do so on every version. The policy is for other tasks, such as a ``@task`` that uses
    ``PiktidHook``. It does not decide about other errors: Airflow retries them as usual.

    :raises RuntimeError: This Airflow has no retry policies.
    """

    def __init__(self) -> None:
        if RetryDecision is None:
            raise RuntimeError(
                "PiktidRetryPolicy needs Airflow 3.3 or newer. On older versions catch PiktidError in the task, and "
                "raise AirflowFailException if its `permanent` is true."
            )

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
    ) -> RetryDecision:
        """Return the decision for the error that a task raised."""
        if not isinstance(exception, PiktidError):
            return RetryDecision.default()
        name = type(exception).__name__
        if exception.permanent:
            return RetryDecision.fail(f"{name}: a retry cannot fix it")
        return RetryDecision.retry(reason=f"{name}: a retry may succeed")

    def serialize(self) -> dict[str, Any]:
        """Return nothing to restore: the policy has no settings."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> PiktidRetryPolicy:
        """Return the policy."""
        return cls()
