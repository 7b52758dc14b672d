# SPDX-License-Identifier: Apache-2.0
"""How operators and the sensor behave towards Airflow."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_piktid.common.records import Store, choose_store
from airflow_provider_piktid.exceptions import PiktidError

if TYPE_CHECKING:
    from airflow_provider_piktid.common.records import Record

R = TypeVar("R", bound="Record")

#: Airflow's own deferral timeout is this much later than ours, because it skips the resume method.
FRAMEWORK_MARGIN_SECONDS = 300.0


@contextlib.contextmanager
def fail_fast_if_permanent() -> Iterator[None]:
    """
    Fail the task without further retries on errors that no retry can fix.

    The original error stays the cause, so that its class and fields can still be read.
    """
    try:
        yield
    except PiktidError as error:
        if error.permanent:
            raise AirflowFailException(str(error)) from error
        raise


def framework_timeout(end_time: float) -> timedelta:
    """Return the timeout for Airflow's deferral: later than ``end_time`` (epoch seconds), which is ours."""
    return timedelta(seconds=max(0.0, end_time - time.time()) + FRAMEWORK_MARGIN_SECONDS)


class CurrentTask:
    """
    What paid work needs to know of the task instance it runs for.

    :param context: Airflow's context.
    """

    def __init__(self, context: Any) -> None:
        self._context = context

    @property
    def is_retry(self) -> bool:
        return bool(self._context["ti"].try_number > 1)

    @property
    def run_began(self) -> float:
        """
        A moment before which the DAG run bought nothing, epoch seconds.

        The end of its data interval, else its logical date: unlike its start, these survive a clear.
        """
        for key in ("data_interval_end", "logical_date"):
            moment = self._context.get(key)
            if moment is not None:
                return float(moment.timestamp())
        run_after = getattr(self._context.get("dag_run"), "run_after", None)
        return float(run_after.timestamp()) if run_after is not None else 0.0

    def push(self, key: str, value: Any) -> None:
        """Push a value to XCom under its own key."""
        self._context["ti"].xcom_push(key=key, value=value)

    def open_store(
        self,
        state_path: str | None,
        state_key: str,
        parse: Callable[[Any], R],
        *,
        beside: str | None = None,
    ) -> Store[R]:
        """Choose where a record of this task instance is kept; see :func:`choose_store`."""
        return choose_store(self._context, state_path, state_key, parse, beside=beside)
