# SPDX-License-Identifier: Apache-2.0
"""Wait for new versions of outputs. Trigger and sync path both use this."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from airflow_provider_piktid.exceptions import (
    PiktidConnectionError,
    PiktidRateLimitError,
    PiktidResponseError,
    PiktidServerError,
)

if TYPE_CHECKING:
    from airflow_provider_piktid.client._async import AsyncPiktidClient
    from airflow_provider_piktid.models.v2 import JobResults

log = logging.getLogger(__name__)

_PASSING = (PiktidConnectionError, PiktidServerError, PiktidRateLimitError, PiktidResponseError)


async def watch_results(
    connect: Callable[[], Awaitable[AsyncPiktidClient]],
    job_ids: Iterable[str],
    done: Callable[[dict[str, JobResults]], bool],
    *,
    poll_interval: float,
    end_time: float,
) -> bool:
    """
    Poll the results of jobs until they satisfy ``done``; False if the deadline passes first.

    Whether a job's status moves while an image is made again is undocumented, so its results are asked for.

    :param connect: Makes a client; closed at the end.
    :param end_time: Epoch seconds.
    :raises PiktidAPIError: PiktID refuses for a reason that waiting does not mend.
    """
    ids = list(job_ids)
    async with await connect() as client:
        while True:
            try:
                answers = await asyncio.gather(*(client.get_job_results(job_id) for job_id in ids))
                if done(dict(zip(ids, answers, strict=True))):
                    return True
            except _PASSING as error:
                log.warning("No results at the moment, the wait goes on: %s", error)
            left = end_time - time.time()
            if left <= 0:
                return False
            await asyncio.sleep(min(poll_interval, left))
