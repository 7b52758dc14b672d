# SPDX-License-Identifier: Apache-2.0
"""Instructions are checked field by field before money is spent."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_piktid.models.instructions import (
    Fields,
    Reader,
    credits_each,
    number,
    one_of,
    read_instructions,
    text,
    variations,
)

FIELDS: dict[str, Reader] = {
    "prompt": text,
    "num_variations": number(1, 4),
    "options": Fields({"size": one_of("1K", "2K", "4K"), "width": number(256, 7000, 8)}),
}


def test_fields_are_returned_as_they_are_sent() -> None:
    """None counts as absent, and numbers that a template gave as text are numbers."""
    given = [{"prompt": "walk", "num_variations": "3", "options": {"width": "512", "size": None}}]

    assert read_instructions(given, FIELDS) == [
        {"prompt": "walk", "num_variations": 3, "options": {"width": 512}}
    ]


def test_fields_under_extra_pass_through() -> None:
    """A field that PiktID added later can be sent without a new release."""
    assert read_instructions([{"prompt": "a", "extra": {"mood": "calm"}}], FIELDS) == [
        {"prompt": "a", "mood": "calm"}
    ]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        pytest.param("walk", "instructions must be a list of mappings, not str", id="a text"),
        pytest.param({"prompt": "a"}, "instructions must be a list of mappings, not dict", id="one mapping"),
        pytest.param([{}] * 11, "instructions has 11 items, a job takes 10", id="eleven"),
        pytest.param(["walk"], r"instructions\[0\] must be a mapping, not str", id="a list of texts"),
        pytest.param(
            [{}, {"promt": "a"}], r"instructions\[1\] .*'promt'; did you mean 'prompt'", id="a typo"
        ),
        pytest.param([{"colour": "a"}], "known are prompt, num_variations, options", id="an unknown field"),
        pytest.param([{"prompt": " "}], r"instructions\[0\].prompt must be a text", id="a blank text"),
        pytest.param(
            [{"num_variations": 5}], "num_variations must be a whole number from 1 to 4", id="too many"
        ),
        pytest.param([{"num_variations": True}], "num_variations must be a whole number", id="a truth value"),
        pytest.param(
            [{"options": {"size": "8K"}}], "options.size must be one of 1K, 2K, 4K", id="unknown size"
        ),
        pytest.param([{"options": {"width": 300}}], "options.width must be a multiple of 8", id="width"),
        pytest.param([{"options": {"width": 248}}], "options.width must be .* from 256 to 7000", id="narrow"),
        pytest.param([{"options": []}], "options must be a mapping, not list", id="options as a list"),
        pytest.param(
            [{"extra": {"prompt": "b"}}], "extra must be a mapping that repeats no other", id="repeated"
        ),
    ],
)
def test_invalid_instruction_names_its_field(given: Any, told: str) -> None:
    """The error names the instruction by number, the field, and what is allowed."""
    with pytest.raises(ValueError, match=told):
        read_instructions(given, FIELDS)


def test_missing_field_is_named() -> None:
    """A required field that is absent is an error."""
    with pytest.raises(ValueError, match=r"instructions\[0\] needs the field 'prompt'"):
        read_instructions([{}], FIELDS, required=("prompt",))


@pytest.mark.parametrize(
    ("given", "outputs", "price"),
    [
        pytest.param([], 1, 5.0, id="none is one default instruction of an assumed size"),
        pytest.param([{"num_variations": 3}, {}], 4, 5.0, id="variations add up"),
        pytest.param(
            [{"options": {"size": "1K"}}, {"options": {"size": "4K"}}], 2, 6.5, id="average of sizes"
        ),
        pytest.param([{"options": {"size": "4K"}, "num_variations": 2}], 2, 10.0, id="largest size"),
    ],
)
def test_outputs_and_their_price(given: list[dict[str, Any]], outputs: int, price: float) -> None:
    """Each variation is an output; the price of one is 3, 5 or 10 credits by size."""
    assert (variations(given), credits_each(given)) == (outputs, price)
