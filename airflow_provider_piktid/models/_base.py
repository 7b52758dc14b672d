# SPDX-License-Identifier: Apache-2.0
"""The base of all models: unknown fields are kept, invalid values are tolerated, links are not printed."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Iterable
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict

#: Characters of a server's text that are read for a message; a presigned link has up to two thousand.
MAX_WORDS: Final = 10_000
#: Characters of a server's text that a model keeps.
MAX_SERVER_TEXT: Final = 500
#: Levels of nested JSON that are kept where any is possible.
MAX_DEPTH: Final = 20

_SCHEME: Final = string.ascii_letters + string.digits + "+.-"
_SIGNED: Final = ("x-amz-", "x-goog-", "signature=")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class WireModel(BaseModel):
    """
    Base of all answers.

    Unknown fields are kept and can be read as attributes, but are not in ``repr``: a new field may contain a
    link. Links in known text fields are replaced there.
    """

    model_config = ConfigDict(
        extra="allow", hide_input_in_errors=True, protected_namespaces=(), populate_by_name=True
    )

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        known = type(self).model_fields
        for name, value in super().__repr_args__():
            if name in known:
                yield name, _shown(value) if isinstance(value, str) else value

    def __str__(self) -> str:
        return repr(self)


def one_line(text: str, limit: int = 200) -> str:
    """Return a server's words as one line without links, at most ``limit`` characters long."""
    words = " ".join(_without_link(word) for word in text[:MAX_WORDS].split())
    line = " ".join(_CONTROL.sub(" ", words).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _without_link(word: str) -> str:
    """Replace the link in a word; a word that looks like a part of a presigned link is replaced completely."""
    before, separator, _ = word.partition("://")
    if separator:
        return before.rstrip(_SCHEME) + "<link>"
    return "<link>" if any(mark in word.lower() for mark in _SIGNED) else word


def _shown(value: str) -> str:
    return " ".join(_without_link(word) for word in value.split(" "))


def _clean(value: str) -> str:
    """Remove lone surrogates, which JSON can carry and UTF-8 cannot."""
    return value.encode("utf-8", "replace").decode("utf-8")


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return None


def server_text(value: object) -> str | None:
    """Return a text in the server's own words as one line without links; None for anything else."""
    text = _text(value)
    return None if text is None else one_line(text, MAX_SERVER_TEXT)


def _required_text(value: object) -> str:
    text = _text(value)
    if not text:
        raise ValueError("must be a text that is not empty")
    return text


def _word(value: object) -> str:
    return (_text(value) or "").strip().lower()


def _required_word(value: object) -> str:
    word = _word(value)
    if not word:
        raise ValueError("must be a word")
    return word


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _whole(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    number = _number(value)
    return int(number) if number is not None and number.is_integer() else None


def _index(value: object) -> int:
    number = _whole(value)
    if number is None or number < 0:
        raise ValueError("must be a whole number from 0")
    return number


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _plain_data(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    data: dict[str, Any] = _without_links(value, MAX_DEPTH)
    return data


def _without_links(value: Any, depth: int) -> Any:
    """Return JSON without links; what lies too deep, or is not a number, is left out."""
    if isinstance(value, str):
        return _shown(_clean(value))
    if isinstance(value, dict) and depth:
        return {_clean(key): _without_links(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list) and depth:
        return [_without_links(item, depth - 1) for item in value]
    is_left_out = isinstance(value, dict | list) or (isinstance(value, float) and not math.isfinite(value))
    return None if is_left_out else value


def _objects(value: object) -> list[Any]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


#: Text, or a number as text; anything else counts as absent.
Text = Annotated[str | None, BeforeValidator(_text)]
#: Text in the server's own words, which may quote a link: one line, links replaced by ``<link>``.
ServerText = Annotated[str | None, BeforeValidator(server_text)]
#: Required text.
RequiredText = Annotated[str, BeforeValidator(_required_text)]
#: A status word, lower case; empty if absent.
Word = Annotated[str, BeforeValidator(_word)]
#: A required status word, lower case.
RequiredWord = Annotated[str, BeforeValidator(_required_word)]
#: A finite number; anything else counts as absent.
Number = Annotated[float | None, BeforeValidator(_number)]
#: A whole number; anything else counts as absent.
Whole = Annotated[int | None, BeforeValidator(_whole)]
#: A required whole number from 0.
Index = Annotated[int, BeforeValidator(_index)]
#: True or false; anything else counts as absent.
Flag = Annotated[bool | None, BeforeValidator(_flag)]
#: An object; anything else counts as empty.
Mapping = Annotated[dict[str, Any], BeforeValidator(_mapping)]
#: A required object of any JSON in the server's words, which goes to other tasks: links are replaced by ``<link>``.
PlainData = Annotated[dict[str, Any], BeforeValidator(_plain_data)]
#: Validator for a list of models: entries that are not objects are dropped.
Objects = BeforeValidator(_objects)
