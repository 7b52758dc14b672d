# SPDX-License-Identifier: Apache-2.0
"""
Find out which request an error without ids is about.

PiktID's list of notifications can be filtered by the id of a request. One such question is asked after each listing, as
the account's rate allows one request every 3 seconds. Pure: no Airflow, no HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_piktid.models.v1 import PersonNotification
    from airflow_provider_piktid.person.matching import AwaitedGeneration

#: An id that no request has. A server that ignores the filter shows errors for it too, and is then not asked again.
NO_TASK = "00000000-0000-0000-0000-000000000000"


class ErrorSearch:
    """Asks for the errors of one request after the other, as long as there are errors without ids."""

    def __init__(self) -> None:
        #: Whether the server filters; None: not known yet.
        self._filters: bool | None = None
        self._vague: frozenset[int | str] = frozenset()
        self._asked: set[str] = set()
        self._found: dict[int | str, str] = {}
        self._question: str | None = None

    def named(self, listed: Sequence[PersonNotification]) -> list[PersonNotification]:
        """Return notifications with the request ids that were found out."""
        present = {item.identity for item in listed}
        self._found = {mark: task for mark, task in self._found.items() if mark in present}
        return [_with_task(item, self._found.get(item.identity)) for item in listed]

    def look_for(self, listed: Sequence[PersonNotification], awaited: Sequence[AwaitedGeneration]) -> None:
        """Choose the next question, if each of these generations has an id to ask for."""
        vague = frozenset(item.identity for item in listed if _is_vague(item))
        if vague != self._vague:
            self._vague, self._asked = vague, set()
        tasks = [generation.id_task for generation in awaited]
        self._question = None
        if vague and all(tasks) and self._filters is not False:
            first = NO_TASK if self._filters is None else None
            self._question = first or next((task for task in tasks if task not in self._asked), None)

    def question(self) -> str | None:
        """Return the id of the request to ask for now; None: list all notifications."""
        question, self._question = self._question, None
        return question

    def answer(self, id_task: str, listed: Sequence[PersonNotification]) -> None:
        """Note which errors PiktID shows for a request."""
        marks = [item.identity for item in listed if item.identity in self._vague]
        if id_task == NO_TASK:
            self._filters = not marks
            return
        self._asked.add(id_task)
        self._found |= dict.fromkeys(marks, id_task)

    def give_up(self) -> None:
        """Ask nothing any more: PiktID refused a question."""
        self._filters = False


def _is_vague(item: PersonNotification) -> bool:
    named = item.id_image or item.id_task
    return item.name == "error" and not named and (not item.activity or "generate" in item.activity)


def _with_task(item: PersonNotification, id_task: str | None) -> PersonNotification:
    return item.model_copy(update={"data": {**item.data, "id_task": id_task}}) if id_task else item
