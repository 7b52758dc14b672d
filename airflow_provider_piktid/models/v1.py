# SPDX-License-Identifier: Apache-2.0
"""Wire shapes of the v1 API: targets, persons, notifications, and what a keyword may be."""

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

#: The only group of keywords that the documents define.
LOCATION: Final = "Location"

#: Its values: eight of the documents, and ``Central Africa`` of PiktID's newer client.
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

#: Persons that PiktID takes in one picture.
MAX_PERSONS: Final = 30

#: Seconds that PiktID keeps a notification, and an uploaded picture.
NOTIFICATION_SECONDS: Final = 600.0
TARGET_SECONDS: Final = 24 * 3600.0

#: What tells of a finished person, and of a failure.
GENERATED: Final = "edit_generate"
FAILED: Final = "error"


class Coordinates(WireModel):
    """
    One person in a picture. Lengths are shares of the picture's width and height, from its top left.

    :param id: Number of the person, from 0.
    :param approve: False if the face is too blurry to be used; None if the API did not say.
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
        """Share of the picture that the face covers; 0 if the box is not known."""
        return (self.box_height or 0.0) * (self.box_width or 0.0)


class Target(WireModel):
    """
    An uploaded picture, in every shape that the sources show.

    :param id_image: From ``id_image``, else ``image_id``.
    :param num_persons: As the API counts; None if it did not say.
    :param coordinates_list: At the top level, else under ``faces``.
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
        """Number of persons: what the API counts, or what it lists."""
        return max(self.num_persons or 0, len(self.coordinates_list))


class AccessToken(WireModel):
    """
    What a login gives, its refresh token left out: presenting one twice revokes every token of the account.
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
    """Answer to a paid request. Its body is undocumented: nothing in it is needed."""

    id_task: Text = None
    status: Word = ""


class PersonNotification(WireModel):
    """
    One entry of the account's list. It is gone 600 seconds after it was made.

    :param id: Needed for deletion only; the oldest sample has none.
    :param timestamp: Epoch seconds by the server's clock, None if absent.
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
        """The id, or for one without id a digest of what it says: what tells it from others."""
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
        """Group and value, comparable with :func:`keyword_key`; None if absent or not understood."""
        return keyword_key(self.data.get("keyword"))

    @property
    def link(self) -> str | None:
        """Address of the finished picture."""
        links = self.data.get("links")
        for item in links if isinstance(links, list) else [links]:
            found = item.get("l") if isinstance(item, MappingABC) else None
            if isinstance(found, str) and found:
                return found
        return None

    @property
    def message(self) -> str:
        """The reason that an error notification gives, as one line without links."""
        return server_text(self._text("msg", "message", "error", "description")) or "no reason given"

    @property
    def activity(self) -> str:
        """Which activity an error is about, as the API calls it; empty if it did not say."""
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
    Give what makes two keywords the same, whatever shape they come in: object, JSON text, JSON in JSON, word.

    :return: Group and value, lower case; None for what is no keyword.
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
    Give a keyword as the API wants it.

    :param value: ``{"Location": "Oceania"}``, the same as JSON text, or the plain word ``Oceania``.
    :param allow_unknown: Take groups and values that the documents do not list; an object goes as it is.
    :raises ValueError: No keyword, or an unknown one; the message lists the known ones.
    """
    key = keyword_key(value)
    if key is None:
        raise ValueError(
            f"{value!r} is no keyword. Give one group and one value, such as {{'Location': 'Oceania'}}, or the "
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
        f"{value!r} is no keyword that PiktID documents. Known: {LOCATION} with {', '.join(LOCATIONS)}. Correct it, "
        "or set allow_unknown_keywords=True to send it all the same."
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
