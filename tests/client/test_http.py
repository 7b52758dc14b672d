# SPDX-License-Identifier: Apache-2.0
"""Errors, retries and paid requests."""

from __future__ import annotations

import contextlib
import socket
import traceback
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from airflow_provider_piktid import exceptions as errors
from airflow_provider_piktid.client import NO_RETRY, AsyncPiktidClient
from airflow_provider_piktid.client._http import MAX_ANSWER
from airflow_provider_piktid.models.model_swap import ModelSwap
from tests.client.conftest import TOKEN

pytestmark = pytest.mark.anyio

Make = Callable[..., Any]
SWAP = ModelSwap(identity_code="id-1", project_id="prj-1")
IMAGES = ["f-1"]
JOB = {"job_id": "job-1", "status": "pending"}
CREATED = httpx.Response(
    202,
    json={
        "job_id": "job-1",
        "status": "pending",
        "message": "ok",
        "identity_code": "id-1",
        "instruction_data": {},
    },
)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        pytest.param(400, {"error": "x"}, errors.PiktidInvalidRequestError, id="400"),
        pytest.param(401, None, errors.PiktidAuthError, id="401 without body"),
        pytest.param(402, {"error": "x", "required_credits": 5.0}, errors.PiktidCreditsError, id="402"),
        pytest.param(403, {}, errors.PiktidAuthError, id="403"),
        pytest.param(404, [], errors.PiktidNotFoundError, id="404 with a list"),
        pytest.param(405, None, errors.PiktidInvalidRequestError, id="405"),
        pytest.param(408, None, errors.PiktidServerError, id="408"),
        pytest.param(409, {}, errors.PiktidConflictError, id="409"),
        pytest.param(410, {}, errors.PiktidNotFoundError, id="410"),
        pytest.param(422, {"error": "x", "detail": None}, errors.PiktidInvalidRequestError, id="422"),
        pytest.param(429, None, errors.PiktidRateLimitError, id="429 without body"),
        pytest.param(429, {"error": "slow"}, errors.PiktidRateLimitError, id="429 rate"),
        pytest.param(
            429, {"error": "Maximum identities reached."}, errors.PiktidQuotaError, id="429 permanent quota"
        ),
        pytest.param(
            429, {"error": "Too many active jobs"}, errors.PiktidActiveJobsError, id="429 active jobs"
        ),
        pytest.param(
            429, {"error": "5 concurrent jobs running"}, errors.PiktidActiveJobsError, id="429 concurrent"
        ),
        pytest.param(
            429,
            {"message": "Maximum concurrent jobs reached"},
            errors.PiktidActiveJobsError,
            id="429 maximum that waiting resolves",
        ),
        pytest.param(429, {"code": "MAX_ACTIVE_JOBS"}, errors.PiktidActiveJobsError, id="429 as a code"),
        pytest.param(500, {"error": "x"}, errors.PiktidServerError, id="500"),
        pytest.param(503, None, errors.PiktidServerError, id="503"),
        pytest.param(302, None, errors.PiktidResponseError, id="redirect"),
    ],
)
async def test_status_becomes_its_error(
    script: Make, status: int, body: Any, kind: type[errors.PiktidError]
) -> None:
    """Each status and body raises its error; the one-line message names the connection."""
    answer = httpx.Response(status) if body is None else httpx.Response(status, json=body)
    async with script(answer).client(retry=NO_RETRY) as client:
        with pytest.raises(errors.PiktidError) as caught:
            await client.get_job("job-1")
    assert type(caught.value) is kind
    assert "piktid_test" in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_credits_error_says_how_many_are_needed(script: Make) -> None:
    """After HTTP 402 the error contains the required credits."""
    body = {"error": "Insufficient credits to create job", "required_credits": 12.5}
    async with script(httpx.Response(402, json=body)).client() as client:
        with pytest.raises(errors.PiktidCreditsError, match=r"12\.5") as caught:
            await client.create_job(SWAP, IMAGES)
    assert caught.value.required_credits == 12.5


async def test_validation_error_quotes_field_and_reason(script: Make) -> None:
    """The server's words about a field are in the message, on one line and without links."""
    detail = [{"field": "images", "message": "too\nmany, see https://h/x?s=1", "position": "json"}]
    async with script(httpx.Response(422, json={"error": "Invalid request", "detail": detail})).client() as c:
        with pytest.raises(errors.PiktidInvalidRequestError, match=r"images: too many, see <link>"):
            await c.get_job("job-1")


async def test_message_of_a_server_that_echoes_the_token_hides_it(script: Make) -> None:
    """If the server's message contains the token, the error does not."""
    async with script(httpx.Response(401, json={"error": f"bad {TOKEN}"})).client() as client:
        with pytest.raises(errors.PiktidAuthError) as caught:
            await client.get_job("job-1")
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>login</html>",
        b"[]",
        b"null",
        b'"x"',
        b"{",
        b"\xff\xfe",
        b'{"status": 1}' * 2,
        b"[" * 10**5,
        b"9" * 5000,
        b'{"status": null}',
        b'{"status": {}}',
    ],
    ids=[
        "empty",
        "html",
        "list",
        "null",
        "text",
        "cut",
        "bytes",
        "two",
        "deep",
        "huge number",
        "null status",
        "object as status",
    ],
)
async def test_answer_of_another_shape_is_a_response_error(script: Make, content: bytes) -> None:
    """An unexpected response raises an error that names connection, method and path."""
    async with script(httpx.Response(200, content=content)).client() as client:
        with pytest.raises(errors.PiktidResponseError, match="piktid_test: GET /jobs/job-1/status"):
            await client.get_job("job-1")


@pytest.mark.parametrize(
    ("failure", "sent"),
    [
        (httpx.ConnectError("x"), False),
        (httpx.ConnectTimeout("x"), False),
        (httpx.PoolTimeout("x"), False),
        (httpx.UnsupportedProtocol("x"), False),
        (httpx.ProxyError("x"), False),
        (httpx.ReadTimeout("x"), True),
        (httpx.WriteTimeout("x"), True),
        (httpx.ReadError("x"), True),
        (httpx.WriteError("x"), True),
        (httpx.CloseError("x"), True),
        (httpx.RemoteProtocolError("x"), True),
        (httpx.LocalProtocolError("x"), True),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_broken_connection_says_whether_the_request_was_sent(
    script: Make, failure: Exception, sent: bool
) -> None:
    """``sent`` is False only if the request was certainly not sent."""
    async with script(failure).client(retry=NO_RETRY) as client:
        with pytest.raises(errors.PiktidConnectionError) as caught:
            await client.get_job("job-1")
    assert caught.value.sent is sent


async def test_unreachable_port_is_certainly_not_sent() -> None:
    """The same over a real socket without a listener."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        async with AsyncPiktidClient(TOKEN, base_url=url, retry=NO_RETRY) as client:
            with pytest.raises(errors.PiktidConnectionError, match="cannot be reached") as caught:
                await client.create_job(SWAP, IMAGES)
    assert caught.value.sent is False


async def test_call_waits_as_the_server_asks_and_goes_on(script: Make) -> None:
    """429 with Retry-After, a 503, then the answer."""
    service = script(
        httpx.Response(429, headers={"Retry-After": "7"}), httpx.Response(503), httpx.Response(200, json=JOB)
    )
    async with service.client() as client:
        assert (await client.get_job("job-1")).status == "pending"
    assert 7 <= service.slept[0] <= 8.4
    assert 1.6 <= service.slept[1] <= 2.4


async def test_call_wrong_token_is_not_tried_again(script: Make) -> None:
    """401 fails at once, and the message names the remedy."""
    service = script(httpx.Response(401))
    async with service.client() as client:
        with pytest.raises(errors.PiktidAuthError, match="connection's password"):
            await client.get_job("job-1")
    assert (len(service.requests), service.slept) == (1, [])


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(httpx.ReadTimeout("x"), id="no answer in time"),
        pytest.param(httpx.RemoteProtocolError("x"), id="connection cut"),
        pytest.param(httpx.Response(500), id="500"),
        pytest.param(httpx.Response(504), id="gateway time-out"),
        pytest.param(httpx.Response(408), id="408"),
        pytest.param(httpx.Response(202, content=b"<html>"), id="HTML"),
        pytest.param(httpx.Response(202, json={"status": "pending"}), id="no job id"),
        pytest.param(httpx.Response(302, headers={"location": "/login"}), id="redirect"),
    ],
)
async def test_create_job_that_may_have_arrived_is_never_repeated(script: Make, reply: Any) -> None:
    """One request is sent; the error says to look for the job first."""
    service = script(reply, CREATED)
    async with service.client() as client:
        with pytest.raises(errors.PiktidSubmissionError, match="Look for the job") as caught:
            await client.create_job(SWAP, IMAGES)
    assert len(service.requests) == 1
    assert isinstance(caught.value.__cause__, errors.PiktidError)


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(httpx.ConnectError("x"), id="not sent"),
        pytest.param(httpx.Response(429), id="429"),
        pytest.param(httpx.Response(429, json={"error": "too many active jobs"}), id="active jobs"),
    ],
)
async def test_create_job_certainly_not_taken_is_repeated(script: Make, failure: Any) -> None:
    """A request that was not sent or was refused with HTTP 429 is sent again."""
    service = script(failure, CREATED)
    async with service.client() as client:
        assert (await client.create_job(SWAP, IMAGES)).job_id == "job-1"
    assert len(service.requests) == 2


PAID: dict[str, Callable[..., Any]] = {
    "create_job": lambda client, **options: client.create_job(SWAP, IMAGES, **options),
    "regenerate_image": lambda client, **options: client.regenerate_image("job-1", 0, **options),
    "promote_identity": lambda client, **options: client.promote_identity(501, **options),
    "extract_preset": lambda client, **options: client.extract_preset("file-1", **options),
}


@pytest.mark.parametrize("call", PAID.values(), ids=PAID)
async def test_paid_call_that_may_have_arrived_is_sent_once(script: Make, call: Callable[..., Any]) -> None:
    """No paid call is repeated by itself after a lost reply."""
    service = script(httpx.ReadTimeout("x"), CREATED)
    async with service.client() as client:
        with pytest.raises(errors.PiktidSubmissionError):
            await call(client)
    assert len(service.requests) == 1


@pytest.mark.parametrize("call", PAID.values(), ids=PAID)
async def test_paid_call_without_waiting_raises_the_refusal(script: Make, call: Callable[..., Any]) -> None:
    """With `wait=False` a 429 is raised at once, so that the caller can wait elsewhere."""
    service = script(httpx.Response(429, json={"error": "too many active jobs"}), CREATED)
    async with service.client() as client:
        with pytest.raises(errors.PiktidActiveJobsError):
            await call(client, wait=False)
    assert (len(service.requests), service.slept) == (1, [])


@pytest.mark.parametrize("call", PAID.values(), ids=PAID)
async def test_paid_call_waits_out_the_refusal(script: Make, call: Callable[..., Any]) -> None:
    """By default a 429 is waited out and the request is sent again."""
    service = script(httpx.Response(429, headers={"Retry-After": "7"}), CREATED)
    async with service.client() as client:
        await call(client)
    assert (len(service.requests), len(service.slept)) == (2, 1)


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_create_job_any_success_with_a_job_id_counts(script: Make, status: int) -> None:
    """Every HTTP 2xx response with a job id is a success."""
    async with script(httpx.Response(status, json={"job_id": "job-1"})).client() as client:
        assert (await client.create_job(SWAP, IMAGES)).job_id == "job-1"


async def test_create_job_unreachable_host_is_a_connection_error(script: Make) -> None:
    """A request that never left needs no search for a job."""
    async with script(httpx.ConnectError("x")).client(retry=NO_RETRY) as client:
        with pytest.raises(errors.PiktidConnectionError):
            await client.create_job(SWAP, IMAGES)


async def test_answer_without_end_is_refused(script: Make) -> None:
    """A response that is too large raises ``PiktidResponseError``."""
    async with script(httpx.Response(200, content=b" " * (MAX_ANSWER + 1))).client() as client:
        with pytest.raises(errors.PiktidResponseError, match="too much"):
            await client.get_job("job-1")


async def test_body_that_cannot_be_decompressed_is_a_response_error(raw_server: Make) -> None:
    """A wrong Content-Encoding raises an error of the package."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd"
    async with raw_server(answer) as server, AsyncPiktidClient(TOKEN, base_url=server.url) as client:
        with pytest.raises(errors.PiktidResponseError, match="decompressed"):
            await client.get_job("job-1")


async def test_printed_error_holds_no_token(script: Make) -> None:
    """The traceback with all causes does not contain the token."""
    async with script(httpx.ReadError(f"header {TOKEN[:3]}")).client(retry=NO_RETRY) as client:
        with pytest.raises(errors.PiktidError) as caught:
            await client.get_job("job-1")
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


async def test_outage_is_waited_out_by_requests_that_may_be_repeated(script: Make) -> None:
    """A server that has answered is tried longer than one that never did, and once it is given up, no longer."""
    refused = httpx.ConnectError("x")
    service = script(refused, *[refused] * 4, httpx.Response(200, json={"projects": []}), refused)
    async with service.client() as client:
        seen = []
        for _ in range(4):
            before = len(service.requests)
            with contextlib.suppress(errors.PiktidConnectionError):
                await anext(client.iter_projects(), None)
            seen.append(len(service.requests) - before)
    never, once, away, still_away = seen
    assert (never, once, still_away) == (5, 1, 5)
    # The waits have jitter.
    assert away > 10
