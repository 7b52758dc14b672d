# SPDX-License-Identifier: Apache-2.0
"""From an Airflow connection to a client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_piktid.exceptions import PiktidAuthError, PiktidConfigError, PiktidError
from airflow_provider_piktid.get_provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidClient, PiktidClient

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
            v1_url=_text(extra, "v1_url").rstrip("/") or (f"{host}/api" if host else V1_URL),
            app_url=_text(extra, "app_url").rstrip("/") or host or APP_URL,
            timeout=_number(conn_id, extra, "timeout", 60.0),
            max_concurrency=int(_number(conn_id, extra, "max_concurrency", 8)),
            jobs_per_minute=int(_number(conn_id, extra, "jobs_per_minute", 5)),
            active_jobs=int(_number(conn_id, extra, "active_jobs", 5)),
            images_per_job=int(_number(conn_id, extra, "images_per_job", 10)),
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
        from airflow_provider_piktid.client import PiktidClient

        settings = self.settings
        return PiktidClient(
            settings.require_token(),
            base_url=settings.base_url,
            timeout=settings.timeout,
            label=settings.conn_id,
        )

    async def aget_client(self, *, patient: bool = True) -> AsyncPiktidClient:
        """
        Return a client for event loops.

        :param patient: Repeat a request as the client's own settings say. Off for those who wait for jobs:
            they ask again anyway, and a request that is repeated for minutes would keep them from noticing.
        """
        return async_client(await self.aget_settings(), patient=patient)

    def test_connection(self) -> tuple[bool, str]:
        """
        Tell whether the service can be reached with this token or login. Free of charge: it lists identities.

        The message is safe to store: no secrets, no addresses with secrets.
        """
        try:
            settings = self.settings
            if settings.login:
                return self._test_login(settings)
            with self.get_conn() as client:
                next(iter(client.iter_identities()), None)
        except PiktidAuthError:
            return False, f"{self.piktid_conn_id}: the server was reached, but it refused the token."
        except PiktidError as error:
            return False, str(error)
        except Exception as error:  # noqa: BLE001 - the form shows a line, whatever happens
            return False, f"{self.piktid_conn_id}: {type(error).__name__}"
        return True, f"{self.piktid_conn_id}: connected to {settings.base_url}."

    def _test_login(self, settings: PiktidSettings) -> tuple[bool, str]:
        raise PiktidConfigError(f"{settings.conn_id}: logins are for v1, which this version cannot test yet.")

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
    host = (conn.host or "").strip().rstrip("/")
    if not host:
        return ""
    # Connections given as a URI come without the scheme in the host.
    scheme, separator, rest = host.partition("://")
    if not separator:
        scheme, rest = (conn.schema or "https").strip() or "https", host
    if scheme not in ("http", "https") or not rest:
        raise PiktidConfigError(f"Connection {conn_id}: host {host!r} is no http(s) address.")
    if conn.port and ":" not in rest.split("/")[0]:
        authority, slash, path = rest.partition("/")
        rest = f"{authority}:{conn.port}{slash}{path}"
    return f"{scheme}://{rest}"


def _text(extra: Mapping[str, Any], name: str) -> str:
    return str(extra.get(name) or "").strip()


def _number(conn_id: str, extra: Mapping[str, Any], name: str, default: float) -> float:
    raw = extra.get(name)
    if raw is None or raw == "":
        return default
    try:
        value = float(raw)
    except (TypeError, ValueError):
        value = 0.0
    if not 0 < value < float("inf"):
        raise PiktidConfigError(
            f"Connection {conn_id}: extra {name!r} must be a number above 0, not {raw!r}."
        )
    return value
