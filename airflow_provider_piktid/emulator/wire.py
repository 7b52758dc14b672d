# SPDX-License-Identifier: Apache-2.0
"""HTTP helpers of both APIs: error responses, JSON bodies, validation, paging."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

T = TypeVar("T")
Json = dict[str, Any]


class Refused(Exception):
    """
    An error response.

    :param body: JSON value, text, or None for an empty body.
    """

    def __init__(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status}")
        self.status = status
        self.body = body
        self.headers = headers or {}

    def response(self) -> Response:
        """Return the response."""
        if isinstance(self.body, (dict, list)):
            return JSONResponse(self.body, self.status, self.headers)
        return Response(self.body, self.status, self.headers)


async def read_json(request: Request) -> Any:
    """Return the JSON body; None if it is empty or invalid."""
    raw = await request.body()
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return None


async def read_object(request: Request) -> Json:
    """Return the JSON object in the body; an empty one if the body is anything else."""
    body = await read_json(request)
    return body if isinstance(body, dict) else {}


def json_in(text: Any) -> Any:
    """Return the JSON value of a text; None if it is not a text or not JSON."""
    try:
        return json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None


class Check:
    """
    Read the fields of a request and collect validation errors.

    :param values: Body, form or query as a mapping.
    :param position: Where the values come from: ``body``, ``form`` or ``query``.
    :param status: Status of the error response.
    """

    def __init__(self, values: Any, *, position: str = "body", status: int = 422) -> None:
        self._position = position
        self._status = status
        self._known: set[str] = set()
        self._detail: list[Json] = []
        self._values: Any = values
        if not hasattr(values, "get"):
            self._values = {}
            self.wrong(None, "A JSON object is required")

    def wrong(self, field: str | None, message: str) -> None:
        """Add a validation error."""
        self._detail.append({"field": field, "message": message, "position": self._position})

    def take(self, field: str, *, required: bool = False) -> Any:
        """Return the raw value, or None."""
        self._known.add(field)
        value = self._values.get(field)
        if value is None and required:
            self.wrong(field, "Field required")
        return value

    def text(self, field: str, *, required: bool = False, longest: int = 1024) -> str | None:
        """Return a string of 1 to ``longest`` characters."""
        value = self.take(field, required=required)
        if value is None:
            return None
        if not isinstance(value, str):
            self.wrong(field, "Input should be a valid string")
            return None
        if not 1 <= len(value) <= longest:
            self.wrong(field, f"String should have 1 to {longest} characters")
            return None
        return value

    def choice(self, field: str, choices: Sequence[str], default: str) -> str:
        """Return one of ``choices``."""
        value = self.take(field)
        if value is None:
            return default
        if value not in choices:
            self.wrong(field, f"Input should be one of {', '.join(choices)}")
            return default
        return str(value)

    def number(self, field: str, default: int, low: int, high: int) -> int:
        """Return an integer between ``low`` and ``high``; a form or query may send digits."""
        value = self.take(field)
        if value is None:
            return default
        if isinstance(value, str) and self._position != "body":
            value = int(value) if value.lstrip("-").isdecimal() else value
        if isinstance(value, bool) or not isinstance(value, int):
            self.wrong(field, "Input should be a valid integer")
            return default
        if not low <= value <= high:
            self.wrong(field, f"Input should be between {low} and {high}")
            return default
        return value

    def flag(self, field: str, default: bool) -> bool:
        """Return a boolean; a form or query may send ``true`` or ``false``."""
        value = self.take(field)
        if value is None:
            return default
        if (
            isinstance(value, str)
            and self._position != "body"
            and value.lower() in ("true", "false", "1", "0")
        ):
            return value.lower() in ("true", "1")
        if not isinstance(value, bool):
            self.wrong(field, "Input should be a valid boolean")
            return default
        return value

    def texts(self, field: str, *, longest: int | None = None) -> list[str]:
        """Return a non-empty list of strings."""
        value = self.take(field, required=True)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            self.wrong(field, "Input should be a list of strings")
            return []
        if not value or (longest is not None and len(value) > longest):
            self.wrong(
                field, f"List should have 1 to {longest} items" if longest else "List should have items"
            )
            return []
        return value

    def adopt(self, field: str, inner: Check) -> None:
        """Add the errors of the object in ``field``."""
        for item in inner._detail:
            self.wrong(f"{field}.{item['field']}", item["message"])

    def nothing_else(self) -> None:
        """Add an error for each unknown field."""
        for field in self._values:
            if field not in self._known:
                self.wrong(field, "Extra inputs are not permitted")

    def done(self) -> None:
        """
        Refuse the request if there are errors.

        :raises Refused: With the API's validation body.
        """
        if self._detail:
            raise Refused(self._status, {"error": "Invalid request", "detail": self._detail})


def page_of(items: Sequence[T], page: int, per_page: int) -> tuple[list[T], Json]:
    """Return one page (1-based) and its ``pagination`` block."""
    pages = math.ceil(len(items) / per_page)
    block = {
        "page": page,
        "per_page": per_page,
        "total": len(items),
        "pages": pages,
        "has_next": page < pages,
        "has_prev": page > 1,
    }
    return list(items[(page - 1) * per_page : page * per_page]), block
