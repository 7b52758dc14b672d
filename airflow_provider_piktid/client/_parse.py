# SPDX-License-Identifier: Apache-2.0
"""Parse answers to models or errors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from airflow_provider_piktid.client._retry import parse_retry_after
from airflow_provider_piktid.exceptions import (
    PiktidActiveJobsError,
    PiktidAPIError,
    PiktidAuthError,
    PiktidConflictError,
    PiktidCreditsError,
    PiktidInvalidRequestError,
    PiktidLinkError,
    PiktidNotFoundError,
    PiktidQuotaError,
    PiktidRateLimitError,
    PiktidResponseError,
    PiktidServerError,
)
from airflow_provider_piktid.models import one_line

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """
    An answer, before it is parsed.

    :param label: The connection, for messages.
    :param path: Without query.
    :param headers: Names in lower case.
    :param secrets: Tokens and passwords, to be removed from the server's words.
    """

    label: str
    what: str
    method: str
    path: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: bytes = field(default=b"", repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def where(self) -> str:
        return f"{self.label}: {self.method} {self.path}"


#: Status to error, what it means and what to change. Other 4xx are invalid requests, 5xx server errors.
_REFUSALS: Final[dict[int, tuple[type[PiktidAPIError], str, str]]] = {
    401: (
        PiktidAuthError,
        "PiktID refused the token",
        "Put a valid API token in the connection's password; API tokens cannot be refreshed.",
    ),
    402: (PiktidCreditsError, "out of credits", "Buy credits or process fewer images."),
    403: (
        PiktidAuthError,
        "the account is not allowed to do this",
        "Use a token of an account with access to the API and to this object.",
    ),
    404: (PiktidNotFoundError, "not found", "Check that the ids are right and belong to this account."),
    409: (PiktidConflictError, "the name is taken", "Choose another name."),
    410: (PiktidNotFoundError, "no longer available", "Request it again."),
}

_ACTIVE_JOBS = re.compile(
    r"\b(active|concurrent|running|parallel|simultaneous)(\s+\w+)?\s+jobs?\b", re.IGNORECASE
)
_EXPIRED = re.compile(r"expired|expiry|expires", re.IGNORECASE)


def decode(answer: Answer) -> Any:
    """
    Return the JSON value of an answer.

    :raises PiktidResponseError: It is not JSON.
    """
    try:
        return json.loads(answer.content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        found = "an HTML page" if answer.content.lstrip()[:1] == b"<" else "something else"
        raise _unclear(answer, f"answered with {found} instead of JSON") from None


def as_model(answer: Answer, model: type[M], **defaults: Any) -> M:
    """
    Return an answer as a model.

    :param defaults: Values for fields that are missing or null.
    :raises PiktidResponseError: Not JSON, or JSON of another shape.
    """
    return _validate(answer, model, _object(answer), defaults)


def as_models(answer: Answer, model: type[M], *keys: str) -> list[M]:
    """
    Return the list in an answer as models.

    :param keys: Fields that may hold the list; the answer may also be the list itself.
    :raises PiktidResponseError: Not JSON, or JSON of another shape.
    """
    value = decode(answer)
    if isinstance(value, dict):
        value = next((value[key] for key in keys if value.get(key) is not None), None)
    if not isinstance(value, list):
        raise _unclear(answer, f"has no list {keys[0]!r}")
    return [_validate(answer, model, item, {}) for item in value]


def has_next_page(answer: Answer, page: int, count: int, page_size: int) -> bool:
    """Return whether a listing has more pages, also without a pagination block."""
    if count == 0:
        return False
    value = decode(answer)
    pagination = value.get("pagination") if isinstance(value, dict) else None
    if isinstance(pagination, dict):
        if isinstance(pagination.get("has_next"), bool):
            return bool(pagination["has_next"])
        if isinstance(pagination.get("pages"), int):
            return bool(page < pagination["pages"])
    return count >= page_size


def error_body(answer: Answer) -> dict[str, Any] | None:
    """Return the JSON object of an answer, None if it has none."""
    try:
        value = json.loads(answer.content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def refusal(answer: Answer) -> PiktidAPIError | PiktidResponseError:
    """Return the error for a refusal by the API."""
    if answer.status < 400:
        return _unclear(answer, "answered with a redirect; check the host of the connection")
    if answer.status == 429:
        return _too_many(answer)
    if answer.status in _REFUSALS:
        kind, meaning, remedy = _REFUSALS[answer.status]
        if answer.status == 404 and error_body(answer) is None:
            # Not how the API says that an object does not exist.
            remedy = "Check the connection's host, which needs no path, and that the ids are right."
    elif answer.status >= 500 or answer.status == 408:
        kind, meaning, remedy = PiktidServerError, "the server failed", "Try again later."
    else:
        kind, meaning, remedy = PiktidInvalidRequestError, "the request was refused", "Check the arguments."
    return _error(answer, kind, meaning, remedy)


def link_refusal(answer: Answer) -> PiktidAPIError:
    """Return the error for a refusal by a storage host, which never sees the token."""
    text = answer.content[:4096].decode("utf-8", "replace")
    if answer.status == 429:
        return _error(answer, PiktidRateLimitError, "too many requests", "Try again later.", quote=False)
    if answer.status >= 500 or answer.status == 408 or "RequestTimeout" in text:
        return _error(answer, PiktidServerError, "the storage failed", "Try again later.", quote=False)
    if answer.status in (401, 403, 404, 410) or (answer.status == 400 and _EXPIRED.search(text)):
        remedy = "Request a new one."
        return _error(answer, PiktidLinkError, "the link was refused or has expired", remedy, quote=False)
    remedy = "Check the file."
    return _error(answer, PiktidInvalidRequestError, "the storage refused the request", remedy, quote=False)


def _too_many(answer: Answer) -> PiktidAPIError:
    text = answer.content[:65536].decode("utf-8", "replace").replace("_", " ")
    if _ACTIVE_JOBS.search(text):
        remedy = "Wait until a job ends, or set active_jobs of the connection to the account's limit."
        return _error(answer, PiktidActiveJobsError, "the limit of active jobs is reached", remedy)
    if "maximum" in text.lower():
        return _error(
            answer,
            PiktidQuotaError,
            "a quota of the account is exhausted",
            "Delete what is no longer needed; waiting does not help.",
        )
    remedy = "Wait, or set jobs_per_minute of the connection to the account's limit."
    return _error(answer, PiktidRateLimitError, "too many requests", remedy)


def _error(
    answer: Answer, kind: type[PiktidAPIError], meaning: str, remedy: str, *, quote: bool = True
) -> PiktidAPIError:
    body = error_body(answer) if quote else None
    said = one_line(_words(body, answer.secrets)) if body else ""
    message = f"{answer.label}: could not {answer.what}: {meaning} ({answer.status})"
    return kind(
        f'{message}: "{said}". {remedy}' if said else f"{message}. {remedy}",
        status=answer.status,
        method=answer.method,
        path=answer.path,
        body=body,
        retry_after=parse_retry_after(answer.headers.get("retry-after"), datetime.now(UTC)),
    )


def _words(body: Mapping[str, Any], secrets: Sequence[str]) -> str:
    """Return the texts of an error body."""
    words = [body[key] for key in ("error", "message", "description") if isinstance(body.get(key), str)]
    if isinstance(body.get("required_credits"), int | float):
        words.append(f"required credits: {body['required_credits']}")
    detail = body.get("detail")
    for item in detail[:5] if isinstance(detail, list) else [detail]:
        if isinstance(item, str):
            words.append(item)
        elif isinstance(item, dict) and isinstance(item.get("message"), str):
            name = item.get("field")
            words.append(f"{name}: {item['message']}" if isinstance(name, str) else item["message"])
    text = "; ".join(words)
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text


def _object(answer: Answer) -> dict[str, Any]:
    value = decode(answer)
    if not isinstance(value, dict):
        raise _unclear(answer, "answered with JSON that is not an object")
    return value


def _validate(answer: Answer, model: type[M], value: object, defaults: dict[str, Any]) -> M:
    if isinstance(value, dict):
        value = value | {key: item for key, item in defaults.items() if value.get(key) is None}
    try:
        return model.model_validate(value)
    except ValidationError as exc:
        # Names of fields only: values may be links.
        places = {".".join(map(str, error["loc"])) or "(all)" for error in exc.errors(include_input=False)}
        fields = one_line(", ".join(sorted(places)[:5]))
    except (ValueError, RecursionError):
        fields = "text"
    raise _unclear(answer, f"answered with a {model.__name__} with missing or invalid fields: {fields}")


def _unclear(answer: Answer, message: str) -> PiktidResponseError:
    return PiktidResponseError(f"{answer.where} {message} ({answer.status}).", status=answer.status)
