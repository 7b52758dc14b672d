# SPDX-License-Identifier: Apache-2.0
"""Check the instructions of a job: what each output shall look like, as plain dicts."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from airflow_provider_piktid.models.job_type import check_choice, check_number, check_text, untemplated

#: Checks one value and returns it as it is sent. Raises ``ValueError``.
Reader = Callable[[str, Any], Any]

SIZES: Final = ("1K", "2K", "4K")
RATIOS: Final = ("1:1", "3:4", "4:3", "9:16", "16:9")
FORMATS: Final = ("png", "jpg")
#: Credits for an output of each size. Source: PiktID's client for packshots and recolouring.
CREDITS_BY_SIZE: Final = {"1K": 3.0, "2K": 5.0, "4K": 10.0}
#: What a size that is not requested is estimated as: PiktID documents no default.
ASSUMED_SIZE: Final = "2K"
#: Instructions of one job. Source: PiktID's reference.
MAX_INSTRUCTIONS: Final = 10

#: Fields of an instruction that are passed through without a check.
EXTRA: Final = "extra"


def text(name: str, value: Any) -> str:
    check_text(name, value)
    return str(value)


def one_of(*choices: str) -> Reader:
    """Return a reader of one of some texts."""

    def read(name: str, value: Any) -> Any:
        check_choice(name, value, choices)
        return value

    return read


def number(least: int, most: int, step: int = 1) -> Reader:
    """Return a reader of a whole number in a range; templates give it as text."""

    def read(name: str, value: Any) -> int:
        value = untemplated(value, 0)
        check_number(name, value, least, most)
        if value % step:
            raise ValueError(f"{name} must be a multiple of {step}, got {value}")
        return int(value)

    return read


def text_or_number(name: str, value: Any) -> str | int | float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    return text(name, value)


@dataclass(frozen=True)
class Fields:
    """A reader of an object with these fields."""

    fields: Mapping[str, Reader]

    def __call__(self, name: str, value: Any) -> dict[str, Any]:
        return read_fields(name, value, self.fields)


def read_fields(
    name: str, value: Any, fields: Mapping[str, Reader], required: Sequence[str] = ()
) -> dict[str, Any]:
    """
    Check an object field by field.

    :param fields: Name to reader. None as a value counts as absent.
    :param required: Names that must be there.
    :return: The values as they are sent; those of the field ``extra`` unchanged.
    :raises ValueError: Not an object, a field that is unknown or missing, or an invalid value.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a mapping, not {type(value).__name__}")
    given = {key: item for key, item in value.items() if item is not None and key != EXTRA}
    for key in given:
        if key not in fields:
            raise ValueError(f"{name} has the unknown field {key!r}{_near(str(key), fields)}")
    for key in required:
        if key not in given:
            raise ValueError(f"{name} needs the field {key!r}")
    extra = value.get(EXTRA) or {}
    if not isinstance(extra, Mapping) or set(extra) & set(fields):
        raise ValueError(f"{name}.{EXTRA} must be a mapping that repeats no other field")
    return dict(extra) | {key: fields[key](f"{name}.{key}", item) for key, item in given.items()}


def read_instructions(
    value: Any, fields: Mapping[str, Reader], required: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """
    Check a list of instructions.

    :raises ValueError: Not a list, more than :data:`MAX_INSTRUCTIONS`, or one of them is invalid.
    """
    if isinstance(value, (str, Mapping)) or not isinstance(value, Sequence):
        raise ValueError(f"instructions must be a list of mappings, not {type(value).__name__}")
    if len(value) > MAX_INSTRUCTIONS:
        raise ValueError(f"instructions has {len(value)} items, a job takes {MAX_INSTRUCTIONS}")
    return [read_fields(f"instructions[{place}]", item, fields, required) for place, item in enumerate(value)]


def variations(instructions: Sequence[Mapping[str, Any]]) -> int:
    """Return how many outputs these instructions make; none of them counts as one default instruction."""
    return sum(int(item.get("num_variations", 1)) for item in instructions) or 1


def credits_each(instructions: Sequence[Mapping[str, Any]]) -> float:
    """Return the estimated credits of one output, the average over all of them."""
    total = (
        sum(int(item.get("num_variations", 1)) * CREDITS_BY_SIZE[_size(item)] for item in instructions)
        or CREDITS_BY_SIZE[ASSUMED_SIZE]
    )
    return total / variations(instructions)


def _size(instruction: Mapping[str, Any]) -> str:
    return str(instruction.get("options", {}).get("size", ASSUMED_SIZE))


def _near(key: str, fields: Mapping[str, Reader]) -> str:
    near = difflib.get_close_matches(key, fields, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(fields)}"
    return f"{hint} A field that this package does not know goes under {EXTRA!r}."
