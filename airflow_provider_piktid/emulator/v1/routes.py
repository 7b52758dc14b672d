# SPDX-License-Identifier: Apache-2.0
"""Addresses of the v1 API."""

from __future__ import annotations

from starlette.routing import Route

from ..operation import Guard, Handler, Operation
from . import generate, login, notifications, targets

PREFIX = "/api"


def _route(method: str, path: str, name: str, handler: Handler, guard: Guard | None = login.guard) -> Route:
    return Route(PREFIX + path, Operation(name, handler, guard), methods=[method])


ROUTES = [
    _route("POST", "/tokens", "v1_tokens", login.login, None),
    _route("PUT", "/tokens", "v1_refresh", login.refresh, None),
    _route("DELETE", "/tokens", "v1_logout", login.logout),
    _route("GET", "/me", "v1_me", login.me),
    _route("POST", "/edit/target", "v1_target", targets.upload_target),
    _route("POST", "/images_by_id/v2", "v1_image", targets.get_image),
    _route("POST", "/edit/generate", "v1_generate", generate.generate),
    _route("POST", "/notification_by_name_json", notifications.OPERATION, notifications.list_notifications),
    _route(
        "DELETE", "/notification/delete_json", "v1_notification_delete", notifications.delete_notification
    ),
]
