# SPDX-License-Identifier: Apache-2.0
"""From an Airflow connection to a client."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_piktid.exceptions import PiktidAuthError, PiktidConfigError, PiktidError
from airflow_provider_piktid.get_provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR

if TYPE_CHECKING:
    from airflow_provider_piktid.client import (
        AsyncPiktidClient,
        AsyncPiktidV1Client,
        PiktidClient,
        PiktidV1Client,
    )

V2_URL = "https://v2.api.piktid.com"
V1_URL = "https://api.piktid.com/api"
#: Where people look at jobs; the public service documents no address of a single job.
APP_URL = "https://app.on-model.com"


@dataclass(frozen=True)
class PiktidSettings:
    """
    What a connection says, checked.

    :param token: API token of v2, or access token of v1: the password of a connection without login.
    :param login: E-mail of a v1 account, with ``password``.
    :param base_url: Root of the v2 API, without a slash at the end.
    :param v1_url: Root of the v1 API.
    :param app_url: Page that people open to look at jobs.
    :param timeout: Seconds for one request. Default 60.
    :param max_concurrency: Uploads or downloads at once. Default 8.
    :param jobs_per_minute: Job submissions a minute that the account allows. Default 5, PiktID's clients.
    :param active_jobs: Jobs at once that the account allows. Default 5, PiktID's clients.
    :param images_per_job: Images in one job. Default 10, PiktID's reference.
    :param rate_window: Seconds that ``jobs_per_minute`` is counted over. Default 60; an emulator may have less.
    """

    conn_id: str
    token: str | None
    login: str | None
    password: str | None
    base_url: str = V2_URL
    v1_url: str = V1_URL
    app_url: str = APP_URL
    timeout: float = 60.0
    max_concurrency: int = 8
    jobs_per_minute: int = 5
    active_jobs: int = 5
    images_per_job: int = 10
    rate_window: float = 60.0

    def __repr__(self) -> str:
        return f"PiktidSettings(conn_id={self.conn_id!r}, base_url={self.base_url!r})"

    @classmethod
    def from_connection(cls, conn: Any, extra: Mapping[str, Any]) -> PiktidSettings:
        """
        Read a connection.

        :param conn: Airflow's connection.
        :param extra: Its decoded extra, passed apart because reading it blocks on some versions.
        :raises PiktidConfigError: A field is missing or makes no sense; the message names it.
        """
        conn_id = str(conn.conn_id)
        host = _base_url(conn_id, conn)
        login = (conn.login or "").strip() or None
        password = (conn.password or "").strip() or None
        return cls(
            conn_id=conn_id,
            token=None if login else password,
            login=login,
            password=password if login else None,
            base_url=host or V2_URL,
            v1_url=_v1_url(conn_id, extra) or (f"{host}/api" if host else V1_URL),
            app_url=_text(extra, "app_url").rstrip("/") or host or APP_URL,
            timeout=_number(conn_id, extra, "timeout", 60.0),
            max_concurrency=_whole(conn_id, extra, "max_concurrency", 8),
            jobs_per_minute=_whole(conn_id, extra, "jobs_per_minute", 5),
            active_jobs=_whole(conn_id, extra, "active_jobs", 5),
            images_per_job=_whole(conn_id, extra, "images_per_job", 10),
            rate_window=_number(conn_id, extra, "rate_window", 60.0),
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
                f"Connection {self.conn_id} holds a login, which is for v1 (person generation). Model swap needs "
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
    def v1_account(self) -> tuple[str, str, str]:
        """What tells v1 accounts apart: waiting tasks of one account share one list of notifications."""
        secret = self.password or self.token or ""
        return self.v1_url, self.login or "", hashlib.sha256(secret.encode()).hexdigest()

    def job_url(self, job_id: str) -> str:
        """Page to look at a job. The public service documents no address of a single job: its start page."""
        return self.app_url if self.app_url == APP_URL else f"{self.app_url}/#{job_id}"


class PiktidHook(BaseHook):
    """
    Make clients from an Airflow connection of type ``piktid``.

    Password alone: an API token of v2, or an access token of v1. Login and password: a v1 account.
    Host: another base URL. The rest is in the extra; see the page on the connection.

    :param piktid_conn_id: Connection id. Default ``piktid_default``.
    """

    conn_name_attr = "piktid_conn_id"
    default_conn_name = "piktid_default"
    conn_type = "piktid"
    hook_name = "PiktID"

    def __init__(self, piktid_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.piktid_conn_id = piktid_conn_id
        self._settings: PiktidSettings | None = None

    @property
    def settings(self) -> PiktidSettings:
        """
        The checked connection. Not for event loops: use :meth:`aget_settings` there.

        :raises PiktidConfigError: The connection cannot be used.
        """
        if self._settings is None:
            conn = self.get_connection(self.piktid_conn_id)
            self._settings = PiktidSettings.from_connection(conn, conn.extra_dejson)
        return self._settings

    async def aget_settings(self) -> PiktidSettings:
        """Look the connection up from an event loop, without blocking it. Never cached: a token may change."""
        conn, extra = await _async_connection(self.piktid_conn_id)
        return PiktidSettings.from_connection(conn, extra)

    def get_conn(self) -> PiktidClient:
        """Return a client for synchronous code; close it, or use it as a context manager."""
        return self._client(patient=True)

    def _client(self, *, patient: bool) -> PiktidClient:
        from airflow_provider_piktid.client import PiktidClient, RetrySettings

        settings = self.settings
        return PiktidClient(
            settings.require_token(),
            base_url=settings.base_url,
            timeout=settings.timeout,
            label=settings.conn_id,
            retry=RetrySettings() if patient else RetrySettings(max_attempts=1),
        )

    async def aget_client(self, *, patient: bool = True) -> AsyncPiktidClient:
        """
        Return a client for event loops.

        :param patient: Repeat a request as the client's own settings say. Off for those who wait for jobs:
            they ask again anyway, and a request that is repeated for minutes would keep them from noticing.
        """
        return async_client(await self.aget_settings(), patient=patient)

    def get_v1_client(self) -> PiktidV1Client:
        """
        Return a v1 client for synchronous code; close it, or use it as a context manager.

        Access tokens that it fetches are masked in the logs of the task.

        :raises PiktidConfigError: The connection has neither login and password nor a token.
        """
        from airflow.providers.common.compat.sdk import mask_secret

        from airflow_provider_piktid.client import PiktidV1Client

        return PiktidV1Client(on_token=mask_secret, **_v1_arguments(self.settings))

    async def aget_v1_client(self, *, patient: bool = True) -> AsyncPiktidV1Client:
        """
        Return a v1 client for event loops; see :meth:`aget_client`.

        :raises PiktidConfigError: The connection has neither login and password nor a token.
        """
        return async_v1_client(await self.aget_settings(), patient=patient)

    def test_connection(self) -> tuple[bool, str]:
        """
        Tell whether the service can be reached with this token or login. Free of charge: it lists identities.

        The message is safe to store: no secrets, no addresses with secrets.
        """
        try:
            settings = self.settings
            if settings.login:
                return self._test_login(settings)
            # A form waits for the answer: nothing is repeated.
            with self._client(patient=False) as client:
                next(iter(client.iter_identities()), None)
        except PiktidAuthError:
            return self._test_v1_token()
        except PiktidError as error:
            return False, str(error)
        except Exception as error:  # noqa: BLE001 - the form shows a line, whatever happens
            return False, f"{self.piktid_conn_id}: {type(error).__name__}"
        return True, f"Connected to {settings.base_url}; the token is accepted."

    def _test_login(self, settings: PiktidSettings) -> tuple[bool, str]:
        with self.get_v1_client() as client:
            try:
                client.list_notifications()
            except PiktidAuthError:
                return False, f"{settings.conn_id}: the server was reached, but it refused the login."
        return True, f"{settings.conn_id}: logged in at {settings.v1_url}."

    def _test_v1_token(self) -> tuple[bool, str]:
        """A token that v2 refuses may be one of v1."""
        try:
            with self.get_v1_client() as client:
                client.list_notifications()
        except PiktidError:
            return False, f"{self.piktid_conn_id}: the server was reached, but it refused the token."
        return True, f"Connected to {self.settings.v1_url}, for person generation only."

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Labels of the form on Airflow older than 3.2; newer ones read the provider's metadata."""
        return {
            "hidden_fields": UI_FIELD_BEHAVIOUR["hidden-fields"],
            "relabeling": UI_FIELD_BEHAVIOUR["relabeling"],
            "placeholders": UI_FIELD_BEHAVIOUR["placeholders"],
        }

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Extra fields of the form on Airflow older than 3.2; newer ones read the provider's metadata."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from wtforms import IntegerField, StringField

        return {
            name: (IntegerField if "integer" in spec["schema"]["type"] else StringField)(
                spec["label"], widget=BS3TextFieldWidget(), description=spec.get("description", "")
            )
            for name, spec in CONN_FIELDS.items()
        }


def async_client(settings: PiktidSettings, *, patient: bool = True) -> AsyncPiktidClient:
    """Make a client of checked settings; see :meth:`PiktidHook.aget_client`."""
    from airflow_provider_piktid.client import AsyncPiktidClient, RetrySettings

    return AsyncPiktidClient(
        settings.require_token(),
        base_url=settings.base_url,
        timeout=settings.timeout,
        label=settings.conn_id,
        retry=RetrySettings() if patient else RetrySettings(max_attempts=1),
    )


def async_v1_client(settings: PiktidSettings, *, patient: bool = True) -> AsyncPiktidV1Client:
    """Make a v1 client of checked settings; see :meth:`PiktidHook.aget_v1_client`."""
    from airflow_provider_piktid.client import NO_RETRY, AsyncPiktidV1Client, RetrySettings

    retry = RetrySettings() if patient else NO_RETRY
    return AsyncPiktidV1Client(retry=retry, **_v1_arguments(settings))


def _v1_arguments(settings: PiktidSettings) -> dict[str, Any]:
    settings.require_v1()
    return {
        "token": settings.token,
        "login": settings.login,
        "password": settings.password,
        "base_url": settings.v1_url,
        "timeout": settings.timeout,
        "label": settings.conn_id,
    }


async def _async_connection(conn_id: str) -> tuple[Any, dict[str, Any]]:
    """
    Fetch a connection and its extra on any supported Airflow.

    ``DAG.test()`` of 3.3 sees connections of the metadata database only through the synchronous call.
    """
    from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
    from airflow.providers.common.compat.sdk import AirflowNotFoundException
    from asgiref.sync import sync_to_async

    try:
        conn = await get_async_connection(conn_id)
        return conn, await get_async_extra_dejson(conn)
    except AirflowNotFoundException:
        conn = await sync_to_async(BaseHook.get_connection)(conn_id)
        return conn, await sync_to_async(lambda: conn.extra_dejson)()


def _base_url(conn_id: str, conn: Any) -> str:
    """
    Put the address together; empty if the connection names none.

    A connection given as a URI has its port and path in fields of their own, and Airflow calls the path schema.
    """
    host = (conn.host or "").strip()
    if not host:
        return ""
    field = (conn.schema or "").strip().strip("/")
    is_scheme = field.lower() in ("http", "https")
    if "://" not in host:
        host = f"{field.lower() if is_scheme else 'https'}://{host}"
    return _checked_url(conn_id, "the host", host, conn.port, "" if is_scheme else field)


def _v1_url(conn_id: str, extra: Mapping[str, Any]) -> str:
    url = _text(extra, "v1_url")
    return _checked_url(conn_id, "extra 'v1_url'", url, None, "") if url else ""


def _checked_url(conn_id: str, name: str, url: str, port: int | None, path: str) -> str:
    """Check a base URL, and add port and path where it has none. No message shows what it holds."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise PiktidConfigError(
            f"Connection {conn_id}: {name} is no http(s) address. Write it as https://name or https://name:port."
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise PiktidConfigError(
            f"Connection {conn_id}: {name} must hold no login, query or fragment. The token goes into the password."
        )
    netloc = parts.netloc if parts.port or not port else f"{parts.netloc.rstrip(':')}:{port}"
    tail = parts.path.rstrip("/") or (f"/{path}" if path else "")
    return f"{parts.scheme.lower()}://{netloc}{tail}"


def _text(extra: Mapping[str, Any], name: str) -> str:
    return str(extra.get(name) or "").strip()


def _number(conn_id: str, extra: Mapping[str, Any], name: str, default: float) -> float:
    raw = extra.get(name)
    if raw is None or raw == "":
        return default
    try:
        value = 0.0 if isinstance(raw, bool) else float(raw)
    except (TypeError, ValueError):
        value = 0.0
    if not 0 < value < float("inf"):
        raise PiktidConfigError(
            f"Connection {conn_id}: extra {name!r} must be a number above 0, not {raw!r}."
        )
    return value


def _whole(conn_id: str, extra: Mapping[str, Any], name: str, default: int) -> int:
    value = _number(conn_id, extra, name, default)
    if value != int(value):
        raise PiktidConfigError(
            f"Connection {conn_id}: extra {name!r} must be a whole number, not {extra[name]!r}."
        )
    return int(value)
