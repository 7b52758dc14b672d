# SPDX-License-Identifier: Apache-2.0
"""What a probe has found out, and the report of it: no links, names, ids, pictures or account data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_piktid import __version__
from airflow_provider_piktid.probe.facts import FACTS

SCHEMA = 1

#: A field name or word of the API. Others may be somebody's data, and are not shown.
_WORD = re.compile(r"[a-z][a-z0-9_]{0,39}")

#: Surprises that are reported at most.
MAX_SURPRISES = 60


@dataclass
class Findings:
    """
    Everything that is reported.

    :param seen: Fact to its answers, each with what was seen; more than one if the service has changed its mind.
    :param reasons: Fact to why it is not known.
    """

    seen: dict[str, dict[str, str]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    surprises: list[str] = field(default_factory=list)
    left_behind: list[str] = field(default_factory=list)
    credits: float = 0.0
    ended: str = ""

    def decide(self, fact: str, answer: str, seen: str) -> None:
        """Note what one answer of the service says about a fact."""
        assert fact in FACTS, fact
        self.seen.setdefault(fact, {}).setdefault(answer, seen)

    def unknown(self, facts: Iterable[str], reason: str) -> None:
        """Note why facts are not known; what is known stays."""
        for fact in facts:
            self.reasons.setdefault(fact, reason)

    def surprise(self, text: str) -> None:
        """Note something that no source mentions."""
        if text not in self.surprises and len(self.surprises) < MAX_SURPRISES:
            self.surprises.append(text)

    def look_for_new_fields(self, operation: str, value: Any, known: Iterable[str]) -> None:
        """Note the fields of a JSON object that no source mentions, with their types."""
        if not isinstance(value, Mapping):
            self.surprise(f"{operation}: {shape(value)} where an object is documented")
            return
        for name in sorted(set(map(str, value)) - set(known)):
            self.surprise(f"{operation}: unknown field {word(name)} ({shape(value[name])})")

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each fact."""
        return [self._row(name) for name in FACTS]

    def _row(self, name: str) -> dict[str, Any]:
        fact, found = FACTS[name], self.seen.get(name, {})
        answer = next(iter(found)) if len(found) == 1 else None
        reason = self.reasons.get(name) or fact.why or _NEEDED.get(fact.needs, "the service did not show it")
        if len(found) > 1:
            reason = f"the service has changed its mind: {', '.join(found)}"
        return {
            "fact": name,
            "question": fact.question,
            "sources": fact.sources,
            "needs": fact.needs,
            "answer": answer,
            "seen": "; ".join(found.values()) or None,
            "means": fact.answers.get(answer, "an answer that no source mentions: report it")
            if answer
            else None,
            "unknown_because": None if answer else reason,
        }


_NEEDED = {
    "history": "the account has no job that shows it; --spend runs one",
    "spend": "it takes a job; --spend runs one",
    "person": "it takes a generation; --person runs one",
}


def shape(value: Any) -> str:
    """Return the JSON type of a value, without the value."""
    if value is None:
        return "null"
    for kind, name in ((bool, "boolean"), (int, "number"), (float, "number"), (str, "text"), (list, "list")):
        if isinstance(value, kind):
            return name
    return "object"


def word(text: Any) -> str:
    """Return a word of the API; anything else may be somebody's data."""
    return text if isinstance(text, str) and _WORD.fullmatch(text) else "(not shown)"


def report(findings: Findings, *, requests: int, seconds: float, advice: list[str]) -> dict[str, Any]:
    """Return the report as JSON values."""
    rows = findings.rows()
    return {
        "schema": SCHEMA,
        "package": __version__,
        "facts": rows,
        "decided": sum(row["answer"] is not None for row in rows),
        "advice": advice,
        "surprises": findings.surprises,
        "left_behind": findings.left_behind,
        "requests": requests,
        "seconds": round(seconds, 1),
        "credits": findings.credits,
        "ended_early": findings.ended or None,
    }
