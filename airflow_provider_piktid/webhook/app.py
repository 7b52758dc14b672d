# SPDX-License-Identifier: Apache-2.0
"""The one route of the receiver, as an ASGI application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_piktid.client.webhooks import SIGNATURE_HEADER
from airflow_provider_piktid.webhook.delivery import MAX_BODY, DeliveryRefused

if TYPE_CHECKING:
    from airflow_provider_piktid.webhook.receiver import WebhookReceiver

#: Where the application is mounted, and the path below it.
PREFIX: Final = "/piktid"
PATH: Final = "/webhook"


def webhook_app(receiver: WebhookReceiver, path: str = PATH) -> Starlette:
    """
    Return an application that answers ``POST`` at one path, and 404 or 405 to anything else.

    Not FastAPI, whose applications also serve a page with their documentation.
    """

    async def receive(request: Request) -> Response:
        try:
            body = await _bounded_body(request)
            # X-Webhook-Event is not signed; the name in the body is.
            result = await receiver.receive(body, request.headers.get(SIGNATURE_HEADER))
        except DeliveryRefused as refusal:
            return JSONResponse({"error": refusal.reason}, refusal.status)
        except ClientDisconnect:
            return Response(status_code=400)
        return JSONResponse({"result": result})

    app = Starlette(routes=[Route(path, receive, methods=["POST"])])
    # Otherwise a slash at the end is answered with a redirection.
    app.router.redirect_slashes = False
    return app


async def _bounded_body(request: Request) -> bytes:
    """Read the body; a length that is missing or wrong does not matter."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > MAX_BODY:
        raise DeliveryRefused(413, "The body is too large.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise DeliveryRefused(413, "The body is too large.")
    return bytes(body)
