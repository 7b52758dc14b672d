# SPDX-License-Identifier: Apache-2.0
"""A measurement with its bound, and the table of measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """
    A measurement.

    :param measured: Number and unit, as shown.
    :param bound: The bound with ``<=`` or ``>=`` and the unit; empty if there is none.
    :param value: The number without its unit.
    :param detail: What was measured.
    """

    name: str
    measured: str
    bound: str
    ok: bool
    detail: str = ""
    value: float | None = None


def at_least(name: str, value: float, bound: float, unit: str, detail: str = "") -> Row:
    """Return a row with a lower bound."""
    return Row(name, _shown(value, unit), f">= {bound:g} {unit}", value >= bound, detail, round(value, 4))


def at_most(name: str, value: float, bound: float, unit: str, detail: str = "") -> Row:
    """Return a row with an upper bound."""
    return Row(name, _shown(value, unit), f"<= {bound:g} {unit}", value <= bound, detail, round(value, 4))


def told(name: str, value: float, unit: str, detail: str = "") -> Row:
    """Return a row without a bound."""
    return Row(name, _shown(value, unit), "", True, detail, round(value, 4))


def as_mapping(row: Any) -> dict[str, Any]:
    """Convert a row of any module, a :class:`Row` or a mapping with the same names."""
    values = asdict(row) if is_dataclass(row) and not isinstance(row, type) else dict(row)
    return {"detail": "", "bound": "", **values}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format rows for a terminal."""
    heads = ("", "figure", "measured", "bound", "detail")
    lines = [heads] + [
        ("ok" if row["ok"] else "MISSED", *(str(row[key]) for key in ("name", "measured", "bound", "detail")))
        for row in rows
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads) - 1)]
    return "\n".join(
        "  ".join(
            [*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]
        ).rstrip()
        for line in lines
    )


def _shown(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}" if abs(value) < 1000 else f"{value:.0f} {unit}"
