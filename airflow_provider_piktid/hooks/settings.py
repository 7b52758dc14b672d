# SPDX-License-Identifier: Apache-2.0
"""The settings of a connection, read and checked. Imports neither Airflow nor the client at the top."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_piktid.exceptions import PiktidConfigError
from airflow_provider_piktid.get_provider_info import (
    CONN_FIELDS,
    DEFAULT_ACTIVE_JOBS,
    DEFAULT_APP_URL,
    DEFAULT_BASE_URL,
    DEFAULT_IMAGES_PER_JOB,
    DEFAULT_JOBS_PER_MINUTE,
    DEFAULT_MAX_CONCURRENCY,
    DEFAULT_RATE_WINDOW,
    DEFAULT_TIMEOUT,
    DEFAULT_V1_POLL_INTERVAL,
    DEFAULT_V1_URL,
    WEBHOOK_SECRETS,
)

#: Types of connections that are accepted; Airflow writes ``generic`` where it does not know a type, and a URI may
#: begin with that of its host.
_TYPES = ("piktid", "generic", "http", "https", "")


@dataclass(frozen=True)
class PiktidSettings:
    """
    The checked settings of a connection.

    :param token: API token of v2, or access token of v1: the password of a connection without login.
    :param login: E-mail of a v1 account, with ``password``.
    :param base_url: Root of the v2 API, without a slash at the end.
    :param v1_url: Root of the v1 API.
    :param app_url: Page that people open to look at jobs.
    :param timeout: Seconds for one request. Default: 60.
    :param max_concurrency: Uploads or downloads at once. Default: 8.
    :param jobs_per_minute: Jobs that the account may submit in ``rate_window``. Default: 5, from PiktID's clients.
    :param active_jobs: Jobs that the account may run at once. Default: 5, from PiktID's clients.
    :param images_per_job: Images in one job. Default: 10, from PiktID's reference.
    :param rate_window: Seconds that ``jobs_per_minute`` is counted over. Default: 60.
    :param v1_poll_interval: Seconds between two notification requests of v1 for one account. Default: 3, the
        limit that PiktID documents.
    :param webhook_secrets: The webhook's secret, and the one before it while both are in use. Default: none.
    """

    conn_id: str
    token: str | None
    login: str | None
    password: str | None
    base_url: str = DEFAULT_BASE_URL
    v1_url: str = DEFAULT_V1_URL
    app_url: str = DEFAULT_APP_URL
    timeout: float = DEFAULT_TIMEOUT
    max_concurrency: int = DEFAULT_MAX_CONCURRENCY
    jobs_per_minute: int = DEFAULT_JOBS_PER_MINUTE
    active_jobs: int = DEFAULT_ACTIVE_JOBS
    images_per_job: int = DEFAULT_IMAGES_PER_JOB
    rate_window: float = DEFAULT_RATE_WINDOW
    v1_poll_interval: float = DEFAULT_V1_POLL_INTERVAL
    webhook_secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"PiktidSettings(conn_id={self.conn_id!r}, base_url={self.base_url!r})"

    @classmethod
    def from_connection(cls, conn: Any, extra: Mapping[str, Any]) -> PiktidSettings:
        """
        Read a connection.

        :param conn: Airflow's connection.
        :param extra: Its decoded extra, passed separately because reading it blocks on some versions.
        :raises PiktidConfigError: A field is missing or invalid; the message names it.
        """
        conn_id = str(conn.conn_id)
        _check_type(conn_id, conn.conn_type)
        host = _base_url(conn_id, conn)
        login = (conn.login or "").strip() or None
        password = (conn.password or "").strip() or None
        _check_password(conn_id, password, extra)
        return cls(
            conn_id=conn_id,
            token=None if login else password,
            login=login,
            password=password if login else None,
            base_url=host or DEFAULT_BASE_URL,
            v1_url=_v1_url(conn_id, extra) or (f"{host}/api" if host else DEFAULT_V1_URL),
            app_url=_text(extra, "app_url").rstrip("/") or host or DEFAULT_APP_URL,
            webhook_secrets=tuple(filter(None, (_text(extra, name) for name in WEBHOOK_SECRETS))),
            **_numbers(conn_id, extra),
        )

    def require_token(self) -> str:
        """
        Return the API token of v2.

        :raises PiktidConfigError: The connection has none.
        """
        if self.token:
            return self.token
        if self.login:
            raise PiktidConfigError(
                f"Connection {self.conn_id} has a login, which is for v1 (person generation). The v2 API needs "
                "an API token: put it in the password of a connection whose login is empty."
            )
        raise PiktidConfigError(f"Connection {self.conn_id} has no token. Put an API token in its password.")

    def require_v1(self) -> None:
        """
        Check that v1 can be used: e-mail and password, or an access token.

        :raises PiktidConfigError: Something is missing.
        """
        if self.login and not self.password:
            raise PiktidConfigError(f"Connection {self.conn_id} has a login but no password. Add it.")
        if not self.login and not self.token:
            raise PiktidConfigError(
                f"Connection {self.conn_id} has neither login nor token. Person generation needs e-mail and password "
                "of a v1 account in login and password, or a v1 access token in the password alone."
            )

    @property
    def v2_account(self) -> tuple[str, str]:
        """
        What identifies a v2 account: waiting tasks of one account share one notification stream.

        :raises PiktidConfigError: The connection has no token.
        """
        return self.base_url, hashlib.sha256(self.require_token().encode()).hexdigest()

    @property
    def v1_account(self) -> tuple[str, str, str]:
        """What identifies a v1 account: waiting tasks of one account share one list of notifications."""
        secret = self.password or self.token or ""
        return self.v1_url, self.login or "", hashlib.sha256(secret.encode()).hexdigest()

    def job_url(self, job_id: str) -> str:
        """Return the page of a job, or the start page: the public service documents no page of a single job."""
        return self.app_url if self.app_url == DEFAULT_APP_URL else f"{self.app_url}/#{job_id}"


def _check_type(conn_id: str, conn_type: str | None) -> None:
    if (conn_type or "").lower() not in _TYPES:
        raise PiktidConfigError(
            f"Connection {conn_id} is of type {conn_type!r}, not 'piktid'. Correct `piktid_conn_id`, or the type of "
            "the connection."
        )


def _check_password(conn_id: str, password: str | None, extra: Mapping[str, Any]) -> None:
    """Refuse a token that was put where it is not read, or with more than itself."""
    if password and password.lower().startswith("bearer "):
        raise PiktidConfigError(
            f"Connection {conn_id}: the password starts with 'Bearer'. Put the token alone into the password."
        )
    misplaced = next((name for name in ("token", "api_token", "api_key") if extra.get(name)), None)
    if misplaced and not password:
        raise PiktidConfigError(
            f"Connection {conn_id} has no token: extra {misplaced!r} is not read. Move it to the password."
        )


def _base_url(conn_id: str, conn: Any) -> str:
    """
    Return the base URL of v2; empty if the connection names none.

    A connection given as a URI has its port and path in fields of their own, and Airflow calls the path schema.
    """
    host = (conn.host or "").strip()
    if not host:
        return ""
    field = (conn.schema or "").strip().strip("/")
    is_scheme = field.lower() in ("http", "https")
    if "://" not in host:
        host = f"{field.lower() if is_scheme else 'https'}://{host}"
    parts = urlsplit(_checked(conn_id, "the host", host))
    netloc = parts.netloc if parts.port or not conn.port else f"{parts.netloc.rstrip(':')}:{conn.port}"
    path = parts.path or (f"/{field}" if field and not is_scheme else "")
    return f"{parts.scheme}://{netloc}{path}"


def _v1_url(conn_id: str, extra: Mapping[str, Any]) -> str:
    url = _text(extra, "v1_url")
    return _checked(conn_id, "extra 'v1_url'", url) if url else ""


def _checked(conn_id: str, name: str, url: str) -> str:
    from airflow_provider_piktid.client import check_base_url

    return check_base_url(url, f"Connection {conn_id}: {name}")


def _text(extra: Mapping[str, Any], name: str) -> str:
    return str(extra.get(name) or "").strip()


def _numbers(conn_id: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return every number of the connection form; a blank one has its default."""
    schemas = {name: field["schema"] for name, field in CONN_FIELDS.items() if "default" in field["schema"]}
    return {
        name: schema["default"]
        if extra.get(name) in (None, "")
        else _number(f"Connection {conn_id}: extra {name!r}", extra[name], whole="integer" in schema["type"])
        for name, schema in schemas.items()
    }


def _number(name: str, raw: Any, *, whole: bool) -> float:
    """Return a number above 0; forms and URIs give it as text."""
    try:
        value = 0.0 if isinstance(raw, bool) else float(raw)
    except (TypeError, ValueError):
        value = 0.0
    if not 0 < value < float("inf"):
        raise PiktidConfigError(f"{name} must be a number above 0, not {raw!r}.")
    if whole and not value.is_integer():
        raise PiktidConfigError(f"{name} must be a whole number, not {raw!r}.")
    return int(value) if whole else value
