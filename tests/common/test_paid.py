# SPDX-License-Identifier: Apache-2.0
"""The terms of paid work: limits are compared before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_piktid.common.paid import Terms
from airflow_provider_piktid.exceptions import PiktidBudgetError, PiktidConfigError


def check(images: int = 3, outputs: int = 6, **limits: Any) -> None:
    Terms(connection="piktid_test", **limits).check_budget(images, outputs)


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param({}, id="none"),
        pytest.param({"max_images": "", "max_credits": ""}, id="empty templates"),
        pytest.param({"max_images": 3, "max_credits": 6}, id="exactly"),
        pytest.param({"max_images": "3", "max_credits": "6.0"}, id="text, as templates render"),
        pytest.param({"max_credits": float("inf")}, id="infinity"),
        pytest.param({"max_credits": 3, "credits_per_output": 0.5}, id="the author's price"),
    ],
)
def test_work_within_the_limits_is_allowed(limits: dict[str, Any]) -> None:
    """A limit that is not set, or not exceeded, allows the work."""
    check(**limits)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        pytest.param({"max_images": 2}, "max_images=2", id="images"),
        pytest.param({"max_credits": "5"}, "max_credits=5", id="credits"),
        pytest.param({"max_credits": 0}, "max_credits=0", id="zero"),
    ],
)
def test_work_over_a_limit_is_refused(limits: dict[str, Any], words: str) -> None:
    """The error names the connection and the limit."""
    with pytest.raises(PiktidBudgetError, match=rf"^piktid_test: .*{words}"):
        check(**limits)


@pytest.mark.parametrize("name", ["max_images", "max_credits"])
@pytest.mark.parametrize("value", ["nan", float("nan"), "many", -1, [5]])
def test_limit_that_is_not_a_number_is_refused(name: str, value: Any) -> None:
    """A limit such as nan, with which every comparison is false, must not switch the check off."""
    with pytest.raises(PiktidConfigError, match=name):
        check(**{name: value})


@pytest.mark.parametrize("price", [float("nan"), float("inf"), -1.0])
def test_price_that_is_not_a_number_is_refused(price: float) -> None:
    """A price such as nan would make every estimate meaningless."""
    with pytest.raises(PiktidConfigError, match="credits_per_output"):
        Terms(connection="piktid_test", credits_per_output=price).check()
