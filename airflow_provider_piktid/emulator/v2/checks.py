# SPDX-License-Identifier: Apache-2.0
"""Validate request bodies, queries and paging of v2."""

from __future__ import annotations

from starlette.requests import Request

from ..core import Core
from ..wire import Check


def body_check(core: Core, body: object) -> Check:
    """Return a check of a JSON body."""
    return Check(body, status=core.variants.number("validation_status"))


def finish(core: Core, check: Check) -> None:
    """Refuse the request if the check found errors."""
    if core.variants["unknown_fields"] == "reject":
        check.nothing_else()
    check.done()


def query_check(request: Request, core: Core) -> Check:
    """Return a check of the query."""
    return Check(request.query_params, position="query", status=core.variants.number("validation_status"))


def paging(request: Request, core: Core, order: str) -> tuple[int, int, str]:
    """Return ``page``, ``per_page`` and ``order`` of a listing."""
    check = query_check(request, core)
    page = check.number("page", 1, 1, 10**6)
    per_page = check.number("per_page", 20, 1, 100)
    order = check.choice("order", ("asc", "desc"), order)
    check.done()
    return page, per_page, order
