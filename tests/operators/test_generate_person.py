# SPDX-License-Identifier: Apache-2.0
"""The person operator against the emulator: purchases, downloads and retries."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, TaskDeferred, redact
from PIL import Image

from airflow_provider_piktid.client._login import TOKENS
from airflow_provider_piktid.common.paid import PaidRequests
from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import (
    PiktidBudgetError,
    PiktidConfigError,
    PiktidDownloadError,
    PiktidImageError,
    PiktidJobFailedError,
    PiktidJobTimeout,
    PiktidPartialResultError,
    PiktidRecordError,
    PiktidSubmissionError,
)
from airflow_provider_piktid.operators.generate_person import PiktidGeneratePersonOperator
from airflow_provider_piktid.person import poller
from tests.support.fixtures import start
from tests.support.person import QUICK_PERSONS, account_json, bought, person_run
from tests.support.service import picture
from tests.support.tasks import StateStore, TaskRun

__all__ = ["start"]

Serve = Callable[..., EmulatorServer]
BOTH_WAYS = pytest.mark.parametrize(
    "deferrable", [pytest.param(True, id="deferrable"), pytest.param(False, id="sync")]
)


@pytest.fixture
def serve(start: Serve, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Start an emulator with a login; clear cached logins and poll quickly."""
    TOKENS.clear()

    def begin(**settings: Any) -> EmulatorServer:
        server = start(**(QUICK_PERSONS | settings))
        monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", account_json(server.url))
        return server

    return begin


def files(folder: Path) -> list[str]:
    """The names of the downloaded images, without the part that depends on the folder."""
    return sorted(path.stem.partition("_")[2] for path in (folder / "out").glob("*.jpg"))


def cause(caught: pytest.ExceptionInfo[BaseException]) -> BaseException | None:
    return caught.value.__cause__


# -- a batch ----------------------------------------------------------------------------------------------------


@BOTH_WAYS
def test_each_person_and_keyword_is_bought_and_downloaded_once(
    serve: Serve, tmp_path: Path, deferrable: bool
) -> None:
    """Each combination of person and keyword is bought once, downloaded, and returned as a row."""
    server = serve()
    run = person_run(tmp_path, deferrable=deferrable)
    rows = run.run()
    assert sorted(bought(server)) == [(0, "Africa"), (0, "Oceania"), (1, "Africa"), (1, "Oceania")]
    assert files(tmp_path) == ["person0_africa", "person0_oceania", "person1_africa", "person1_oceania"]
    for row in rows:
        assert row["url"] is None
        with Image.open(row["file"].removeprefix("file://")) as picture:
            picture.load()
    assert (rows[0]["id_person"], rows[0]["keyword"]) == (0, {"Location": "Oceania"})
    assert run.ti.xcom["summary"]["successful"] == 4
    # Once for the stagger, which may be over already, and once for the results.
    assert run.deferrals in ((1, 2) if deferrable else (0,))


@BOTH_WAYS
def test_other_requests_start_after_the_stagger(serve: Serve, tmp_path: Path, deferrable: bool) -> None:
    """The first request creates the masks; the next one starts after ``stagger`` seconds and reuses them."""
    server = serve(faces=1)
    person_run(tmp_path, stagger=0.4, deferrable=deferrable).run()
    first, second = server.state.generations()
    assert 0.4 <= second["created_at"] - first["created_at"] < 1.5
    assert [row["made_masks"] for row in (first, second)] == [True, False]


def test_task_is_deferred_during_the_stagger(serve: Serve, tmp_path: Path) -> None:
    """During ``stagger`` the task is deferred."""
    serve(faces=1)
    run = person_run(tmp_path, stagger=0.4)
    run.run()
    assert [event["status"] for event in run.events] == ["slot", "done"]


def test_worker_and_trigger_share_one_login(serve: Serve, tmp_path: Path) -> None:
    """Worker and trigger in one process share one login and do not use the refresh token."""
    server = serve()
    person_run(tmp_path).run()
    counts = server.state.v1.counters.as_dict()
    assert (counts["logins"], counts["refreshes"]) == (1, 0)


def test_revoked_token_is_replaced(serve: Serve, tmp_path: Path) -> None:
    """If all tokens were revoked after a task, the next task logs in again and succeeds."""
    server = serve(faces=1)
    run = person_run(tmp_path, keywords=["Oceania"])
    run.run()
    server.state.v1.tokens.clear()
    again = person_run(tmp_path, keywords=["Africa"])
    assert len(again.run()) == 1
    assert server.state.v1.counters.as_dict()["logins"] == 2


def test_connection_with_a_token_does_not_log_in(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that holds only an access token works without a login."""
    server = serve(faces=1)
    token = json.dumps({"conn_type": "piktid", "host": server.url, "password": "piktid-emulator"})
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", token)
    assert len(person_run(tmp_path).run()) == 2
    assert server.state.v1.counters.as_dict()["logins"] == 0


def test_links_and_tokens_stay_out_of_xcom_events_records_and_logs(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture, read_log: Callable[[], str]
) -> None:
    """XCom, trigger events, records and logs contain neither links nor tokens."""
    caplog.set_level(logging.DEBUG)
    server = serve()
    run = person_run(tmp_path)
    rows = run.run()
    (record,) = (tmp_path / "out" / "_piktid").iterdir()
    told = json.dumps([rows, run.ti.xcom, run.events])
    stored = told + record.read_text() + read_log()
    tokens = [pair.access for pair in server.state.v1.tokens._pairs]
    assert tokens
    assert not [secret for secret in [*tokens, "piktid-emulator", f"{server.url}/f/"] if secret in stored]


def test_push_links_returns_links_and_deletes_notifications(serve: Serve, tmp_path: Path) -> None:
    """With ``push_links=True`` the rows contain the links, and the notifications are deleted."""
    server = serve(faces=1)
    rows = person_run(tmp_path, push_links=True, output_path=None).run()
    assert all(row["url"].startswith(f"{server.url}/f/") for row in rows)
    assert server.state.v1.notifications.current() == []


def test_only_own_notifications_are_deleted(serve: Serve, tmp_path: Path) -> None:
    """A notification of another batch is not deleted and does not block the task."""
    server = serve(faces=1)
    foreign = server.state.v1.notifications.publish("edit_generate", {"address": "other", "id_person": 0})
    assert len(person_run(tmp_path).run()) == 2
    assert [item.id for item in server.state.v1.notifications.current()] == [foreign.id]


def test_notifications_are_kept_without_output_path(serve: Serve, tmp_path: Path) -> None:
    """Without ``output_path`` the notifications are not deleted."""
    server = serve(faces=1)
    rows = person_run(tmp_path, output_path=None).run()
    assert [row["file"] for row in rows] == [None, None]
    assert len(server.state.v1.notifications.current()) == 2


@pytest.mark.parametrize(
    "variants",
    [
        pytest.param({"v1_image_id": "image_id"}, id="image_id"),
        pytest.param({"v1_coordinates": "nested"}, id="nested coordinates"),
        pytest.param({"v1_notification_keyword": "object"}, id="keyword object"),
        pytest.param({"v1_id_person": "text"}, id="person as text"),
        pytest.param({"v1_notification_fields": "none"}, id="no id, no timestamp"),
        pytest.param({"v1_generate_reply": "empty"}, id="empty reply"),
        pytest.param({"v1_keyword_key": "strict", "v1_category": "required"}, id="strict"),
        pytest.param({"v1_refresh": "cookie"}, id="refresh cookie"),
        pytest.param({"v1_delete_unknown": "404"}, id="404 on deletion"),
    ],
)
def test_api_variants_succeed(serve: Serve, tmp_path: Path, variants: dict[str, str]) -> None:
    """With every known variant of the API the batch succeeds and buys each result once."""
    server = serve(variants=variants)
    assert len(person_run(tmp_path).run()) == 4
    assert len(bought(server)) == 4


@pytest.mark.parametrize("kind", ["double", "reorder", "junk", "null_data", "foreign"])
def test_unexpected_notifications_are_ignored(serve: Serve, tmp_path: Path, kind: str) -> None:
    """Repeated, reordered, foreign and broken notifications change neither the result nor the purchases."""
    server = serve()
    server.faults.add("v1_notifications", kind, times=None)
    assert len(person_run(tmp_path).run()) == 4
    assert len(bought(server)) == 4


def test_poll_limit_is_respected(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the server refuses polls that come too fast, the task succeeds and buys each result once."""
    server = serve(faces=1, variants={"v1_poll_limit": "on"}, poll_seconds=0.3)
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", account_json(server.url, v1_poll_interval=0.3))
    assert len(person_run(tmp_path).run()) == 2
    assert len(bought(server)) == 2


@pytest.mark.parametrize("deferrable", [True, False], ids=["trigger", "worker"])
def test_worker_and_trigger_keep_the_poll_interval_together(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    """The time of the last request travels with the task: no two requests follow each other too fast."""
    server = serve(faces=1)
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", account_json(server.url, v1_poll_interval=0.5))
    person_run(tmp_path, deferrable=deferrable, push_links=True).run()

    counts = server.state.v1.counters.as_dict()
    assert counts["shortest_poll_interval"] >= 0.4, counts


# -- file names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        pytest.param([{"options": {"seed": 1}}, {"options": {"seed": 2}}, {}], id="options"),
        pytest.param([{"rerun_key": "1"}, {"rerun_key": "2"}, {}], id="rerun_key"),
    ],
)
def test_mapped_purchases_of_one_picture_have_files_of_their_own(
    serve: Serve, tmp_path: Path, more: list[dict[str, Any]]
) -> None:
    """Tasks that differ in options or ``rerun_key`` only do not share a file; without them the name is plain."""
    server = serve(faces=1)
    for index, arguments in enumerate(more):
        run = person_run(tmp_path, keywords=["Africa"], **arguments)
        run.ti.map_index = index
        run.run()

    assert len(bought(server)) == 3
    assert len(files(tmp_path)) == 3
    assert files(tmp_path)[0] == "person0_africa"


def test_file_of_another_run_is_not_replaced(serve: Serve, tmp_path: Path) -> None:
    """A second run of the same task writes beside the file of the first one, also if it is cleared."""
    serve(faces=1)
    first = person_run(tmp_path, keywords=["Africa"])
    (row,) = first.run()
    path = Path(row["file"].removeprefix("file://"))
    path.write_bytes(b"retouched by hand")
    second = person_run(tmp_path, keywords=["Africa"])
    second.ti.run_id = "manual__2"

    rows = second.run()

    assert path.read_bytes() == b"retouched by hand"
    assert rows[0]["file"] != row["file"]
    assert second.run() == rows
    assert len(files(tmp_path)) == 2


def test_file_that_appears_during_the_download_is_not_replaced(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that takes the chosen name before the result is written keeps its content; the result gets another one."""
    from airflow_provider_piktid.person.collect import Collector

    serve(faces=1)
    genuine = Collector._publish

    async def late(self: Collector, received: Any, item: Any, folder: Any) -> str:
        Path(f"{item.file}.jpg".removeprefix("file://")).write_bytes(b"of somebody else")
        return await genuine(self, received, item, folder)

    monkeypatch.setattr(Collector, "_publish", late)
    (row,) = person_run(tmp_path, keywords=["Africa"]).run()

    contents = {path.read_bytes() for path in (tmp_path / "out").glob("*.jpg")}
    assert b"of somebody else" in contents
    assert len(contents) == 2
    assert Path(row["file"].removeprefix("file://")).read_bytes() != b"of somebody else"


# -- persons, keywords, invalid input ---------------------------------------------------------------------------


def test_persons_are_chosen_by_list_or_rule(serve: Serve, tmp_path: Path) -> None:
    """``persons`` may be a list of ids, a rendered template or a rule; only those persons are bought."""
    server = serve(faces=3)
    for number, persons in enumerate(([2], "[2]", "2", "largest")):
        out = str(tmp_path / f"out{number}")
        person_run(tmp_path, persons=persons, keywords="Oceania", output_path=out).run()
    assert [person for person, _ in bought(server)][:3] == [2, 2, 2]
    assert len(bought(server)) == 4


def test_unapproved_person_is_skipped_or_fails_the_task(serve: Serve, tmp_path: Path) -> None:
    """A person that is not approved is skipped, or fails the task with ``unusable="fail"``."""
    server = serve()
    server.faults.add("target", "faces", times=None, n=2, approve=[True, False])
    assert [row["id_person"] for row in person_run(tmp_path, keywords=["Africa"]).run()] == [0]
    with pytest.raises(AirflowFailException, match=r"\[1\].*too blurry"):
        person_run(tmp_path, keywords=["Africa"], unusable="fail").run()
    assert bought(server) == [(0, "Africa")]


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        pytest.param({"keywords": []}, PiktidConfigError, "keywords is empty", id="no keyword"),
        pytest.param({"keywords": ["Atlantis"]}, PiktidConfigError, "South Europe", id="unknown keyword"),
        pytest.param({"keywords": ["Africa", {"location": "africa"}]}, PiktidConfigError, "twice", id="double"),
        pytest.param({"persons": []}, PiktidConfigError, "persons is empty", id="no person"),
        pytest.param({"persons": [0, 7]}, PiktidConfigError, r"\[7\]", id="person not in the picture"),
        pytest.param({"persons": "biggest"}, PiktidConfigError, "largest", id="unknown rule"),
        pytest.param({"id_image": "x", "image": "y"}, PiktidConfigError, "either", id="two pictures"),
        pytest.param({"image": None}, PiktidConfigError, "either", id="no picture"),
        pytest.param({"image": "/nowhere/a.jpg"}, PiktidImageError, "does not exist", id="missing file"),
        pytest.param({"options": ["seed"]}, PiktidConfigError, "options", id="options"),
        pytest.param({"on_lost_reply": "ask"}, PiktidConfigError, "on_lost_reply", id="policy"),
        pytest.param({"max_images": 3}, PiktidBudgetError, "max_images", id="budget"),
        pytest.param({"piktid_conn_id": "piktid_empty"}, PiktidConfigError, "login", id="no credentials"),
    ],
)  # fmt: skip
def test_invalid_arguments_fail_permanently_and_buy_nothing(
    serve: Serve,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    kind: type[Exception],
    words: str,
) -> None:
    """Invalid arguments fail the task without a retry, and nothing is bought."""
    server = serve()
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_EMPTY", json.dumps({"conn_type": "piktid", "host": server.url}))
    with pytest.raises(AirflowFailException, match=words) as caught:
        person_run(tmp_path, **arguments).run()
    assert isinstance(cause(caught), kind)
    assert bought(server) == []


def test_text_file_with_an_image_extension_is_refused(serve: Serve, tmp_path: Path) -> None:
    """A text file named ``.jpg`` is refused before the upload."""
    server = serve()
    (tmp_path / "a.jpg").write_text("hello")
    with pytest.raises(AirflowFailException, match="not a supported image format"):
        person_run(tmp_path, image=str(tmp_path / "a.jpg")).run()
    assert server.state.v1.targets() == []


@pytest.mark.parametrize("ending", ["webp", "png", "jpg"])
def test_documented_formats_are_accepted(serve: Serve, tmp_path: Path, ending: str) -> None:
    """WEBP, PNG and JPEG files are accepted."""
    serve(faces=1)
    path = tmp_path / f"a.{ending}"
    Image.new("RGB", (64, 48), "teal").save(path)
    assert len(person_run(tmp_path, image=str(path)).run()) == 2


@pytest.mark.parametrize(("faces", "words"), [(0, "no face"), (31, "31 persons")])
def test_no_face_or_too_many_faces_fail_permanently(
    serve: Serve, tmp_path: Path, faces: int, words: str
) -> None:
    """An image without faces or with more than 30 fails the task, and nothing is bought."""
    server = serve(faces=faces, variants={"v1_too_many_persons": "all"})
    with pytest.raises(AirflowFailException, match=words):
        person_run(tmp_path).run()
    assert bought(server) == []


def test_wrong_password_fails_permanently(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong password fails the task without a retry; the one-line error does not contain it."""
    server = serve()
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", account_json(server.url, password="wr0ng-one"))
    with pytest.raises(AirflowFailException, match="piktid_default") as caught:
        person_run(tmp_path).run()
    assert "\n" not in str(caught.value)
    assert "wr0ng-one" not in str(caught.value)


def test_id_image_ignores_earlier_results(serve: Serve, tmp_path: Path) -> None:
    """With ``id_image`` an earlier result of the same person and keyword is neither used nor deleted."""
    server = serve(faces=1)
    first = person_run(tmp_path, output_path=None, keywords=["Oceania"], delete_notifications=False).run()
    named = first[0]["id_image"]
    (old,) = server.state.v1.notifications.current()
    rows = person_run(tmp_path, id_image=named, keywords=["Oceania"]).run()
    assert [row["id_image"] for row in rows] == [named]
    assert len(bought(server)) == 2
    assert [item.id for item in server.state.v1.notifications.current()] == [old.id]


# -- purchases --------------------------------------------------------------------------------------------------


def test_cleared_task_buys_nothing(serve: Serve, tmp_path: Path) -> None:
    """A cleared task returns the same rows and buys nothing; another ``rerun_key`` buys again."""
    server = serve(faces=1)
    run = person_run(tmp_path)
    assert run.run() == run.run()
    assert len(bought(server)) == 2
    again = TaskRun(lambda: person_run(tmp_path, rerun_key="2").make(), store=run.store)
    again.run()
    assert len(bought(server)) == 4


def test_cleared_task_buys_only_the_added_keyword(serve: Serve, tmp_path: Path) -> None:
    """A cleared task with an additional keyword buys only that keyword."""
    server = serve(faces=1)
    run = person_run(tmp_path)
    run.run()
    more = TaskRun(
        lambda: person_run(tmp_path, keywords=["Oceania", "Africa", "East Asia"]).make(), store=run.store
    )
    assert len(more.run()) == 3
    assert bought(server) == [(0, "Oceania"), (0, "Africa"), (0, "East Asia")]


def other(run: TaskRun, folder: Path, **arguments: Any) -> TaskRun:
    """Return the same task instance after a clear, with other arguments."""
    return TaskRun(
        lambda: person_run(folder, **arguments).make(), store=run.store, ti=run.ti, began=run.began
    )


def test_keyword_that_comes_back_is_not_bought_again(serve: Serve, tmp_path: Path) -> None:
    """A keyword that is removed counts for nothing; when it comes back, its result is returned and not bought again."""
    server = serve(faces=1)
    run = person_run(tmp_path)
    first = run.run()

    fewer = other(run, tmp_path, keywords=["Africa"])
    assert [row["keyword"] for row in fewer.run()] == [{"Location": "Africa"}]
    assert (fewer.ti.xcom["summary"]["generations"], fewer.ti.xcom["summary"]["paid_requests"]) == (1, 1)
    assert other(run, tmp_path).run() == first
    assert len(bought(server)) == 2


def test_running_generation_of_a_removed_keyword_is_awaited_when_it_comes_back(
    serve: Serve, tmp_path: Path
) -> None:
    """A removed keyword is not waited for; its result is downloaded when it comes back, and it is bought once."""
    server = serve(faces=1)
    server.faults.add("generation", "never_end", keyword="Oceania")
    run = person_run(tmp_path, timeout=0.5)
    with pytest.raises(PiktidJobTimeout):
        run.run()

    assert len(other(run, tmp_path, keywords=["Africa"]).run()) == 1
    server.state.v1.runner.complete(server.state.v1.generations()[0])
    assert len(other(run, tmp_path).run()) == 2
    assert len(bought(server)) == 2


def test_file_of_a_removed_keyword_is_not_needed(serve: Serve, tmp_path: Path) -> None:
    """A file of a removed keyword may be deleted; the task fails only if the keyword comes back."""
    serve(faces=1)
    run = person_run(tmp_path)
    Path(run.run()[0]["file"].removeprefix("file://")).unlink()

    assert len(other(run, tmp_path, keywords=["Africa"]).run()) == 1
    with pytest.raises(AirflowFailException, match="no longer exists"):
        other(run, tmp_path).run()


def test_cleared_task_awaits_running_generations_and_buys_the_added_keyword(
    serve: Serve, tmp_path: Path
) -> None:
    """An additional keyword is bought also if a generation of the earlier try is still running."""
    server = serve(faces=1)
    server.faults.add("generation", "never_end", keyword="Oceania")
    run = person_run(tmp_path, keywords=["Oceania"], timeout=0.5)
    with pytest.raises(PiktidJobTimeout):
        run.run()
    (generation,) = server.state.v1.generations()
    server.state.v1.runner.complete(generation)
    more = TaskRun(lambda: person_run(tmp_path, keywords=["Oceania", "Africa"]).make(), store=run.store)

    assert len(more.run()) == 2
    assert bought(server) == [(0, "Oceania"), (0, "Africa")]


@BOTH_WAYS
@pytest.mark.parametrize("ids", ["absent", "present"])
def test_failed_generation_is_named_and_the_others_are_kept(
    serve: Serve, tmp_path: Path, deferrable: bool, ids: str
) -> None:
    """One failed generation is listed in the summary, and the task succeeds with the other three."""
    server = serve(variants={"v1_error_ids": ids})
    server.faults.add("generation", "fail", id_person=1, keyword="Africa", message="too dark")
    run = person_run(tmp_path, deferrable=deferrable)
    assert len(run.run()) == 3
    assert run.ti.xcom["summary"]["failures"] == ["person 1, Location Africa: too dark"]
    assert files(tmp_path) == ["person0_africa", "person0_oceania", "person1_oceania"]
    assert len(bought(server)) == 4


def test_retry_after_partial_failure_buys_only_what_is_missing(serve: Serve, tmp_path: Path) -> None:
    """With ``fail_on_partial`` the error can be retried, and the retry buys only the missing result."""
    server = serve(variants={"v1_error_ids": "present"})
    server.faults.add("generation", "fail", id_person=1, keyword="Africa")
    run = person_run(tmp_path, fail_on_partial=True)
    with pytest.raises(PiktidPartialResultError, match="person 1, Location Africa"):
        run.run()
    assert len(run.ti.xcom["results"]) == 3
    assert len(run.run()) == 4
    assert bought(server)[4:] == [(1, "Africa")]


@BOTH_WAYS
def test_error_of_another_task_does_not_fail_this_one(serve: Serve, tmp_path: Path, deferrable: bool) -> None:
    """An error without ids, caused elsewhere, changes nothing for the only task of this process."""
    server = serve(faces=1)
    server.state.v1.notifications.publish("error", {"tasks": "edit_generate", "msg": "of another task"})

    assert len(person_run(tmp_path, deferrable=deferrable).run()) == 2
    assert len(bought(server)) == 2


@BOTH_WAYS
def test_timeout_names_an_error_without_ids(serve: Serve, tmp_path: Path, deferrable: bool) -> None:
    """The timeout of a failed generation contains the error without ids that PiktID reported, without its link."""
    # The error is there before the reply to the request, and so at the first look, however late that is.
    server = serve(faces=1, variants={"v1_generate_reply": "empty"}, generate_seconds=0, mask_seconds=0)
    server.faults.add("generation", "fail", message="too dark https://x.example/a?Signature=1")
    run = person_run(tmp_path, keywords=["Africa"], timeout=1.5, deferrable=deferrable)

    with pytest.raises(PiktidJobTimeout, match=r"error without ids in that time.*too dark") as caught:
        run.run()

    assert "Signature" not in str(caught.value)


def test_task_fails_if_all_generations_failed(serve: Serve, tmp_path: Path) -> None:
    """If every generation failed, the task fails."""
    server = serve(faces=1, variants={"v1_error_ids": "present"})
    server.faults.add("generation", "fail", times=None)
    with pytest.raises(PiktidJobFailedError):
        person_run(tmp_path).run()


@BOTH_WAYS
@pytest.mark.parametrize("kind", ["drop_after", "html"])
def test_lost_reply_is_resolved_by_the_notification(
    serve: Serve, tmp_path: Path, deferrable: bool, kind: str
) -> None:
    """After a lost reply the notification shows that the request arrived, and it is not sent again."""
    server = serve(faces=1)
    options: dict[str, Any] = {"done": True} if kind == "html" else {}
    server.faults.add("v1_generate", kind, after=1, **options)
    assert len(person_run(tmp_path, deferrable=deferrable).run()) == 2
    assert len(bought(server)) == 2


@BOTH_WAYS
def test_lost_reply_without_a_result_fails_the_task(serve: Serve, tmp_path: Path, deferrable: bool) -> None:
    """A lost reply without a result fails the task and its retry; other results are kept."""
    server = serve(faces=1)
    server.faults.add("v1_generate", "drop_before", after=1)
    run = person_run(tmp_path, deferrable=deferrable, lost_reply_grace=0.5)
    with pytest.raises(PiktidSubmissionError, match="Africa"):
        run.run()
    with pytest.raises(PiktidSubmissionError):
        run.run()
    assert bought(server) == [(0, "Oceania")]
    assert files(tmp_path) == ["person0_oceania"]


def test_lost_reply_without_a_result_can_be_resubmitted(serve: Serve, tmp_path: Path) -> None:
    """With ``on_lost_reply="resubmit"`` the request is sent again after the grace period."""
    server = serve(faces=1)
    server.faults.add("v1_generate", "drop_before", after=1)
    assert len(person_run(tmp_path, lost_reply_grace=0.5, on_lost_reply="resubmit").run()) == 2
    assert bought(server) == [(0, "Oceania"), (0, "Africa")]


def test_grace_that_ends_while_others_are_requested_is_not_missed(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost request is sent again also if its grace period ends between two looks at the clock."""
    server = serve(faces=1)
    server.faults.add("v1_generate", "drop_before")
    run = person_run(tmp_path, keywords=["Oceania"], lost_reply_grace=0.5, on_lost_reply="resubmit")
    advance = PaidRequests.advance

    def slowly(requests: PaidRequests[Any]) -> Any:
        wait = advance(requests)
        time.sleep(0.6)
        return wait

    monkeypatch.setattr(PaidRequests, "advance", slowly)

    assert len(run.run()) == 1
    assert len(bought(server)) == 1


def test_retry_downloads_a_late_result(serve: Serve, tmp_path: Path) -> None:
    """A result that arrives after the timeout is downloaded by the retry, which buys nothing."""
    server = serve(faces=1)
    server.faults.add("generation", "never_end", keyword="Oceania")
    run = person_run(tmp_path, keywords=["Oceania"], timeout=0.5)
    with pytest.raises(PiktidJobTimeout, match="Oceania"):
        run.run()
    (generation,) = server.state.v1.generations()
    server.state.v1.runner.complete(generation)
    assert len(run.run()) == 1
    assert len(bought(server)) == 1


def test_trigger_knows_when_the_worker_listed_the_notifications(serve: Serve, tmp_path: Path) -> None:
    """The trigger of a retry gets the time of the worker's last request, to keep the interval to it."""
    server = serve(faces=1)
    server.faults.add("generation", "never_end")
    run = person_run(tmp_path, keywords=["Oceania"], timeout=1.0)
    with pytest.raises(PiktidJobTimeout):
        run.run()
    began = time.time()

    with pytest.raises(TaskDeferred) as caught:
        run.make().execute(run.context)

    trigger: Any = caught.value.trigger
    assert began <= trigger.listed_at <= time.time()


def test_rate_limit_defers_the_task(serve: Serve, tmp_path: Path) -> None:
    """HTTP 429 for the rate defers the task, which then succeeds and buys each result once."""
    server = serve(faces=1)
    server.faults.add("v1_generate", "status", code=429, headers={"Retry-After": "1"})
    run = person_run(tmp_path)
    assert len(run.run()) == 2
    assert len(bought(server)) == 2
    assert run.events[0]["status"] == "slot"


def test_out_of_credits_in_mid_batch_keeps_paid_results(serve: Serve, tmp_path: Path) -> None:
    """Out of credits, the task downloads what it bought and fails; a later run buys only the rest."""
    server = serve(faces=1, credits=1)
    run = person_run(tmp_path)
    with pytest.raises(AirflowFailException, match=r"Insufficient credits.*1 of 2 are done"):
        run.run()
    assert files(tmp_path) == ["person0_oceania"]
    server.state.v2.jobs.balance = 10
    assert len(run.run()) == 2
    assert bought(server) == [(0, "Oceania"), (0, "Africa")]


def test_out_of_credits_at_the_start_fails_permanently(serve: Serve, tmp_path: Path) -> None:
    """Out of credits before the first purchase, the task fails permanently and does not defer."""
    serve(faces=1, credits=0)
    run = person_run(tmp_path)
    with pytest.raises(AirflowFailException, match="credits"):
        run.run()
    assert run.deferrals == 0


class Killed(BaseException):
    """Ends a try as SIGKILL does: no ``except Exception`` catches it."""


@pytest.mark.parametrize(
    "moment", ["before the request", "after the reply", "after the download, before it is noted"]
)
def test_retry_after_a_killed_worker_does_not_buy_twice(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """After the worker is killed, the retry returns all results, and each is bought once."""
    from airflow_provider_piktid.client import PiktidV1Client
    from airflow_provider_piktid.person.collect import Collector

    server = serve(faces=1)
    run = person_run(tmp_path, on_lost_reply="resubmit", lost_reply_grace=1.0)
    target, name = (Collector, "collect") if "noted" in moment else (PiktidV1Client, "generate")
    genuine = getattr(target, name)

    def killed() -> None:
        raise Killed

    def cut(self: Any, *args: Any, **kwargs: Any) -> Any:
        if moment == "after the download, before it is noted":
            self._save = killed
        if moment != "before the request":
            genuine(self, *args, **kwargs)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(target, name, cut)
        with pytest.raises(Killed):
            run.run()
    assert len(run.run()) == 2
    assert len(bought(server)) == 2


def test_retry_repeats_a_failed_download(serve: Serve, tmp_path: Path) -> None:
    """A download that fails leaves no file; the retry downloads it again and buys nothing."""
    server = serve(faces=1)
    server.faults.add("result_image", "truncate_silent", times=3)
    run = person_run(tmp_path, keywords=["Oceania"])
    with pytest.raises(PiktidDownloadError, match="truncated"):
        run.run()
    assert files(tmp_path) == []
    assert len(run.run()) == 1
    assert len(bought(server)) == 1


def test_hostile_link_name_is_not_used(serve: Serve, tmp_path: Path) -> None:
    """A hostile file name in a link does not place a file outside ``output_path``."""
    server = serve(faces=1)
    server.faults.add("generation", "hostile_links", times=None)
    person_run(tmp_path).run()
    assert {path.parent for path in tmp_path.rglob("*.jpg")} == {tmp_path / "in", tmp_path / "out"}


def test_retry_after_a_day_uploads_the_image_again(serve: Serve, tmp_path: Path) -> None:
    """After 24 hours the retry uploads the image again and buys only the missing result."""
    server = serve(faces=1, variants={"v1_error_ids": "present"})
    server.faults.add("generation", "fail", keyword="Africa")
    run = person_run(tmp_path, fail_on_partial=True)
    with pytest.raises(PiktidPartialResultError):
        run.run()
    server.state.clock.advance(25 * 3600)
    rows = run.run()
    assert len({row["id_image"] for row in rows}) == 2
    assert bought(server) == [(0, "Oceania"), (0, "Africa"), (0, "Africa")]


def test_deleted_output_is_not_bought_again(serve: Serve, tmp_path: Path) -> None:
    """If an output file was deleted, the cleared task fails permanently and buys nothing."""
    server = serve(faces=1)
    run = person_run(tmp_path)
    rows = run.run()
    Path(rows[0]["file"].removeprefix("file://")).unlink()
    with pytest.raises(AirflowFailException, match="no longer exists"):
        run.run()
    assert len(bought(server)) == 2


def test_unreadable_record_fails_the_task(serve: Serve, tmp_path: Path) -> None:
    """A record that cannot be read fails the task before anything is bought."""
    server = serve(faces=1)
    run = person_run(tmp_path, output_path=None)
    assert run.store is not None
    run.store.fail_reads = True
    with pytest.raises(PiktidRecordError):
        run.run()
    assert bought(server) == []


@pytest.mark.parametrize("store", [StateStore(), None], ids=["task state store", "no store"])
def test_record_is_stored_below_output_path_by_default(
    serve: Serve, tmp_path: Path, store: StateStore | None
) -> None:
    """Without ``state_path`` the record is stored below ``output_path``, also if there is a task state store."""
    server = serve(faces=1)
    run = person_run(tmp_path)
    run.store = store
    assert run.run() == run.run()
    assert len(bought(server)) == 2
    assert list((tmp_path / "out" / "_piktid").glob("*.json"))


def cleared(run: TaskRun) -> None:
    """Clear a task as Airflow 3.4 can: its state is dropped."""
    if run.store is not None:
        run.store = StateStore()


def test_clear_that_drops_the_task_state_buys_nothing(serve: Serve, tmp_path: Path) -> None:
    """A cleared task whose task state was dropped returns the same files and buys nothing."""
    server = serve(faces=1)
    run = person_run(tmp_path)
    first = run.run()
    cleared(run)
    assert run.run() == first
    assert len(bought(server)) == 2


@pytest.mark.parametrize("store", [StateStore(), None], ids=["task state store", "no store"])
def test_retry_without_a_record_fails(serve: Serve, tmp_path: Path, store: StateStore | None) -> None:
    """A try that finds no record, although an earlier one may have paid, fails permanently and buys nothing."""
    server = serve(faces=1)
    run = person_run(tmp_path, output_path=None)
    run.store = store
    run.run()
    cleared(run)
    with pytest.raises(AirflowFailException, match="state_path"):
        run.run()
    assert len(bought(server)) == 2


def test_retry_without_a_record_pays_again_if_the_author_chose_that(serve: Serve, tmp_path: Path) -> None:
    """With ``on_lost_reply="resubmit"`` a try without a record buys everything again."""
    server = serve(faces=1)
    run = person_run(tmp_path, output_path=None, on_lost_reply="resubmit")
    run.run()
    cleared(run)
    run.run()
    assert len(bought(server)) == 4


@pytest.mark.parametrize("fault", ["missing image", "wrong password", "refused upload"])
def test_failure_before_the_first_request_does_not_block_the_retry(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """After a try that failed before anything was paid, the next one buys, with a task state store alone."""
    server = serve(faces=1)
    run = person_run(tmp_path, output_path=None)
    image = tmp_path / "in" / "street.jpg"
    content = image.read_bytes()
    if fault == "missing image":
        image.unlink()
    elif fault == "wrong password":
        monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", account_json(server.url, password="wrong"))
    else:
        server.faults.add("v1_target", "status", code=400)
    with pytest.raises(AirflowFailException):
        run.run()

    image.write_bytes(content)
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", account_json(server.url))
    assert len(run.run()) == 2
    assert len(bought(server)) == 2


def id_image_of(server: EmulatorServer, folder: Path) -> str:
    """Upload a picture without an operator; return its id."""
    from airflow_provider_piktid.client import PiktidV1Client

    content = picture(folder / "in" / "street.jpg").read_bytes()
    with PiktidV1Client("piktid-emulator", base_url=f"{server.url}/api") as client:
        return client.upload_target(content, filename="street.jpg").id_image


@BOTH_WAYS
def test_retry_without_a_record_finds_the_results_of_an_id_image(
    serve: Serve, tmp_path: Path, deferrable: bool
) -> None:
    """With ``id_image`` a try without a record takes the results that PiktID still announces, and buys nothing."""
    server = serve(faces=1)
    run = person_run(
        tmp_path, id_image=id_image_of(server, tmp_path), output_path=None, deferrable=deferrable
    )
    first = run.run()
    cleared(run)
    assert run.run() == first
    assert len(bought(server)) == 2


@pytest.mark.parametrize("policy", ["fail", "resubmit"])
def test_retry_without_a_record_decides_about_missing_results_of_an_id_image(
    serve: Serve, tmp_path: Path, policy: str
) -> None:
    """Results that PiktID no longer announces are an unknown fate: by default they are not bought again."""
    server = serve(faces=1)
    run = person_run(
        tmp_path,
        id_image=id_image_of(server, tmp_path),
        output_path=None,
        on_lost_reply=policy,
        lost_reply_grace=0.3,
    )
    run.run()
    cleared(run)
    server.state.v1.notifications.delete(server.state.v1.notifications.current()[0].id)
    if policy == "fail":
        for _ in range(2):
            with pytest.raises(PiktidSubmissionError, match="may have been billed"):
                run.run()
        assert len(bought(server)) == 2
    else:
        assert len(run.run()) == 2
        assert len(bought(server)) == 3


def test_expired_result_is_bought_again_by_the_retry(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result that expires before the worker downloads it fails the task; the retry buys it again."""
    server = serve(faces=1)
    run = person_run(tmp_path, keywords=["Oceania"])
    from airflow_provider_piktid.person.run import PersonRun

    genuine = PersonRun._collect_ended

    def late(self: PersonRun, ended: Any) -> None:
        server.state.clock.advance(700)
        genuine(self, ended)

    with monkeypatch.context() as patch:
        patch.setattr(PersonRun, "_collect_ended", late)
        with pytest.raises(PiktidDownloadError, match="expired before the download"):
            run.run()
    assert len(run.run()) == 1
    assert len(bought(server)) == 2


def test_on_kill_logs_running_generations(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_log: Callable[[], str]
) -> None:
    """``on_kill`` logs which generations are still running and will be billed."""
    serve(faces=1, generate_seconds=60.0)
    run = person_run(tmp_path, deferrable=False)
    operator = run.make()
    monkeypatch.setattr(
        poller.Poller, "wait", lambda *_, **__: operator.on_kill() or (_ for _ in ()).throw(OSError)
    )
    run.make = lambda: operator
    with pytest.raises(OSError):  # noqa: PT011 - stands for the end of the process
        run.run()
    assert "person 0, Location Oceania are still running and will be billed" in read_log()


SIGNED = "https://shop.example/p.jpg?X-Amz-Expires=900&X-Amz-Signature=5f4dcc3b5aa765d61d83"


@pytest.mark.parametrize("mapped", [False, True], ids=["one task", "mapped"])
def test_signed_url_is_masked_in_rendered_templates(mapped: bool) -> None:
    """The signature of a picture's URL is masked where Airflow stores the rendered templates."""
    arguments: dict[str, Any] = {"task_id": "person", "keywords": "Oceania"}
    with DAG("signed", schedule=None):
        operator = PiktidGeneratePersonOperator(**arguments, image="{{ url }}")
    if mapped:
        operator.image = SIGNED
    else:
        context: Any = {"url": SIGNED}
        operator.render_template_fields(context)

    assert operator.image == SIGNED
    shown = str(redact(operator.image, "image"))
    assert "5f4dcc3b5aa765d61d83" not in shown
    assert shown.startswith("https://shop.example/p.jpg?")


@pytest.mark.parametrize(
    "change", [{"options": {"seed": 7}}, {"rerun_key": "2"}], ids=["options", "rerun_key"]
)
def test_arguments_that_change_back_buy_nothing(serve: Serve, tmp_path: Path, change: dict[str, Any]) -> None:
    """A task that is cleared with other arguments, and then with its first ones again, returns its first results."""
    server = serve()
    first, other = person_run(tmp_path), person_run(tmp_path, **change)
    other.store = first.store
    results = [first.run(), other.run()]

    assert [first.run(), other.run()] == results
    assert len(bought(server)) == 8


def test_resume_with_other_arguments_fails(serve: Serve, tmp_path: Path) -> None:
    """If keywords render differently after a wait, the task fails and names what it has paid for."""
    server = serve()
    keywords = iter([["Oceania"], ["Africa"]])
    run = TaskRun(lambda: person_run(tmp_path, keywords=next(keywords)).make())

    with pytest.raises(PiktidRecordError, match=r"rendered differently.*Oceania"):
        run.run()

    assert {keyword for _, keyword in bought(server)} == {"Oceania"}
