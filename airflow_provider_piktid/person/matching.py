# SPDX-License-Identifier: Apache-2.0
"""
Match the notifications of an account to generations.

Pure: no Airflow, no HTTP. An account has one list of notifications for all of its users.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.person.record import Generation

if TYPE_CHECKING:
    from airflow_provider_piktid.models.v1 import PersonNotification

#: Seconds by which PiktID's clock may be behind before an error counts as older than the request.
ERROR_SLACK_SECONDS = 5.0


@dataclass(frozen=True)
class AwaitedGeneration:
    """
    A generation that a task waits for.

    :param name: Its label.
    :param keyword: Group and value, lower case.
    :param since: Epoch seconds of the request; older notifications are not about it.
    """

    name: str
    id_image: str
    id_person: int
    keyword: tuple[str, str]
    since: float
    id_task: str | None = None

    @classmethod
    def of(cls, item: Generation) -> AwaitedGeneration:
        group, word = (" ".join(part.split()).lower() for part in item.keyword)
        return cls(
            item.label,
            item.id_image or "",
            item.id_person,
            (group, word),
            item.intent_at or 0.0,
            item.id_task,
        )

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "keyword": list(self.keyword)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> AwaitedGeneration:
        return cls(**{**value, "keyword": (str(value["keyword"][0]), str(value["keyword"][1]))})


@dataclass
class Findings:
    """
    The outcomes of generations, as found in a list of notifications.

    :param found: Name to the first notification with its result.
    :param failed: Name to the reason.
    :param ids: Identities of notifications that are certainly about these generations.
    :param assumed: Names whose notification did not contain the keyword.
    :param unnamed: Texts of errors without ids that may be about one of these generations, or about others of the
        account.
    """

    found: dict[str, PersonNotification] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    ids: list[int | str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)

    @property
    def settled(self) -> set[str]:
        return {*self.found, *self.failed}


def match(
    notifications: Iterable[PersonNotification],
    awaited: Sequence[AwaitedGeneration],
    *,
    used: Collection[int | str] = (),
) -> Findings:
    """
    Find the notifications about some generations in the account's list.

    :param used: Identities of notifications to skip. Default: none.
    """
    findings = Findings()
    fresh = [item for item in notifications if item.identity not in used]
    images = {generation.id_image for generation in awaited}
    results = [item for item in fresh if item.name == "edit_generate" and item.id_image in images]
    # Complete notifications first, so that fewer generations are left for the ambiguous ones.
    for item in sorted(results, key=lambda item: (item.keyword is None) + (item.id_person is None)):
        _assign_result(item, awaited, findings)
    _assign_errors([item for item in fresh if item.name == "error"], awaited, findings)
    return findings


def _assign_result(
    item: PersonNotification, awaited: Sequence[AwaitedGeneration], findings: Findings
) -> None:
    fits = [
        generation
        for generation in awaited
        if generation.id_image == item.id_image
        and item.id_person in (None, generation.id_person)
        and item.keyword in (None, generation.keyword)
    ]
    whole = item.keyword is not None and item.id_person is not None
    target = next(
        (generation for generation in fits if generation.name not in findings.settled),
        fits[0] if whole and fits else None,
    )
    if target is None:
        return
    findings.ids.append(item.identity)
    if target.name in findings.settled:
        return
    if len(fits) > 1:
        findings.assumed.append(target.name)
    if item.link:
        findings.found[target.name] = item
    else:
        findings.failed[target.name] = "the notification has no link"


def _assign_errors(
    errors: Sequence[PersonNotification], awaited: Sequence[AwaitedGeneration], findings: Findings
) -> None:
    """
    Match errors to generations, specific ones first. An ambiguous error is not matched; the deadline then decides.

    An error without ids is always ambiguous: other workers and triggerers may use the account.
    """
    of_image: dict[str, list[PersonNotification]] = {}
    for item in errors:
        if item.activity and "generate" not in item.activity:
            continue
        fits = [generation for generation in _open(awaited, findings) if _may_concern(item, generation)]
        if fits and not (item.id_task or item.id_image):
            findings.unnamed.append(item.message)
        elif len(fits) == 1:
            _fail(item, fits[0], findings)
        elif fits and item.id_image:
            of_image.setdefault(item.id_image, []).append(item)
    for id_image, items in of_image.items():
        rest = [generation for generation in _open(awaited, findings) if id_image == generation.id_image]
        # As many errors as outstanding generations: all of them failed.
        if len(items) >= len(rest):
            for item, generation in zip(items, rest, strict=False):
                _fail(item, generation, findings)


def _open(awaited: Sequence[AwaitedGeneration], findings: Findings) -> list[AwaitedGeneration]:
    return [generation for generation in awaited if generation.name not in findings.settled]


def _may_concern(item: PersonNotification, generation: AwaitedGeneration) -> bool:
    """Return whether an error can be about this generation."""
    if item.id_task and generation.id_task:
        return item.id_task == generation.id_task
    return (
        item.id_image in (None, generation.id_image)
        and item.id_person in (None, generation.id_person)
        and item.keyword in (None, generation.keyword)
        and (item.timestamp is None or item.timestamp >= generation.since - ERROR_SLACK_SECONDS)
    )


def _fail(item: PersonNotification, generation: AwaitedGeneration, findings: Findings) -> None:
    findings.failed[generation.name] = item.message
    findings.ids.append(item.identity)
