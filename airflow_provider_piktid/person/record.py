# SPDX-License-Identifier: Apache-2.0
"""
Which generated person is which: the record of paid requests, and the way from notifications back to it.

Pure: no Airflow, no HTTP. The service gives no job id; image, person and keyword are all there is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_piktid.exceptions import PiktidRecordError

if TYPE_CHECKING:
    from airflow_provider_piktid.models.v1 import PersonNotification

RECORD_VERSION = 1
STATE_KEY = "piktid_generations"

#: How far the server's clock may lag behind ours before an error counts as older than the request.
CLOCK_SLACK_SECONDS = 5.0

GenerationState = Literal["planned", "intent", "requested", "done", "failed", "refused", "expired"]


@dataclass
class Generation:
    """
    One person by one keyword: one paid request and what became of it.

    :param keyword: Group and value, as sent.
    :param state: ``planned``: never sent. ``intent``: sent, or about to be; the reply was not seen.
        ``requested``: the service took it. ``done``: the result is safe. ``failed``: the service said so.
        ``refused``: not taken, nothing paid. ``expired``: made, but its notification was gone before the
        result was fetched.
    :param id_image: The uploaded picture that was asked for.
    :param asked_at: When it was about to be sent, epoch seconds.
    :param id_task: If the service gave one.
    :param file: URI of the result.
    :param error: Why there is none.
    :param asks: Paid requests so far.
    :param resubmitted: Sent again after a lost reply, as told; never a third time.
    """

    id_person: int
    keyword: tuple[str, str]
    state: GenerationState = "planned"
    id_image: str | None = None
    asked_at: float | None = None
    id_task: str | None = None
    file: str | None = None
    error: str | None = None
    asks: int = 0
    resubmitted: bool = False

    @property
    def key(self) -> tuple[int, str, str]:
        """What no two generations of a task share, letter case aside."""
        return self.id_person, self.keyword[0].lower(), self.keyword[1].lower()

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"person {self.id_person}, {self.keyword[0]} {self.keyword[1]}"

    @property
    def outstanding(self) -> bool:
        return self.state in ("intent", "requested")

    def plan_again(self) -> None:
        """Let it be asked for anew."""
        self.state, self.id_image, self.asked_at, self.id_task, self.error = "planned", None, None, None, None


@dataclass(frozen=True)
class Face:
    """
    A person in a picture.

    :param usable: False if PiktID calls the face too blurry.
    :param area: Share of the picture that the face covers.
    """

    id: int
    usable: bool = True
    area: float = 0.0


@dataclass
class PersonRecord:
    """
    All generations of a task instance.

    :param fingerprint: Of everything that decides the content and the bill, persons and keywords excepted.
    :param id_image: The uploaded picture; None if it has to be uploaded.
    :param uploaded_at: Epoch seconds; None for a picture that the DAG author named.
    :param faces: The persons in it; None if the service did not tell.
    :param used: Notifications that count no more, by identity: acted upon, or there before the first request.
    :param attached_at: When the current try of the task began, epoch seconds.
    :param refused_for_good: Whether asking again for what was refused is useless until somebody changes something.
    """

    fingerprint: str
    created_at: float
    id_image: str | None = None
    uploaded_at: float | None = None
    generations: list[Generation] = field(default_factory=list)
    faces: list[Face] | None = None
    used: list[int | str] = field(default_factory=list)
    attached_at: float = 0.0
    refused_for_good: bool = False
    version: int = RECORD_VERSION

    @property
    def job_ids(self) -> list[str]:
        """What was asked for, for messages: this API has no job ids."""
        return [item.label for item in self.generations if item.asks]

    @property
    def outstanding(self) -> list[Generation]:
        return [item for item in self.generations if item.outstanding]

    def in_state(self, *states: GenerationState) -> list[Generation]:
        return [item for item in self.generations if item.state in states]

    def to_json(self) -> dict[str, Any]:
        value = asdict(self)
        defaults = {item.name: item.default for item in fields(Generation)}
        # Thirty persons by nine keywords stay below what a state store likes to hold.
        value["generations"] = [
            {
                # Airflow's state store takes JSON's own types only.
                name: list(part) if isinstance(part, tuple) else part
                for name, part in item.items()
                if part != defaults[name]
            }
            for item in value["generations"]
        ]
        return value

    @classmethod
    def from_json(cls, value: Any) -> PersonRecord:
        """
        Rebuild a record.

        :raises PiktidRecordError: It is not one, or was written by a newer version of this package.
        """
        try:
            version = int(value["version"])
            if version > RECORD_VERSION:
                raise PiktidRecordError(
                    f"The record of generated persons has version {version}; this package knows {RECORD_VERSION}. "
                    "Update airflow-provider-piktid on the workers before running this task again."
                )
            items = [
                Generation(**{**item, "keyword": (str(item["keyword"][0]), str(item["keyword"][1]))})
                for item in value["generations"]
            ]
            return cls(
                fingerprint=str(value["fingerprint"]),
                created_at=float(value["created_at"]),
                id_image=value.get("id_image"),
                uploaded_at=value.get("uploaded_at"),
                generations=items,
                faces=None if value.get("faces") is None else [Face(**face) for face in value["faces"]],
                used=[item for item in value.get("used") or [] if isinstance(item, int | str)],
                attached_at=float(value.get("attached_at") or 0.0),
                refused_for_good=bool(value.get("refused_for_good")),
                version=version,
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise PiktidRecordError(
                "The record of generated persons cannot be understood. Look at the results that exist, then "
                "remove the record to pay anew."
            ) from error

    def want(self, persons: Iterable[int], keywords: Sequence[Mapping[str, str]]) -> None:
        """Plan one generation for each person and keyword; what is known already stays as it is."""
        known = {item.key: item for item in self.generations}
        wanted = [
            Generation(person, next(iter(keyword.items()))) for person in persons for keyword in keywords
        ]
        self.generations = [known.get(item.key, item) for item in wanted]


@dataclass(frozen=True)
class Wanted:
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
    def of(cls, item: Generation) -> Wanted:
        group, word = (" ".join(part.split()).lower() for part in item.keyword)
        return cls(
            item.label, item.id_image or "", item.id_person, (group, word), item.asked_at or 0.0, item.id_task
        )

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "keyword": list(self.keyword)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Wanted:
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
    wanted: Sequence[Wanted],
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


def _take(item: PersonNotification, wanted: Sequence[Wanted], findings: Findings) -> None:
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
    errors: Sequence[PersonNotification], wanted: Sequence[Wanted], findings: Findings, *, alone: bool
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


def _open(wanted: Sequence[Wanted], findings: Findings) -> list[Wanted]:
    return [want for want in wanted if want.name not in findings.settled]


def _names(item: PersonNotification, want: Wanted) -> bool:
    """Whether nothing in an error speaks against its being about this generation."""
    if item.id_task and want.id_task:
        return item.id_task == want.id_task
    return (
        item.id_image in (None, want.id_image)
        and item.id_person in (None, want.id_person)
        and item.keyword in (None, want.keyword)
        and (item.timestamp is None or item.timestamp >= want.since - CLOCK_SLACK_SECONDS)
    )


def _is_after(item: PersonNotification, wanted: Sequence[Wanted]) -> bool:
    """Whether an error that names nothing is provably not older than the request."""
    return item.timestamp is not None and all(
        item.timestamp >= want.since - CLOCK_SLACK_SECONDS for want in wanted
    )


def _fail(item: PersonNotification, want: Wanted, findings: Findings) -> None:
    findings.failed[want.name] = item.message
    if item.id_image or item.id_task:
        findings.ids.append(item.identity)


def output_name(stem: str, item: Generation, extension: str) -> str:
    """Name a result: ``front-1a2b3c4d_person0_oceania.jpg``. Two generations of a task never share one."""
    group, word = item.keyword
    slug = "-".join("".join(char if char.isalnum() else " " for char in word).lower().split())[:60]
    if group.lower() != "location" or not slug.isascii() or not slug:
        digest = hashlib.sha256(json.dumps(item.key).encode()).hexdigest()[:8]
        slug = f"{slug}-{digest}" if slug.isascii() and slug else digest
    return f"{stem}_person{item.id_person}_{slug}{extension}"
