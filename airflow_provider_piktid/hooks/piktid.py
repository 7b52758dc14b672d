# SPDX-License-Identifier: Apache-2.0
"""The hook: clients from an Airflow connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_piktid.common.compat import async_connection, mask_secret
from airflow_provider_piktid.exceptions import PiktidAuthError, PiktidConfigError, PiktidError
from airflow_provider_piktid.get_provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR
from airflow_provider_piktid.hooks.settings import PiktidSettings

if TYPE_CHECKING:
    from airflow_provider_piktid.client import (
        AsyncPiktidClient,
        AsyncPiktidV1Client,
        PiktidClient,
        PiktidV1Client,
    )
    from airflow_provider_piktid.models import Webhook

__all__ = ["PiktidHook", "PiktidSettings", "async_client", "async_v1_client"]


class PiktidHook(BaseHook):
    """
    Create clients from an Airflow connection of type ``piktid``.

    Password only: an API token of v2, or an access token of v1. Login and password: a v1 account.
    Host: another base URL. Other settings are in the extra; see the page on the connection.

    :param piktid_conn_id: Connection id. Default: ``piktid_default``.
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
        The checked connection. In an event loop use :meth:`aget_settings`.

        :raises PiktidConfigError: The connection is invalid.
        """
        if self._settings is None:
            try:
                conn = self.get_connection(self.piktid_conn_id)
            except AirflowNotFoundException as error:
                raise _not_found(self.piktid_conn_id) from error
            self._settings = PiktidSettings.from_connection(conn, conn.extra_dejson)
        return self._settings

    async def aget_settings(self) -> PiktidSettings:
        """Read the connection in an event loop without blocking it. Never cached: a token may change."""
        try:
            conn, extra = await async_connection(self.piktid_conn_id)
        except AirflowNotFoundException as error:
            raise _not_found(self.piktid_conn_id) from error
        return PiktidSettings.from_connection(conn, extra)

    def get_conn(self) -> PiktidClient:
        """Return a client for synchronous code; close it, or use it as a context manager."""
        from airflow_provider_piktid.client import PiktidClient

        return PiktidClient(**_v2_arguments(self.settings, patient=True))

    async def aget_client(self, *, patient: bool = True) -> AsyncPiktidClient:
        """
        Return a client for event loops.

        :param patient: Repeat failed requests. False for code that polls: it asks again anyway, and must not
            block for minutes in one request. Default: True.
        """
        return async_client(await self.aget_settings(), patient=patient)

    def get_v1_client(self) -> PiktidV1Client:
        """
        Return a v1 client for synchronous code; close it, or use it as a context manager.

        Its access tokens are masked in the logs of the task.

        :raises PiktidConfigError: The connection has neither login and password nor a token.
        """
        from airflow_provider_piktid.client import PiktidV1Client

        return PiktidV1Client(on_token=mask_secret, **_v1_arguments(self.settings, patient=True))

    async def aget_v1_client(self, *, patient: bool = True) -> AsyncPiktidV1Client:
        """
        Return a v1 client for event loops; see :meth:`aget_client`.

        :raises PiktidConfigError: The connection has neither login and password nor a token.
        """
        return async_v1_client(await self.aget_settings(), patient=patient)

    def test_connection(self) -> tuple[bool, str]:
        """
        Check that the service can be reached with this token or login. Free of charge: it lists identities.

        :return: Whether it worked, and a message without secrets.
        """
        from airflow_provider_piktid.client import PiktidClient

        try:
            settings = self.settings
            if settings.login:
                return self._test_login(settings)
            # Someone waits in front of the form: nothing is repeated.
            with PiktidClient(**_v2_arguments(settings, patient=False)) as client:
                next(iter(client.iter_identities()), None)
        except PiktidAuthError:
            return self._test_v1_token()
        except PiktidError as error:
            return False, str(error)
        except Exception as error:  # noqa: BLE001 - the form shows one line for any error
            return False, f"{self.piktid_conn_id}: {type(error).__name__}"
        return True, f"Connected to {settings.base_url}; the token is accepted."

    def _test_login(self, settings: PiktidSettings) -> tuple[bool, str]:
        with self.get_v1_client() as client:
            try:
                client.list_notifications()
            except PiktidAuthError:
                return False, f"{settings.conn_id}: the server is reachable, but it refused the login."
        return True, f"{settings.conn_id}: logged in at {settings.v1_url}."

    def _test_v1_token(self) -> tuple[bool, str]:
        """Try a token that v2 refused on v1."""
        try:
            with self.get_v1_client() as client:
                client.list_notifications()
        except PiktidError:
            return False, f"{self.piktid_conn_id}: the server is reachable, but it refused the token."
        return True, f"Connected to {self.settings.v1_url}, for person generation only."

    def register_webhook(self, url: str, *, replace: bool = False) -> Webhook:
        """
        Set the account's only webhook. Its secret is returned this once: store it in the connection.

        Put it into ``webhook_secret`` of the extra, and what was there into ``webhook_secret_previous``. Until then
        deliveries are refused, and PiktID sends them again.

        :param url: Public address of the receiver: that of the API server with ``/piktid/webhook``.
        :param replace: Replace a webhook that is set, also one with the same address. Default: False.
        :raises PiktidConfigError: A webhook is set, and ``replace`` is False; the message names its address.
        """
        from airflow_provider_piktid.hooks import webhook

        with self.get_conn() as client:
            set_up = webhook.register(client, self.piktid_conn_id, url, replace=replace)
        if set_up.secret:
            mask_secret(set_up.secret)
        return set_up

    def test_webhook(self) -> tuple[bool, str]:
        """
        Let PiktID send a test to the account's webhook, and wait up to ten seconds for the answer.

        :return: Whether the receiver accepted it, and a message without secrets.
        """
        from airflow_provider_piktid.hooks import webhook

        try:
            with self.get_conn() as client:
                return webhook.request_test(client, self.piktid_conn_id)
        except PiktidError as error:
            return False, str(error)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the labels of the form for Airflow before 3.2; newer versions read the provider's metadata."""
        return {
            "hidden_fields": UI_FIELD_BEHAVIOUR["hidden-fields"],
            "relabeling": UI_FIELD_BEHAVIOUR["relabeling"],
            "placeholders": UI_FIELD_BEHAVIOUR["placeholders"],
        }

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's extra fields for Airflow before 3.2; newer versions read the provider's metadata."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from wtforms import IntegerField, StringField

        return {
            name: (IntegerField if "integer" in spec["schema"]["type"] else StringField)(
                spec["label"], widget=BS3TextFieldWidget(), description=spec.get("description", "")
            )
            for name, spec in CONN_FIELDS.items()
        }


def async_client(settings: PiktidSettings, *, patient: bool = True) -> AsyncPiktidClient:
    """Return a client for checked settings; see :meth:`PiktidHook.aget_client`."""
    from airflow_provider_piktid.client import AsyncPiktidClient

    return AsyncPiktidClient(**_v2_arguments(settings, patient=patient))


def async_v1_client(settings: PiktidSettings, *, patient: bool = True) -> AsyncPiktidV1Client:
    """Return a v1 client for checked settings; see :meth:`PiktidHook.aget_v1_client`."""
    from airflow_provider_piktid.client import AsyncPiktidV1Client

    return AsyncPiktidV1Client(**_v1_arguments(settings, patient=patient))


def _v2_arguments(settings: PiktidSettings, *, patient: bool) -> dict[str, Any]:
    own = {"token": settings.require_token(), "base_url": settings.base_url}
    return own | _common_arguments(settings, patient=patient)


def _v1_arguments(settings: PiktidSettings, *, patient: bool) -> dict[str, Any]:
    settings.require_v1()
    login = {"token": settings.token, "login": settings.login, "password": settings.password}
    return login | {"base_url": settings.v1_url} | _common_arguments(settings, patient=patient)


def _common_arguments(settings: PiktidSettings, *, patient: bool) -> dict[str, Any]:
    from airflow_provider_piktid.client import NO_RETRY, RetrySettings

    return {
        "timeout": settings.timeout,
        "label": settings.conn_id,
        "retry": RetrySettings() if patient else NO_RETRY,
    }


def _not_found(conn_id: str) -> PiktidConfigError:
    """Return the error for a missing connection. It can be retried: Airflow says the same if a backend is away."""
    error = PiktidConfigError(
        f"Connection {conn_id} does not exist. Add it with the type 'piktid', or correct `piktid_conn_id`."
    )
    error.permanent = False
    return error
