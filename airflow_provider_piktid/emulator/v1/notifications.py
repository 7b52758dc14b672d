# SPDX-License-Identifier: Apache-2.0
"""List and delete v1 notifications."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..faults import LIST_KINDS, Fault
from ..state import State
from ..wire import read_object
from .refusals import invalid, refusal

OPERATION = "v1_notifications"
#: Fraction of the shortest interval by which a poll may be early, since network latency varies.
LEEWAY = 0.02


def _names(state: State, sent: Any) -> set[str]:
    """Return the names from a list or a comma-separated text, stripped."""
    items = sent.split(",") if isinstance(sent, str) else ([] if sent is None else sent)
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise invalid(state, "name_list must be a string or a list of strings")
    return {name.strip() for item in items for name in item.split(",")} - {""}


def _text(state: State, body: dict[str, Any], field: str) -> str | None:
    value = body.get(field)
    if value is not None and not isinstance(value, str):
        raise invalid(state, f"{field} must be a string")
    return value


def _admit(state: State) -> None:
    state.v1.counters.poll()
    if state.variants["v1_poll_limit"] == "off":
        return
    with state.lock:
        now = state.clock.time()
        wait = state.v1.polled_at + state.settings.poll_seconds * (1 - LEEWAY) - now
        if wait <= 0 or state.variants["rate_counts"] == "all":
            state.v1.polled_at = now
    if wait > 0:
        raise refusal(429, "Too many requests", state.retry_after(wait))


async def list_notifications(request: Request, state: State) -> Response:
    """``POST /api/notification_by_name_json``; every field is optional."""
    _admit(state)
    body = await read_object(request)
    names = _names(state, body.get("name_list"))
    image, task = _text(state, body, "id_image"), _text(state, body, "id_task")
    found: list[Any] = [
        state.v1.notifications.shape(item)
        for item in state.v1.notifications.current()
        if (not names or item.name in names)
        and (image is None or item.id_image == image)
        and (task is None or item.id_task == task)
    ]
    faults = state.faults.take_each(OPERATION, LIST_KINDS)
    return JSONResponse({"notifications_list": _with_faults(found, faults, state.clock.time())})


def _with_faults(found: list[Any], faults: dict[str, Fault], now: float) -> list[Any]:
    if "double" in faults:
        found = [item for item in found for _ in range(2)]
    if "reorder" in faults:
        found = found[::-1]
    if "foreign" in faults:
        count = int(faults["foreign"].get("n", 100))
        found = [_foreign(number, now) for number in range(count)] + found
    if "null_data" in faults:
        found = [{"id": 9_000_000, "name": "edit_generate", "timestamp": now, "data": None}, *found]
    if "junk" in faults:
        found = [None, "text", 7, [], {}, {"name": None, "id": "x", "data": "{"}, *found]
    return found


def _foreign(number: int, now: float) -> dict[str, Any]:
    name = ("new_generation", "edit_generate", "error", "swap")[number % 4]
    data: dict[str, Any] = (
        {"tasks": "swap", "msg": "not ours"}
        if name == "error"
        else {
            "id_person": 0,
            "address": f"foreign-{number}",
            "keyword": '{"Location": "Oceania"}',
            "links": [{"l": "http://127.0.0.1:9/foreign.png", "n": "foreign.png", "t": None}],
        }
    )
    return {"id": 8_000_000 + number, "name": name, "timestamp": now, "data": data}


async def delete_notification(request: Request, state: State) -> Response:
    """``DELETE /api/notification/delete_json`` with a body."""
    number = (await read_object(request)).get("id")
    if isinstance(number, bool) or not isinstance(number, int):
        raise invalid(state, "id is required and must be an integer")
    if not state.v1.notifications.delete(number) and state.variants["v1_delete_unknown"] == "404":
        raise refusal(404, "Notification not found")
    return JSONResponse({"id": number, "message": "Notification deleted"})
