# SPDX-License-Identifier: Apache-2.0
"""Wait on this worker until PiktID has preprocessed an identity."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_provider_piktid.exceptions import PiktidInvalidRequestError, PiktidJobTimeout

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidClient


def wait_until_preprocessed(
    client: PiktidClient, identity_code: str, *, connection: str, timeout: float, poll_interval: float
) -> None:
    """
    Ask for the status of an identity until its preprocessing has ended.

    :param timeout: Seconds; the status is asked for at least once.
    :param poll_interval: Seconds between two requests.
    :raises PiktidJobTimeout: It has not ended in time.
    :raises PiktidInvalidRequestError: It failed.
    """
    deadline = time.monotonic() + timeout
    while not (status := client.get_identity_status(identity_code)).is_terminal:
        if time.monotonic() >= deadline:
            raise PiktidJobTimeout(
                f"{connection}: identity {identity_code} is not preprocessed after {timeout:g} s. It exists; a retry "
                "waits for it again. Raise `timeout` to wait longer."
            )
        time.sleep(poll_interval)
    if status.preprocessing_status == "failed":
        raise PiktidInvalidRequestError(
            f"{connection}: PiktID could not preprocess identity {identity_code}: "
            f"{status.error_message or 'no reason given'}. Use an image with one clearly visible face.",
            status=200,
        )
