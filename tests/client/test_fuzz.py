# SPDX-License-Identifier: Apache-2.0
"""Whatever a server sends: a model or a PiktidResponseError, never a crash."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from airflow_provider_piktid import models
from airflow_provider_piktid.client import AsyncPiktidClient, StreamFrame
from airflow_provider_piktid.client._parse import (
    Answer,
    as_model,
    as_models,
    has_next_page,
    link_refusal,
    refusal,
)
from airflow_provider_piktid.client._stream import to_frame
from airflow_provider_piktid.exceptions import PiktidError, PiktidResponseError

MODELS = [
    value
    for name in models.__all__
    if isinstance(value := getattr(models, name), type) and issubclass(value, BaseModel)
]
KEYS = sorted({key for model in MODELS for key in model.model_fields} | {"project_key", "data", "pagination"})

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**310)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["\ud800", "completed", "https://h/x?s=1", "\x00", "7", "nan", "1e999"])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8) | st.just("\udc00"), inner, max_size=8)
    ),
    max_leaves=25,
)
objects = st.dictionaries(st.sampled_from(KEYS), values, max_size=12)
fast = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def answer(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    return Answer(
        label="label",
        what="do it",
        method="GET",
        path="/x",
        status=status,
        headers=headers or {},
        content=content,
    )


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def harmless(error: Exception) -> None:
    """One line of the package's own, without the links of the answer."""
    assert isinstance(error, PiktidError)
    assert len(str(error).splitlines()) == 1
    assert "h/x?s=1" not in str(error)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_any_json_is_a_model_or_a_response_error(model: type[BaseModel]) -> None:
    """Any JSON becomes a model or raises ``PiktidResponseError``."""

    @fast
    @given(objects | values)
    def check(value: Any) -> None:
        try:
            found = as_model(answer(encoded(value)), model)
        except PiktidResponseError as exc:
            harmless(exc)
            return
        assert "h/x?s=1" not in repr(found)
        for name in ("status", "job_id", "download_url", "key", "done", "is_terminal"):
            getattr(found, name, None)

    check()


@fast
@given(st.binary(max_size=200) | values.map(encoded))
def test_any_bytes_are_a_list_or_a_response_error(content: bytes) -> None:
    """Any bytes become a list or raise ``PiktidResponseError``."""
    try:
        found = as_models(answer(content), models.Notification, "notifications")
        has_next_page(answer(content), 1, len(found), 100)
    except PiktidResponseError:
        pass


@fast
@given(st.integers(300, 599), st.binary(max_size=200) | values.map(encoded), st.text(max_size=30))
def test_any_refusal_is_an_error_of_the_package(status: int, content: bytes, retry_after: str) -> None:
    """For any body and headers the message is one line without links."""
    refused = answer(content, status, {"retry-after": retry_after})
    for error in (refusal(refused), link_refusal(refused)):
        harmless(error)


@fast
@given(st.text(max_size=30), st.text(max_size=50) | values.map(json.dumps))
def test_any_event_is_a_frame_or_nothing(event: str, data: str) -> None:
    """Any event of the stream becomes a frame or None."""
    frame = to_frame(ServerSentEvent(event=event, data=data))
    assert frame is None or frame.kind in ("backfill", "backfill_complete", "live")


frames = st.lists(
    st.binary(max_size=40)
    | st.sampled_from(
        [b"data: null\n\n", b":keepalive\r\n\r\n", b"event: backfill\n", b"\r", b"\n\n", b"\xef\xbb\xbf"]
    )
    | objects.map(lambda value: b"data: " + encoded(value) + b"\n\n"),
    max_size=12,
).map(b"".join)


@fast
@given(frames, st.integers(1, 17))
def test_any_stream_is_read_to_its_end_and_cutting_it_differently_changes_nothing(
    content: bytes, size: int
) -> None:
    """Frames do not depend on the chunks in which the stream arrives."""

    async def read(step: int) -> list[StreamFrame]:
        async def pieces() -> Any:
            for start in range(0, len(content), step):
                yield content[start : start + step]

        async def handle(request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=pieces())

        async with AsyncPiktidClient("token", transport=httpx.MockTransport(handle)) as client:
            return [frame async for frame in client.stream_notifications()]

    async def both() -> tuple[list[StreamFrame], list[StreamFrame]]:
        return await read(size), await read(len(content) or 1)

    piecewise, whole = asyncio.run(both())
    assert repr(piecewise) == repr(whole)
