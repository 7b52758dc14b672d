# SPDX-License-Identifier: Apache-2.0
"""Arguments that cannot work are refused before anything is sent or paid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_piktid.exceptions import PiktidBudgetError, PiktidConfigError

#: The API's own advice for polling is five seconds; below this it would only use up the account's rate.
MIN_POLL_INTERVAL = 3.0


def checked_images(images: Any) -> list[str]:
    """
    Give the file ids as a list.

    :raises PiktidConfigError: None, not a list, or one of them twice.
    """
    if isinstance(images, str) or not isinstance(images, Sequence):
        raise PiktidConfigError(f"images must be a list of file ids, not {type(images).__name__}")
    ids = [str(image) for image in images]
    if not ids:
        raise PiktidConfigError("images is empty: there is nothing to do. Give the file ids of an upload.")
    if len(set(ids)) != len(ids):
        raise PiktidConfigError(
            "images names a file id twice, which would be paid twice. Remove the duplicate."
        )
    return ids


def check_waiting(poll_interval: float, on_ambiguous: str) -> None:
    """
    Check how the task waits and what it does with a lost reply.

    :raises PiktidConfigError: Polling too often, or a policy that does not exist.
    """
    if poll_interval < MIN_POLL_INTERVAL:
        raise PiktidConfigError(
            f"poll_interval must be {MIN_POLL_INTERVAL:g} seconds or more, not {poll_interval}"
        )
    if on_ambiguous not in ("fail", "resubmit"):
        raise PiktidConfigError(f"on_ambiguous must be 'fail' or 'resubmit', not {on_ambiguous!r}")


def check_budget(
    connection: str,
    *,
    images: int,
    outputs: int,
    max_images: Any,
    max_credits: Any,
    credits_per_output: float,
) -> None:
    """
    Hold a batch against what the author allows. Limits may be text, as templates give it.

    :raises PiktidBudgetError: It is larger. Nothing was sent.
    """
    if max_images is not None and images > int(max_images):
        raise PiktidBudgetError(
            f"{connection}: {images} images, but max_images is {max_images}. Nothing was submitted. Raise the "
            "limit or give fewer images."
        )
    cost = outputs * credits_per_output
    if max_credits is not None and cost > float(max_credits):
        raise PiktidBudgetError(
            f"{connection}: {outputs} outputs at {credits_per_output:g} credits are {cost:g}, but max_credits is "
            f"{max_credits}. Nothing was submitted. Raise the limit or ask for fewer outputs."
        )
