# SPDX-License-Identifier: Apache-2.0
"""
The requests of a probe, and what came back.

The client of this package accepts every variant and hides which one it met. So the probe sends its requests itself:
one at a time, none twice, each within a time limit, and keeps the raw answers in memory. The token is sent only to
the API, never to links.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

from airflow_provider_piktid import __version__
from airflow_provider_piktid.client import check_base_url

#: Largest answer that is read, in bytes.
MAX_BYTES = 8 * 1024 * 1024

#: Requests of one run at most.
MAX_REQUESTS = 150


class ProbeError(Exception):
    """A request got no answer that says anything; the text has no address and no secret."""


class OutOfBudget(ProbeError):
    """The time or the number of requests of the whole run is used up."""


@dataclass(frozen=True)
class Answer:
    """
    One answer.

    :param operation: Name of the request, one of the facts' words.
    :param headers: Lower case names.
    :param body: Decoded JSON; None if it is not JSON.
    :param seconds: Until the answer was read.
    """

    operation: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Any = field(default=None, repr=False)
    content: bytes = field(default=b"", repr=False)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def fields(self) -> dict[str, Any]:
        """The JSON object; empty if it is not one."""
        return self.body if isinstance(self.body, dict) else {}

    def rows(self, key: str) -> list[dict[str, Any]]:
        """Return the objects of a list in the body."""
        value = self.fields.get(key)
        return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


class Session:
    """
    Sends requests with one token.

    :param timeout: Seconds for one request. Default: 20.
    :param budget: Seconds for the whole run. Default: 300.
    """

    def __init__(
        self, base_url: str, authorization: str | None, *, timeout: float = 20.0, budget: float = 300.0
    ) -> None:
        self._base_url = check_base_url(base_url)
        self._authorization = authorization
        self._timeout = timeout
        self._began = time.monotonic()
        self._end = self._began + budget
        self._http = httpx.Client(timeout=timeout, follow_redirects=False)
        self.answers: list[Answer] = []
        self.requests = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    @property
    def left(self) -> float:
        """Seconds that the run may still take."""
        return self._end - time.monotonic()

    def authorize(self, authorization: str) -> None:
        """Use a token from now on, after a login."""
        self._authorization = authorization

    def call(
        self, operation: str, method: str, path: str, *, anonymous: bool = False, **options: Any
    ) -> Answer:
        """
        Send one request to the API.

        :param anonymous: Leave the token out. Default: False.
        :raises ProbeError: There is no answer.
        """
        headers = dict(options.pop("headers", {}))
        if self._authorization and not anonymous:
            headers.setdefault("Authorization", self._authorization)
        return self._send(operation, method, self._base_url + path, headers=headers, **options)

    def link(self, operation: str, method: str, url: str, **options: Any) -> Answer:
        """Send one request to a link, without the token."""
        if not url.lower().startswith(("http://", "https://")):
            raise ProbeError(f"{operation}: the link is not an http(s) address")
        return self._send(operation, method, url, **options)

    def stream(self, operation: str, path: str, seconds: float) -> tuple[Answer, Any]:
        """
        Open the notification stream.

        :param seconds: Without a byte after which reading ends.
        :return: The answer without a body, and the response to read lines from and to close.
        """
        self._count()
        headers = {"Accept": "text/event-stream", "User-Agent": _AGENT}
        if self._authorization:
            headers["Authorization"] = self._authorization
        request = self._http.build_request("GET", self._base_url + path, headers=headers)
        request.extensions["timeout"] = {"connect": 10.0, "read": seconds, "write": 10.0, "pool": 10.0}
        try:
            response = self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise ProbeError(f"{operation}: {type(error).__name__}") from error
        answer = Answer(operation, response.status_code, dict(response.headers))
        self.answers.append(answer)
        return answer, response

    def _count(self) -> None:
        if self.left <= 0:
            raise OutOfBudget("the time for the probe is used up")
        if self.requests >= MAX_REQUESTS:
            raise OutOfBudget(f"the probe has sent {MAX_REQUESTS} requests")
        self.requests += 1

    def _send(self, operation: str, method: str, url: str, **options: Any) -> Answer:
        self._count()
        options["headers"] = {"User-Agent": _AGENT, **options.get("headers", {})}
        options["timeout"] = min(self._timeout, max(1.0, self.left))
        began = time.monotonic()
        try:
            with self._http.stream(method, url, **options) as response:
                content = bytearray()
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > MAX_BYTES or time.monotonic() - began > self._timeout:
                        raise ProbeError(f"{operation}: the answer is too long or too slow")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # The text of the library's error may contain a signed link.
            raise ProbeError(f"{operation}: {type(error).__name__}") from error
        answer = Answer(
            operation,
            response.status_code,
            dict(response.headers),
            _decoded(bytes(content)),
            bytes(content),
            time.monotonic() - began,
        )
        self.answers.append(answer)
        return answer


_AGENT = f"airflow-provider-piktid/{__version__} probe"


def _decoded(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None
