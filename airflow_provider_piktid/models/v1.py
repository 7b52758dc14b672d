# SPDX-License-Identifier: Apache-2.0
"""Models of the v1 API: targets, persons, notifications and keywords."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping as MappingABC
from typing import Annotated, Any, Final

from pydantic import AliasChoices, Field, field_validator, model_validator

from airflow_provider_piktid.models._base import (
    Flag,
    Index,
    Mapping,
    Number,
    Objects,
    RequiredText,
    Text,
    Whole,
    WireModel,
    Word,
    server_text,
)

#: The only documented group of keywords.
LOCATION: Final = "Location"

#: Values of the group: eight documented ones, and ``Central Africa`` from PiktID's newer client.
LOCATIONS: Final = (
    "Africa",
    "Central Africa",
    "East Asia",
    "Middle East",
    "North America",
    "North Europe",
    "Oceania",
    "South America",
    "South Europe",
)

#: Most persons in one picture.
MAX_PERSONS: Final = 30

#: Seconds that PiktID keeps a notification, and an uploaded picture.
NOTIFICATION_SECONDS: Final = 600.0
TARGET_SECONDS: Final = 24 * 3600.0

#: Names of the notifications about a finished person, and about a failure.
GENERATED: Final = "edit_generate"
FAILED: Final = "error"


class Coordinates(WireModel):
    """
    One person in a picture. Lengths are fractions of the picture's width and height, from its top left.

    :param id: Number of the person, from 0.
    :param approve: False if the face is too blurry to be used; None if not returned.
    """

    id: Index
    approve: Flag = None
    box_height: Number = Field(None, validation_alias=AliasChoices("boxHeight", "box_height"))
    box_width: Number = Field(None, validation_alias=AliasChoices("boxWidth", "box_width"))
    center_x: Number = Field(None, validation_alias=AliasChoices("centerX", "center_x"))
    center_y: Number = Field(None, validation_alias=AliasChoices("centerY", "center_y"))
    corner_x: Number = Field(None, validation_alias=AliasChoices("cornerX", "corner_x"))
    corner_y: Number = Field(None, validation_alias=AliasChoices("cornerY", "corner_y"))

    @property
    def area(self) -> float:
        """Fraction of the picture that the face covers; 0 if unknown."""
        return (self.box_height or 0.0) * (self.box_width or 0.0)


class Target(WireModel):
    """
    An uploaded picture, in every documented shape.

    :param id_image: From ``id_image``, otherwise ``image_id``.
    :param num_persons: The API's count; None if not returned.
    :param coordinates_list: At the top level, otherwise under ``faces``.
    """

    id_image: RequiredText = Field(validation_alias=AliasChoices("id_image", "image_id"))
    num_persons: Whole = None
    coordinates_list: Annotated[list[Coordinates], Objects] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _unnest(cls, value: Any) -> Any:
        if not isinstance(value, MappingABC):
            return value
        faces = value.get("faces")
        nested = faces if isinstance(faces, MappingABC) else {}
        missing = {
            name: nested[name]
            for name in ("coordinates_list", "num_persons")
            if value.get(name) is None and nested.get(name) is not None
        }
        return {**value, **missing}

    @property
    def count(self) -> int:
        """Number of persons: the API's count or its list, whichever is larger."""
        return max(self.num_persons or 0, len(self.coordinates_list))


class AccessToken(WireModel):
    """
    The answer to a login, without the refresh token: if presented twice, it revokes every token of the account.
    """

    access_token: RequiredText
    access_expiration: Text = None

    @model_validator(mode="before")
    @classmethod
    def _forget(cls, value: Any) -> Any:
        if not isinstance(value, MappingABC):
            return value
        return {name: item for name, item in value.items() if not str(name).startswith("refresh")}

    def __repr_args__(self) -> Any:
        return [("access_expiration", self.access_expiration)]


class GenerationAccepted(WireModel):
    """The answer to a paid request. Its body is undocumented, and not needed."""

    id_task: Text = None
    status: Word = ""


class PersonNotification(WireModel):
    """
    One entry of the account's list. It expires after 600 seconds.

    :param id: Needed only for deletion; may be missing.
    :param timestamp: Epoch seconds by the server's clock, None if missing.
    """

    id: Whole = None
    name: Word = ""
    timestamp: Number = None
    data: Mapping = Field(default_factory=dict, repr=False)

    @field_validator("data", mode="before")
    @classmethod
    def _decoded(cls, value: Any) -> Any:
        return _loads(value) if isinstance(value, str) else value

    @property
    def identity(self) -> int | str:
        """The id, or a digest of the content if it has no id: unique among notifications."""
        if self.id is not None:
            return self.id
        text = json.dumps([self.name, self.timestamp, self.data], sort_keys=True, default=str)
        return "~" + hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def id_image(self) -> str | None:
        return self._text("address", "id_image", "image_id")

    @property
    def id_person(self) -> int | None:
        return _int(self.data.get("id_person"))

    @property
    def id_task(self) -> str | None:
        return self._text("id_task", "task_id")

    @property
    def keyword(self) -> tuple[str, str] | None:
        """Group and value, comparable with :func:`keyword_key`; None if missing or not readable."""
        return keyword_key(self.data.get("keyword"))

    @property
    def link(self) -> str | None:
        """Link to the finished picture."""
        links = self.data.get("links")
        for item in links if isinstance(links, list) else [links]:
            found = item.get("l") if isinstance(item, MappingABC) else None
            if isinstance(found, str) and found:
                return found
        return None

    @property
    def message(self) -> str:
        """The reason in an error notification, as one line without links."""
        return server_text(self._text("msg", "message", "error", "description")) or "no reason given"

    @property
    def activity(self) -> str:
        """The activity that failed, as the API names it; empty if missing."""
        tasks = self.data.get("tasks", "")
        words = tasks if isinstance(tasks, list) else [tasks]
        return ",".join(word for word in words if isinstance(word, str)).lower()

    def _text(self, *names: str) -> str | None:
        for name in names:
            value = self.data.get(name)
            if isinstance(value, str) and value:
                return value
            if isinstance(value, int) and not isinstance(value, bool):
                return str(value)
        return None


def keyword_key(value: object) -> tuple[str, str] | None:
    """
    Return the group and value of a keyword in any form: object, JSON text, JSON in JSON, or word.

    :return: Group and value, lower case, equal for equal keywords; None if it is not a keyword.
    """
    for _ in range(3):
        if not isinstance(value, str):
            break
        decoded = _loads(value)
        if decoded is None:
            word = " ".join(value.split()).lower()
            return (LOCATION.lower(), word) if word else None
        value = decoded
    if isinstance(value, MappingABC) and len(value) == 1:
        ((group, word),) = value.items()
        if isinstance(word, str) and word.strip():
            return str(group).strip().lower(), " ".join(word.split()).lower()
    return None


def as_keyword(value: object, *, allow_unknown: bool = False) -> dict[str, str]:
    """
    Return a keyword in the form that the API expects.

    :param value: ``{"Location": "Oceania"}``, the same as JSON text, or the plain word ``Oceania``.
    :param allow_unknown: Accept undocumented groups and values; an object is passed through. Default: False.
    :raises ValueError: Not a keyword, or an unknown one; the message lists the known ones.
    """
    key = keyword_key(value)
    if key is None:
        raise ValueError(
            f"{value!r} is not a keyword. Use one group and one value, such as {{'Location': 'Oceania'}}, or the "
            "plain word."
        )
    known = {name.lower(): name for name in LOCATIONS}
    decoded = _loads(value) if isinstance(value, str) else value
    if allow_unknown and isinstance(decoded, MappingABC):
        ((group, word),) = decoded.items()
        return {str(group): str(word)}
    if key[0] == LOCATION.lower() and key[1] in known:
        return {LOCATION: known[key[1]]}
    if allow_unknown:
        return {LOCATION: " ".join(str(value).split())}
    raise ValueError(
        f"{value!r} is not a documented keyword. Known: {LOCATION} with {', '.join(LOCATIONS)}. Correct it, or set "
        "allow_unknown_keywords=True to send it anyway."
    )


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _int(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
        return int(number) if number.is_integer() else None
    except (ValueError, OverflowError):
        return None
