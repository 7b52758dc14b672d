# SPDX-License-Identifier: Apache-2.0
"""Stream, list and delete v2 notifications."""

from __future__ import annotations

import json
from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..faults import STREAM_KINDS
from ..state import State
from ..wire import Check, Refused, read_json
from .checks import body_check, finish
from .login import guard
from .notification_store import NotificationFilter
from .stream import EventStream


def guard_stream(request: Request, state: State) -> None:
    """Refuse a stream without a valid token in header or query."""
    token = request.query_params.get("token")
    if token is None or not state.v2.tokens.is_valid(token):
        guard(request, state)


def values_of(given: Iterable[str]) -> set[str]:
    """Return the values of a list: repeated, comma-separated, or a JSON list."""
    found: set[str] = set()
    for text in given:
        try:
            decoded = json.loads(text)
        except ValueError:
            decoded = None
        items = decoded if isinstance(decoded, list) else text.split(",")
        found.update(str(item).strip() for item in items)
    return found - {""}


def _in_query(request: Request, name: str) -> set[str]:
    query = request.query_params
    return values_of([*query.getlist(name), *query.getlist(f"{name}[]")])


async def stream_events(request: Request, state: State) -> Response:
    """``GET /notifications/events``."""
    faults = state.faults.take_each("events", STREAM_KINDS)
    if "no_stream" in faults:
        raise Refused(503, {"error": "Streaming is not available"})
    wanted = NotificationFilter(*(_in_query(request, name) for name in ("id_task", "id_image", "name_list")))
    return EventStream(state.v2.notifications, wanted, faults, state.settings.keepalive_seconds)


async def delete_notification(request: Request, state: State) -> Response:
    """``DELETE /notifications/{id}``."""
    if not state.v2.notifications.delete(request.path_params["id"]):
        raise Refused(404, {"error": "Notification not found"})
    return JSONResponse({"success": True})


def _list_of(check: Check, field: str, *, required: bool = False) -> set[str]:
    value = check.take(field, required=required)
    if value is None:
        return set()
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        check.wrong(field, "Input should be a string or a list of strings")
        return set()
    return values_of(items)


async def list_notifications(request: Request, state: State) -> Response:
    """``POST /notifications``: a bare list."""
    if state.variants["notifications_post"] == "404":
        raise Refused(404)
    check = body_check(state, await read_json(request))
    jobs = _list_of(check, "id_task")
    names = _list_of(check, "name_list", required=True)
    finish(state, check)
    wanted = NotificationFilter(jobs, set(), names)
    return JSONResponse([n.as_dict() for n in state.v2.notifications.current() if wanted(n)])
