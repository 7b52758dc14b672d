# SPDX-License-Identifier: Apache-2.0
"""The emulator as an ASGI application."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Route

from . import control, page
from .files import get_file
from .operation import Operation
from .settings import Settings
from .state import State
from .v1 import routes as v1
from .v2 import routes as v2


def create_app(settings: Settings | None = None) -> Starlette:
    """
    Return a new application; its state is ``app.state.emulator``.

    :param settings: Default: ``Settings()``.
    """
    state = State(settings or Settings())
    files = Route("/f/{name}", Operation("result_image", get_file, None), methods=["GET"])
    apis = [*v2.ROUTES, *v1.ROUTES, files]
    state.faults.know(route.endpoint.name for route in apis if isinstance(route.endpoint, Operation))
    app = Starlette(routes=[*apis, *control.ROUTES, *page.ROUTES])
    app.state.emulator = state
    return app
