# SPDX-License-Identifier: Apache-2.0
"""What a fact about the service is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: What it takes to find out. ``history``: free, if the account has ended jobs; otherwise ``--spend``.
Needs = Literal["free", "history", "spend", "person", "never"]


@dataclass(frozen=True)
class Fact:
    """
    One fact.

    :param sources: What the sources say.
    :param answers: Possible answers to their meaning. An answer may be another one, too.
    :param why: Why the probe does not find it out. Default: it does.
    """

    name: str
    question: str
    needs: Needs
    sources: str
    answers: Mapping[str, str] = field(default_factory=dict)
    why: str = ""
