# SPDX-License-Identifier: Apache-2.0
"""The body of a model swap, and what is refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_piktid.models import ModelSwapRequest


def swap(**changes: Any) -> ModelSwapRequest:
    return ModelSwapRequest(**({"identity_code": "id-1", "project_id": "prj-1", "images": ["f-1"]} | changes))


def test_to_wire_defaults_send_post_process_and_the_two_documented_options() -> None:
    """What the sources disagree about is always said; what is off is left out."""
    assert swap().to_wire() == {
        "identity_code": "id-1",
        "project_id": "prj-1",
        "images": ["f-1"],
        "post_process": False,
        "swap_options": {"model": "auto", "num_variations": 1},
    }


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        pytest.param({"model": "onda"}, {"model": "onda"}, id="engine"),
        pytest.param({"model": "new", "force_model": True}, {"model": "new"}, id="forced unknown engine"),
        pytest.param({"num_variations": 4}, {"num_variations": 4}, id="most variations"),
        pytest.param({"add_ai_watermark": True}, {"add_ai_watermark": True}, id="watermark"),
        pytest.param({"use_anchor": False}, {"use_anchor": False}, id="anchor off is said when asked for"),
        pytest.param({"use_alternative_method": True}, {"model": "nano_banana_pro"}, id="legacy flag"),
        pytest.param(
            {"swap_options": {"use_alternative_method": True}},
            {"model": "nano_banana_pro"},
            id="legacy flag in the options",
        ),
        pytest.param({"swap_options": {"seed": 7}}, {"seed": 7}, id="unknown option passes through"),
    ],
)
def test_to_wire_option_reaches_swap_options(arguments: dict[str, Any], options: dict[str, Any]) -> None:
    """Each option stands in `swap_options` under its documented name; the legacy flag is never sent."""
    assert swap(**arguments).to_wire()["swap_options"] == {"model": "auto", "num_variations": 1} | options


def test_to_wire_extra_field_stands_beside_the_options() -> None:
    """Fields of a newer server can be sent before this package knows them."""
    assert swap(extra={"preset_code": "p"}).to_wire()["preset_code"] == "p"


def test_expected_outputs_counts_variations() -> None:
    """Every image gives as many outputs as variations were asked for."""
    assert swap(images=["a", "b"], num_variations=3).expected_outputs == 6


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        pytest.param({"identity_code": " "}, "identity_code", id="blank identity"),
        pytest.param({"project_id": 7}, "project_id", id="the project's number instead of its text id"),
        pytest.param({"images": []}, "images", id="no image"),
        pytest.param({"images": "f-1"}, "images", id="a text instead of a list"),
        pytest.param({"images": ["f-1", None]}, "images", id="no file id"),
        pytest.param({"images": ["f-1", "f-1"]}, "twice", id="the same image twice"),
        pytest.param({"images": [str(n) for n in range(11)]}, "a job takes 10", id="too many images"),
        pytest.param({"images": ["a", "b", "c"], "images_per_job": 2}, "a job takes 2", id="account limit"),
        pytest.param({"num_variations": 5}, "num_variations", id="five variations"),
        pytest.param({"num_variations": 0}, "num_variations", id="no variation"),
        pytest.param({"num_variations": True}, "num_variations", id="a truth value as number"),
        pytest.param({"num_variations": "2"}, "num_variations", id="a text as number"),
        pytest.param({"post_process": "no"}, "post_process", id="a text as truth value"),
        pytest.param({"use_anchor": "yes"}, "use_anchor", id="anchor as text"),
        pytest.param({"model": "banana"}, "onda", id="unknown engine, known ones named"),
        pytest.param({"model": "", "force_model": True}, "model", id="no engine"),
        pytest.param({"model": "onda", "use_alternative_method": True}, "onda", id="flag against engine"),
        pytest.param({"swap_options": {"model": "onda"}}, "model", id="option said twice"),
        pytest.param({"extra": {"images": []}}, "images", id="extra repeats an argument"),
    ],
)
def test_request_that_cannot_be_right_is_refused(arguments: dict[str, Any], names: str) -> None:
    """A wrong argument is a ValueError that names it, before money is spent."""
    with pytest.raises(ValueError, match=names):
        swap(**arguments)
