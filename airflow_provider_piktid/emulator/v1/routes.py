# SPDX-License-Identifier: Apache-2.0
"""Routes of the v1 API."""

from __future__ import annotations

from functools import partial

from ..operation import route
from . import generate, login, notifications, targets

_route = partial(route, guard=login.guard)

ROUTES = [
    _route("POST", "/api/tokens", "v1_tokens", login.login, guard=None),
    _route("PUT", "/api/tokens", "v1_refresh", login.refresh, guard=None),
    _route("DELETE", "/api/tokens", "v1_logout", login.logout),
    _route("GET", "/api/me", "v1_me", login.me),
    _route("POST", "/api/edit/target", "v1_target", targets.upload_target),
    _route("POST", "/api/images_by_id/v2", "v1_image", targets.get_image),
    _route("POST", "/api/edit/generate", "v1_generate", generate.generate),
    _route(
        "POST", "/api/notification_by_name_json", notifications.OPERATION, notifications.list_notifications
    ),
    _route(
        "DELETE", "/api/notification/delete_json", "v1_notification_delete", notifications.delete_notification
    ),
]
