# SPDX-License-Identifier: Apache-2.0
"""
Keeps signed links out of logs.

httpx logs the whole URL of every request at INFO, and httpcore logs headers at DEBUG. Both end up in task
logs. The filter drops these records for our requests only; the client writes a line of its own instead.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_sending: ContextVar[bool] = ContextVar("piktid_sending", default=False)
_LOGGERS = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
)


class _DropOurs(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not _sending.get()


_filter = _DropOurs()


def install() -> None:
    """Put the filter in place; doing it again changes nothing."""
    for name in _LOGGERS:
        # addFilter itself leaves out what is there already.
        logging.getLogger(name).addFilter(_filter)


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what the HTTP libraries log while a request of ours is sent in this task."""
    token = _sending.set(True)
    try:
        yield
    finally:
        _sending.reset(token)
