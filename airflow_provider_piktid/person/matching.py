# SPDX-License-Identifier: Apache-2.0
"""
Which notification is about which generation.

Pure: no Airflow, no HTTP. Notifications of an account come in one list, for everybody who uses it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.person.record import Generation

if TYPE_CHECKING:
    from airflow_provider_piktid.models.v1 import PersonNotification

#: How far PiktID's clock may lag behind ours before an error counts as older than the request.
ERROR_SLACK_SECONDS = 5.0


@dataclass(frozen=True)
class AwaitedGeneration:
    """
    A generation that somebody waits for.

    :param name: What the waiting side calls it.
    :param keyword: Group and value, lower case.
    :param since: Epoch seconds of the request: what is older is no answer to it.
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
    What a list of notifications says about some generations.

    :param found: Name to the notification with the result; the first one counts.
    :param failed: Name to the reason.
    :param ids: Notifications that are certainly about these generations, by identity.
    :param assumed: Names whose notification did not say the keyword.
    """

    found: dict[str, PersonNotification] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    ids: list[int | str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)

    @property
    def settled(self) -> set[str]:
        return {*self.found, *self.failed}


def match(
    notifications: Iterable[PersonNotification],
    wanted: Sequence[AwaitedGeneration],
    *,
    used: Collection[int | str] = (),
    alone: bool = False,
) -> Findings:
    """
    Find what concerns some generations in the account's list, wherever it stands in there.

    :param used: Notifications to pass over, by identity.
    :param alone: Nothing else is in flight on the account, as far as is known: an error that names nothing is
        then about the last generation that is open.
    """
    findings = Findings()
    fresh = [item for item in notifications if item.identity not in used]
    images = {want.id_image for want in wanted}
    results = [item for item in fresh if item.name == "edit_generate" and item.id_image in images]
    # Those that say everything first: the others then have less to be confused with.
    for item in sorted(results, key=lambda item: (item.keyword is None) + (item.id_person is None)):
        _take(item, wanted, findings)
    _blame([item for item in fresh if item.name == "error"], wanted, findings, alone=alone)
    return findings


def _take(item: PersonNotification, wanted: Sequence[AwaitedGeneration], findings: Findings) -> None:
    fits = [
        want
        for want in wanted
        if want.id_image == item.id_image
        and item.id_person in (None, want.id_person)
        and item.keyword in (None, want.keyword)
    ]
    whole = item.keyword is not None and item.id_person is not None
    target = next(
        (want for want in fits if want.name not in findings.settled), fits[0] if whole and fits else None
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


def _blame(
    errors: Sequence[PersonNotification],
    wanted: Sequence[AwaitedGeneration],
    findings: Findings,
    *,
    alone: bool,
) -> None:
    """Attribute errors, those first that name more. What cannot be told is left to the deadline."""
    vague: dict[str | None, list[PersonNotification]] = {}
    for item in errors:
        if item.activity and "generate" not in item.activity:
            continue
        fits = [want for want in _open(wanted, findings) if _names(item, want)]
        if len(fits) == 1 and (item.id_task or item.id_image):
            _fail(item, fits[0], findings)
        elif fits and (item.id_image or alone):
            vague.setdefault(item.id_image, []).append(item)
    for id_image, items in vague.items():
        rest = [want for want in _open(wanted, findings) if id_image in (None, want.id_image)]
        mine = [item for item in items if item.id_image or _is_after(item, rest)]
        # As many errors as open generations: all of them failed, whichever is whose.
        if rest and len(mine) >= len(rest) and (id_image is not None or len(rest) == 1):
            for item, want in zip(mine, rest, strict=False):
                _fail(item, want, findings)


def _open(wanted: Sequence[AwaitedGeneration], findings: Findings) -> list[AwaitedGeneration]:
    return [want for want in wanted if want.name not in findings.settled]


def _names(item: PersonNotification, want: AwaitedGeneration) -> bool:
    """Whether nothing in an error speaks against its being about this generation."""
    if item.id_task and want.id_task:
        return item.id_task == want.id_task
    return (
        item.id_image in (None, want.id_image)
        and item.id_person in (None, want.id_person)
        and item.keyword in (None, want.keyword)
        and (item.timestamp is None or item.timestamp >= want.since - ERROR_SLACK_SECONDS)
    )


def _is_after(item: PersonNotification, wanted: Sequence[AwaitedGeneration]) -> bool:
    """Whether an error that names nothing is provably not older than the request."""
    return item.timestamp is not None and all(
        item.timestamp >= want.since - ERROR_SLACK_SECONDS for want in wanted
    )


def _fail(item: PersonNotification, want: AwaitedGeneration, findings: Findings) -> None:
    findings.failed[want.name] = item.message
    if item.id_image or item.id_task:
        findings.ids.append(item.identity)
