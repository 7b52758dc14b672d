# SPDX-License-Identifier: Apache-2.0
"""The page with the contact sheet of a refresh: for whom it opens, and what it can show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_piktid import links
from airflow_provider_piktid.links import SHEET_PREFIX, sheet_page
from tests.dags.test_refresh import night
from tests.support.service import connection_json, emulator, picture
from tests.support.tasks import TaskInstance

pytest.importorskip("s3fs", reason="the example's asset is one of Amazon's provider")
security = pytest.importorskip("airflow.api_fastapi.core_api.security", reason="Airflow 2 has no such pages")
if sheet_page(TaskInstance(), "sheet.html") is None:
    pytest.skip("before Airflow 3.1 the browser does not send the user's token", allow_module_level=True)

#: Requests are sent as a browser does: with the cookie of the login.
Get = Callable[..., Any]


@pytest.fixture(scope="module")
def output(airflow_db: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a refresh that has run."""
    return tmp_path_factory.mktemp("refreshed")


@pytest.fixture(scope="module")
def page(output: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of its contact sheet, as its task has recorded it."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    source = picture(tmp_path_factory.mktemp("source") / "shirts" / "front.jpg").parent.parent
    with emulator() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", connection_json(server.url))
        run = night("example_refresh", source=str(source), output_path=str(output))
    query = XComModel.get_many(run_id=run.run_id, dag_ids=run.dag_id, key=links.SHEET_URL_KEY)
    with create_session() as session:
        return str(XComModel.deserialize_value(session.scalars(query).first()))


@pytest.fixture
def get(airflow_db: Path) -> Get:
    """Get an address as a user with a role, through Airflow's simple auth manager."""
    from airflow.api_fastapi.app import create_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from starlette.testclient import TestClient

    from airflow_provider_piktid.plugins.contact_sheet import contact_sheet_app

    manager = create_auth_manager()
    manager.init()

    def send(address: str, role: str | None = "viewer") -> Any:
        client = TestClient(contact_sheet_app())
        if role is not None:
            user = SimpleAuthManagerUser(username="anna", role=None if role == "none" else role)
            client.cookies.set(security.COOKIE_NAME_JWT_TOKEN, manager.generate_jwt(user))
        return client.get(address.removeprefix(SHEET_PREFIX), follow_redirects=False)

    return send


@pytest.mark.parametrize(
    ("role", "status"), [(None, 401), ("none", 403), ("viewer", 200)], ids=["nobody", "no role", "viewer"]
)
def test_page_opens_for_those_who_may_read_the_task(
    page: str, get: Get, role: str | None, status: int
) -> None:
    """Without a login the answer is 401, without access to the DAG 403; a viewer sees the sheet."""
    answer = get(page, role)

    assert answer.status_code == status
    assert ("shirts/front.jpg" in answer.text) == (status == 200)


def test_page_can_do_nothing(page: str, get: Get) -> None:
    """The page runs no script and loads nothing, whatever is in the file."""
    answer = get(page)

    policy = answer.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "sandbox", "img-src data:"} <= set(policy)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "other",
    ["0000000000000000.html", "..%2f..%2fcatalogue", "%2fetc%2fpasswd", "../../../../etc/passwd"],
)
def test_other_files_are_not_found(page: str, get: Get, other: str) -> None:
    """A visitor cannot name another file."""
    assert get(f"{page.rpartition('/')[0]}/{other}").status_code == 404


def test_recorded_path_that_is_no_sheet_is_not_found(
    page: str, get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also somebody who may write XCom cannot make the web server show another file."""
    from airflow_provider_piktid.plugins import contact_sheet

    (tmp_path / "secret.html").write_text("secret")
    monkeypatch.setattr(contact_sheet, "recorded_sheet", lambda *_: f"file://{tmp_path}/secret.html")

    assert get(f"{page.rpartition('/')[0]}/secret.html").status_code == 404


def test_removed_sheet_is_not_found(page: str, get: Get, output: Path) -> None:
    """If the web server cannot read the sheet, the answer says where it should be."""
    (sheet,) = (output / "_piktid" / "contact_sheet").glob("*.html")
    removed = sheet.rename(output / "removed.html")
    try:
        answer = get(page)
    finally:
        removed.rename(sheet)

    assert (answer.status_code, str(sheet) in answer.text) == (404, True)
