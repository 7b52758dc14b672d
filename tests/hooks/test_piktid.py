# SPDX-License-Identifier: Apache-2.0
"""From a connection to a client: every field, every way to store it, and no secret in any message."""

from __future__ import annotations

import importlib.util
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from airflow.models.connection import Connection

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import PiktidAuthError, PiktidConfigError
from airflow_provider_piktid.get_provider_info import (
    CONN_FIELDS,
    DEFAULT_APP_URL,
    DEFAULT_BASE_URL,
    DEFAULT_V1_URL,
    UI_FIELD_BEHAVIOUR,
)
from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.hooks.settings import PiktidSettings
from tests.support.service import connection_json

SECRET = "tok-very-secret"
CONN = "AIRFLOW_CONN_PIKTID_DEFAULT"


def settings(extra: dict[str, Any] | None = None, **fields: Any) -> PiktidSettings:
    fields = {"conn_type": "piktid", "password": SECRET} | fields
    return PiktidSettings.from_connection(Connection(conn_id="c", **fields), extra or {})


# -- fields -----------------------------------------------------------------------------------------------------


def test_blank_connection_leads_to_the_public_services() -> None:
    """Without further fields the connection has the documented defaults."""
    found = settings()

    assert (found.base_url, found.v1_url, found.app_url) == (
        DEFAULT_BASE_URL,
        DEFAULT_V1_URL,
        DEFAULT_APP_URL,
    )
    assert (found.timeout, found.max_concurrency, found.rate_window) == (60.0, 8, 60.0)
    assert found.v1_poll_interval == 3.0
    assert (found.jobs_per_minute, found.active_jobs, found.images_per_job) == (5, 5, 10)


def test_password_alone_is_a_token() -> None:
    """A password without a login is the token; surrounding blanks are removed."""
    assert settings(password=f" {SECRET}\n").require_token() == SECRET


def test_login_is_not_a_token() -> None:
    """E-mail and password are for v1; the message names what v2 needs."""
    found = settings(login="me@example.com")

    assert (found.login, found.password, found.token) == ("me@example.com", SECRET, None)
    with pytest.raises(PiktidConfigError, match="login is empty") as caught:
        found.require_token()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("password", [None, "", "  "], ids=["none", "empty", "blank"])
def test_missing_token_names_the_connection_and_the_field(password: str | None) -> None:
    """The message names the field for the token."""
    with pytest.raises(PiktidConfigError, match=r"Connection c has no token.*password"):
        settings(password=password).require_token()


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        pytest.param({"host": "piktid.example"}, "https://piktid.example", id="name"),
        pytest.param({"host": " http://piktid.example/ "}, "http://piktid.example", id="address"),
        pytest.param({"host": "HTTPS://piktid.example"}, "https://piktid.example", id="capital scheme"),
        pytest.param({"host": "piktid.example", "port": 8420}, "https://piktid.example:8420", id="port"),
        pytest.param(
            {"host": "piktid.example:1", "port": 8420}, "https://piktid.example:1", id="port in the host wins"
        ),
        pytest.param({"host": "piktid.example", "schema": "http"}, "http://piktid.example", id="scheme"),
        pytest.param({"host": "https://x.example", "schema": "http"}, "https://x.example", id="scheme twice"),
        pytest.param({"host": "https://x.example/base/"}, "https://x.example/base", id="path"),
        pytest.param(
            {"host": "http://x.example/base", "port": 80},
            "http://x.example:80/base",
            id="port before the path",
        ),
        pytest.param(
            {"host": "http://x.example", "schema": "base/v2"}, "http://x.example/base/v2", id="path as schema"
        ),
        pytest.param({"host": "http://[::1]", "port": 8420}, "http://[::1]:8420", id="IPv6"),
        pytest.param({"host": "http://[::1]:9"}, "http://[::1]:9", id="IPv6 with port"),
        pytest.param({"host": "  "}, DEFAULT_BASE_URL, id="blank"),
    ],
)
def test_host_forms(fields: dict[str, Any], url: str) -> None:
    """Every accepted form of the host results in the base URL."""
    assert settings(**fields).base_url == url


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("piktid://:tok@piktid.example", "https://piktid.example"),
        ("piktid://:tok@piktid.example:8420/http", "http://piktid.example:8420"),
        ("piktid://:tok@piktid.example/base", "https://piktid.example/base"),
        ("piktid://:tok@http%3A%2F%2F127.0.0.1:8420", "http://127.0.0.1:8420"),
        ("piktid://http://:tok@127.0.0.1:8420", "http://127.0.0.1:8420"),
        ("piktid://:tok@", DEFAULT_BASE_URL),
    ],
)
def test_connection_as_uri(monkeypatch: pytest.MonkeyPatch, uri: str, url: str) -> None:
    """A connection URI can contain scheme, port and path."""
    monkeypatch.setenv(CONN, uri)

    found = PiktidHook().settings

    assert (found.base_url, found.require_token()) == (url, "tok")


def test_connection_as_uri_carries_extra_in_its_query(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers in the query of a connection URI are converted."""
    monkeypatch.setenv(CONN, "piktid://:tok@?timeout=5&max_concurrency=3")

    found = PiktidHook().settings

    assert (found.timeout, found.max_concurrency) == (5.0, 3)


@pytest.mark.parametrize(
    "host",
    [
        pytest.param(f"ftp://user:{SECRET}@x.example", id="other scheme"),
        pytest.param(f"https://user:{SECRET}@x.example", id="login in the address"),
        pytest.param(f"https://x.example?token={SECRET}", id="query"),
        pytest.param(f"https://x.example#{SECRET}", id="fragment"),
        pytest.param("https://", id="no name"),
        pytest.param(f"http://x.example:{SECRET}", id="port no number"),
        pytest.param(f"http://[{SECRET}", id="half a bracket"),
    ],
)
@pytest.mark.parametrize("place", ["host", "v1_url"])
def test_bad_address_is_refused_without_showing_it(host: str, place: str) -> None:
    """The error for an invalid URL names the field and does not contain the value."""
    with pytest.raises(PiktidConfigError, match="Connection c: .*" + place) as caught:
        settings(**({"host": host} if place == "host" else {"extra": {"v1_url": host}}))

    assert SECRET not in str(caught.value)


def test_addresses_of_the_other_services() -> None:
    """v1 is at the host plus /api, the page at the host, unless the extra names them."""
    here = settings(host="http://127.0.0.1:8420")
    told = settings({"v1_url": "https://v1.example/api/", "app_url": "https://app.example/"}, host="http://h")

    assert (here.v1_url, here.app_url) == ("http://127.0.0.1:8420/api", "http://127.0.0.1:8420")
    assert (told.v1_url, told.app_url) == ("https://v1.example/api", "https://app.example")


def test_job_url() -> None:
    """For the public service the job URL is the app; for other hosts it is the job's page."""
    assert settings().job_url("j") == DEFAULT_APP_URL
    assert settings(host="http://h").job_url("j") == "http://h/#j"


NUMBERS = [
    "timeout",
    "max_concurrency",
    "jobs_per_minute",
    "rate_window",
    "active_jobs",
    "images_per_job",
    "v1_poll_interval",
]


def test_every_number_of_the_form_is_in_the_table() -> None:
    """``NUMBERS`` contains every numeric field of the form."""
    assert [name for name, field in CONN_FIELDS.items() if "default" in field["schema"]] == NUMBERS


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_the_extra(name: str) -> None:
    """Numbers may be text, as in forms and URIs; blank ones have the default."""
    assert getattr(settings({name: 3}), name) == 3
    assert getattr(settings({name: "3"}), name) == 3
    assert getattr(settings({name: ""}), name) == getattr(settings(), name)
    assert getattr(settings({name: None}), name) == getattr(settings(), name)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [0, -1, "many", "nan", "inf", [], True], ids=str)
def test_bad_numbers_name_the_field(name: str, value: Any) -> None:
    """An invalid number raises an error that names the field."""
    with pytest.raises(PiktidConfigError, match=f"Connection c: extra '{name}'"):
        settings({name: value})


@pytest.mark.parametrize("name", ["max_concurrency", "jobs_per_minute", "active_jobs", "images_per_job"])
def test_counts_are_whole_numbers(name: str) -> None:
    """Half a job per minute is refused."""
    with pytest.raises(PiktidConfigError, match="whole number"):
        settings({name: 0.5})


@pytest.mark.parametrize("name", ["timeout", "rate_window", "v1_poll_interval"])
def test_seconds_may_be_fractions(name: str) -> None:
    """A fraction is accepted for a field in seconds."""
    assert getattr(settings({name: "0.5"}), name) == 0.5


def test_settings_do_not_show_secrets() -> None:
    """``repr`` and ``str`` of the settings do not contain the token or the password."""
    shown = repr(settings(login="me@example.com")) + str(settings())

    assert SECRET not in shown


# -- where connections come from --------------------------------------------------------------------------------


def test_connection_as_json_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection in JSON form can contain every field."""
    monkeypatch.setenv(CONN, connection_json("http://127.0.0.1:8420", password=SECRET, images_per_job=4))

    found = PiktidHook().settings

    assert (found.base_url, found.token, found.images_per_job) == ("http://127.0.0.1:8420", SECRET, 4)


def test_hook_looks_up_once_and_another_hook_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook looks its connection up once; a new hook looks it up again."""
    monkeypatch.setenv(CONN, connection_json("http://one.example"))
    hook = PiktidHook()
    assert hook.settings.base_url == "http://one.example"
    monkeypatch.setenv(CONN, connection_json("http://two.example"))

    assert hook.settings.base_url == "http://one.example"
    assert PiktidHook().settings.base_url == "http://two.example"


@pytest.mark.anyio
async def test_async_lookup_is_never_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every async lookup returns the current connection."""
    hook = PiktidHook()
    for token in ("one", "two"):
        monkeypatch.setenv(CONN, connection_json("http://h.example", password=token, timeout=7))
        found = await hook.aget_settings()
        assert (found.token, found.timeout) == (token, 7.0)


@pytest.mark.anyio
async def test_async_client_of_a_login_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """``aget_client`` raises the same error as the sync client if the token is missing."""
    monkeypatch.setenv(CONN, json.dumps({"conn_type": "piktid", "login": "me", "password": SECRET}))

    with pytest.raises(PiktidConfigError, match="login is empty"):
        await PiktidHook().aget_client()


@pytest.fixture
def stored(airflow_db: Path) -> Any:
    """Store connections in the metadata database; they are gone afterwards."""
    from airflow.utils.session import create_session

    names: list[str] = []

    def store(conn_id: str, **fields: Any) -> None:
        with create_session() as session:
            session.add(Connection(conn_id=conn_id, conn_type="piktid", **fields))
        names.append(conn_id)

    yield store
    with create_session() as session:
        session.query(Connection).filter(Connection.conn_id.in_(names)).delete()


def as_dag_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make Airflow 3 look into the database, as ``DAG.test()`` does; Airflow 2 always does."""
    if importlib.util.find_spec("airflow.sdk") is not None:
        from airflow.sdk.execution_time import context

        monkeypatch.setattr(context, "_get_connection", _from_database)


def _from_database(conn_id: str) -> Connection:
    return Connection.get_connection_from_secrets(conn_id)


def test_connection_of_the_metadata_database(monkeypatch: pytest.MonkeyPatch, stored: Any) -> None:
    """A connection in the metadata database is found, with its encrypted extra."""
    stored("piktid_db", host="db.example", password=SECRET, extra=json.dumps({"timeout": 9}))
    as_dag_test(monkeypatch)

    found = PiktidHook("piktid_db").settings

    assert (found.base_url, found.token, found.timeout) == ("https://db.example", SECRET, 9.0)


@pytest.mark.anyio
async def test_connection_of_the_metadata_database_from_an_event_loop(
    monkeypatch: pytest.MonkeyPatch, stored: Any
) -> None:
    """The async lookup also finds a connection in the metadata database."""
    stored("piktid_db2", host="db.example", password=SECRET, extra=json.dumps({"timeout": 9}))
    as_dag_test(monkeypatch)

    found = await PiktidHook("piktid_db2").aget_settings()

    assert (found.base_url, found.token, found.timeout) == ("https://db.example", SECRET, 9.0)


# -- test_connection --------------------------------------------------------------------------------------------


def test_test_connection_of_a_good_token(server: EmulatorServer) -> None:
    """A valid token succeeds; the message contains the URL, and only identities are requested."""
    good, message = PiktidHook().test_connection()

    assert good
    assert server.url in message
    assert set(server.state.counters.requests) == {"identities"}


def test_test_connection_of_a_wrong_token(server: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong token fails, and the message does not contain it."""
    monkeypatch.setenv(CONN, connection_json(server.url, password=SECRET))

    good, message = PiktidHook().test_connection()

    assert not good
    assert "refused the token" in message
    assert SECRET not in message


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def test_test_connection_of_an_unreachable_host_answers_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreachable host is reported without minutes of retries."""
    monkeypatch.setenv(CONN, connection_json(f"http://127.0.0.1:{closed_port()}", password=SECRET))
    started = time.monotonic()

    good, message = PiktidHook().test_connection()

    assert not good
    assert "cannot be reached" in message
    assert "token" not in message
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        ({"conn_type": "piktid"}, "no token"),
        ({"conn_type": "piktid", "password": SECRET, "host": f"ftp://{SECRET}"}, "not an http"),
        ({"conn_type": "piktid", "password": SECRET, "extra": {"timeout": "soon"}}, "timeout"),
        ({"conn_type": "piktid", "password": f"{SECRET}\u2028ü"}, "token"),
    ],
    ids=["no token", "bad host", "bad number", "token that cannot be sent"],
)
def test_test_connection_of_a_bad_connection_says_which_field(
    monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any], words: str
) -> None:
    """An invalid field fails; the message names it and contains no secret."""
    monkeypatch.setenv(CONN, json.dumps(connection))

    good, message = PiktidHook().test_connection()

    assert not good
    assert words in message
    assert SECRET not in message


def test_test_connection_of_a_missing_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown connection id fails with a message that names it."""
    monkeypatch.delenv(CONN, raising=False)

    good, message = PiktidHook("piktid_nowhere").test_connection()

    assert not good
    assert "piktid_nowhere" in message


def test_client_of_a_wrong_token_says_one_line_with_the_connection(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line is enough to act on."""
    monkeypatch.setenv(CONN, connection_json(server.url, password=SECRET))

    with PiktidHook().get_conn() as client, pytest.raises(PiktidAuthError) as caught:
        client.get_job("j")

    assert str(caught.value).startswith("piktid_default: ")
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


# -- the form ---------------------------------------------------------------------------------------------------


def test_form_behaviour_has_the_names_of_the_hook_method() -> None:
    """The form behaviour uses the key names of the hook method."""
    behaviour = PiktidHook.get_ui_field_behaviour()

    assert behaviour["hidden_fields"] == UI_FIELD_BEHAVIOUR["hidden-fields"]
    assert set(behaviour) == {"hidden_fields", "relabeling", "placeholders"}


@pytest.mark.skipif(
    importlib.util.find_spec("flask_appbuilder") is None, reason="the form of Airflow 2 needs it"
)
def test_form_widgets_are_the_fields_of_the_metadata() -> None:
    """The form widgets are the fields of the metadata."""
    widgets = PiktidHook.get_connection_form_widgets()

    assert list(widgets) == list(CONN_FIELDS)
    kinds = {name: field.field_class.__name__ for name, field in widgets.items()}
    assert kinds["max_concurrency"] == "IntegerField"
    assert kinds["v1_url"] == "StringField"
