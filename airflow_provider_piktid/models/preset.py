# SPDX-License-Identifier: Apache-2.0
"""Presets: the settings of a style, as an instruction that a job of their type takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from airflow_provider_piktid.models.flat_to_model import FlatToModel
from airflow_provider_piktid.models.identity_creation import GROUPS, IdentityCreation
from airflow_provider_piktid.models.instructions import EXTRA, Fields, Reader
from airflow_provider_piktid.models.packshot import Packshot

#: Types of presets, and the fields of an instruction of that type; those of a swap are not documented.
PRESET_TYPES: Final[Mapping[str, Mapping[str, Reader] | None]] = {
    "flat_2_model": FlatToModel.fields,
    "create_packshot": Packshot.fields,
    "identity_creation": IdentityCreation.fields,
    "model_swap": None,
}
#: What decides the bill, or names files, is the DAG author's to say and not taken from a server's answer.
NOT_STYLE: Final = ("num_variations", "options", "input_assets")


def as_instruction(preset_type: str, data: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """
    Return what a preset holds as one of the ``instructions`` of its job type.

    Fields that this package does not know are passed through under ``extra``. PiktID ignores the other groups of an
    identity, as its own client does.

    :return: The instruction, and the names of the fields that it cannot have.
    """
    fields = PRESET_TYPES.get(preset_type)
    if fields is None:
        return dict(data), []
    is_identity = preset_type == IdentityCreation.word
    known = {
        key: value
        for key, value in data.items()
        if key not in NOT_STYLE and (not is_identity or key in (*GROUPS, "prompt"))
    }
    return _usable("", known, fields)


def _usable(
    place: str, data: Mapping[str, Any], fields: Mapping[str, Reader]
) -> tuple[dict[str, Any], list[str]]:
    kept: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    left_out: list[str] = []
    for key, value in data.items():
        name, reader = f"{place}{key}", fields.get(key)
        if value is None or value == "":
            continue
        if reader is None:
            extra[key] = value
        elif isinstance(reader, Fields) and isinstance(value, Mapping):
            inner, missing = _usable(f"{name}.", value, reader.fields)
            kept |= {key: inner} if inner else {}
            left_out += missing
        else:
            try:
                kept[key] = reader(name, value)
            except ValueError:
                left_out.append(name)
    return kept | ({EXTRA: extra} if extra else {}), left_out
