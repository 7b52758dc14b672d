# SPDX-License-Identifier: Apache-2.0
"""Generated persons over a socket: what is bought, what is fetched, and what a retry does."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from PIL import Image

from airflow_provider_piktid.client._login import TOKENS
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
from airflow_provider_piktid.person import poller
from tests.support.fixtures import start
from tests.support.person import QUICK_PERSONS, account_json, bought, person_run
from tests.support.tasks import TaskRun

__all__ = ["start"]

Serve = Callable[..., EmulatorServer]
BOTH_WAYS = pytest.mark.parametrize(
    "deferrable", [pytest.param(True, id="deferrable"), pytest.param(False, id="sync")]
)


@pytest.fixture
def serve(start: Serve, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Start an emulator behind a login; polls come quickly, and no login is left from before."""
    TOKENS.clear()

    def begin(**settings: Any) -> EmulatorServer:
        server = start(**(QUICK_PERSONS | settings))
        monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", account_json(server.url))
        return server

    return begin


def files(folder: Path) -> list[str]:
    """Names of the fetched pictures without what is special to the folder."""
    return sorted(path.stem.partition("_")[2] for path in (folder / "out").glob("*.jpg"))


def cause(caught: pytest.ExceptionInfo[BaseException]) -> BaseException | None:
    return caught.value.__cause__


# -- the way of a batch -----------------------------------------------------------------------------------------


@BOTH_WAYS
def test_each_person_and_keyword_is_bought_once_and_fetched(
    serve: Serve, tmp_path: Path, deferrable: bool
) -> None:
    """Two persons by two keywords are four paid requests, four whole pictures and four rows."""
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
    assert run.deferrals == (2 if deferrable else 0)


@BOTH_WAYS
def test_first_request_goes_ahead_of_the_others(serve: Serve, tmp_path: Path, deferrable: bool) -> None:
    """The first request makes the masks alone; the others follow after the stagger, and reuse them."""
    server = serve(faces=1)
    person_run(tmp_path, stagger=0.4, deferrable=deferrable).run()
    first, second = server.state.generations()
    assert 0.4 <= second["created_at"] - first["created_at"] < 1.5
    assert [row["made_masks"] for row in (first, second)] == [True, False]


def test_stagger_is_waited_out_without_a_worker(serve: Serve, tmp_path: Path) -> None:
    """Between the first request and the others the task is deferred, not asleep."""
    serve(faces=1)
    run = person_run(tmp_path, stagger=0.4)
    run.run()
    assert [event["status"] for event in run.events] == ["slot", "done"]


def test_one_login_serves_workers_and_triggers_of_a_process(serve: Serve, tmp_path: Path) -> None:
    """Execute, trigger and resume share it; no refresh token is ever presented."""
    server = serve()
    person_run(tmp_path).run()
    counts = server.state.v1.counts.as_dict()
    assert (counts["logins"], counts["refreshes"]) == (1, 0)


def test_token_that_expires_in_between_is_replaced(serve: Serve, tmp_path: Path) -> None:
    """All issued tokens are revoked while the task waits: it logs in again and ends well."""
    server = serve(faces=1)
    run = person_run(tmp_path, keywords=["Oceania"])
    run.run()
    server.state.v1.tokens.clear()
    again = person_run(tmp_path, keywords=["Africa"])
    assert len(again.run()) == 1
    assert server.state.v1.counts.as_dict()["logins"] == 2


def test_ready_access_token_needs_no_login(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection with a token alone works as it is."""
    server = serve(faces=1)
    token = json.dumps({"conn_type": "piktid", "host": server.url, "password": "piktid-emulator"})
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", token)
    assert len(person_run(tmp_path).run()) == 2
    assert server.state.v1.counts.as_dict()["logins"] == 0


def test_links_and_tokens_stay_out_of_xcom_events_records_and_logs(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing that opens a picture or the account is stored or logged."""
    caplog.set_level(logging.DEBUG)
    server = serve()
    run = person_run(tmp_path)
    rows = run.run()
    assert run.store is not None
    stored = (
        json.dumps([rows, run.ti.xcom, run.events, run.store.values]) + caplog.text + capsys.readouterr().out
    )
    tokens = [pair.access for pair in server.state.v1.tokens._pairs]
    assert tokens
    assert not [secret for secret in [*tokens, "piktid-emulator", f"{server.url}/f/"] if secret in stored]


def test_links_are_pushed_only_when_asked_for(serve: Serve, tmp_path: Path) -> None:
    """The DAG author may want them and is given them; their notifications are used up then."""
    server = serve(faces=1)
    rows = person_run(tmp_path, push_links=True, output_path=None).run()
    assert all(row["url"].startswith(f"{server.url}/f/") for row in rows)
    assert server.state.v1.notices.current() == []


def test_only_own_notifications_are_deleted(serve: Serve, tmp_path: Path) -> None:
    """A foreign one at the head of the list blocks nothing and is still there afterwards."""
    server = serve(faces=1)
    foreign = server.state.v1.notices.publish("edit_generate", {"address": "other", "id_person": 0})
    assert len(person_run(tmp_path).run()) == 2
    assert [item.id for item in server.state.v1.notices.current()] == [foreign.id]


def test_results_that_are_not_safe_keep_their_notifications(serve: Serve, tmp_path: Path) -> None:
    """Without a place to put them the notification is all there is: it is not deleted."""
    server = serve(faces=1)
    rows = person_run(tmp_path, output_path=None).run()
    assert [row["file"] for row in rows] == [None, None]
    assert len(server.state.v1.notices.current()) == 2


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
def test_variant_of_the_contract_ends_well(serve: Serve, tmp_path: Path, variants: dict[str, str]) -> None:
    """Whatever the sources disagree on, the batch runs to its end and pays once."""
    server = serve(variants=variants)
    assert len(person_run(tmp_path).run()) == 4
    assert len(bought(server)) == 4


@pytest.mark.parametrize("kind", ["double", "reorder", "junk", "null_data", "foreign"])
def test_strange_list_ends_well(serve: Serve, tmp_path: Path, kind: str) -> None:
    """Doubled, reordered, foreign and broken entries change nothing."""
    server = serve()
    server.faults.add("v1_notifications", kind, times=None)
    assert len(person_run(tmp_path).run()) == 4
    assert len(bought(server)) == 4


def test_poll_limit_of_the_service_is_waited_out(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that refuses polls that follow each other too fast costs time, nothing else."""
    server = serve(faces=1, variants={"v1_poll_limit": "on"}, poll_seconds=0.3)
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", account_json(server.url, v1_poll_interval=0.3))
    assert len(person_run(tmp_path).run()) == 2
    assert len(bought(server)) == 2


# -- persons, keywords, input -----------------------------------------------------------------------------------


def test_persons_by_list_and_rule(serve: Serve, tmp_path: Path) -> None:
    """A list of ids, also as a template gives it, and ``largest`` choose; others are not paid."""
    server = serve(faces=3)
    for persons in ([2], "[2]", "2", "largest"):
        person_run(tmp_path, persons=persons, keywords="Oceania").run()
    assert [person for person, _ in bought(server)][:3] == [2, 2, 2]
    assert len(bought(server)) == 4


def test_blurry_person_is_skipped_or_fails_as_told(serve: Serve, tmp_path: Path) -> None:
    """Not approved persons cost nothing either way."""
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
def test_wrong_input_fails_at_once_and_costs_nothing(
    serve: Serve,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    kind: type[Exception],
    words: str,
) -> None:
    """The message names what to change, no retry is burnt, and nothing was paid."""
    server = serve()
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_EMPTY", json.dumps({"conn_type": "piktid", "host": server.url}))
    with pytest.raises(AirflowFailException, match=words) as caught:
        person_run(tmp_path, **arguments).run()
    assert isinstance(cause(caught), kind)
    assert bought(server) == []


def test_text_file_is_no_picture_whatever_its_name(serve: Serve, tmp_path: Path) -> None:
    """It is refused by its content before it is uploaded."""
    server = serve()
    (tmp_path / "a.jpg").write_text("hello")
    with pytest.raises(AirflowFailException, match="not a picture"):
        person_run(tmp_path, image=str(tmp_path / "a.jpg")).run()
    assert server.state.v1.targets() == []


@pytest.mark.parametrize("ending", ["webp", "png", "jpg"])
def test_documented_formats_are_taken(serve: Serve, tmp_path: Path, ending: str) -> None:
    """WEBP, JPEG and PNG."""
    serve(faces=1)
    path = tmp_path / f"a.{ending}"
    Image.new("RGB", (64, 48), "teal").save(path)
    assert len(person_run(tmp_path, image=str(path)).run()) == 2


@pytest.mark.parametrize(("faces", "words"), [(0, "no face"), (31, "31 persons")])
def test_too_few_and_too_many_faces(serve: Serve, tmp_path: Path, faces: int, words: str) -> None:
    """Both are clear errors before anything is paid."""
    server = serve(faces=faces, variants={"v1_too_many_persons": "all"})
    with pytest.raises(AirflowFailException, match=words):
        person_run(tmp_path).run()
    assert bought(server) == []


def test_wrong_password_fails_in_one_line_without_retry(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the connection, and not the password."""
    server = serve()
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", account_json(server.url, password="wr0ng-one"))
    with pytest.raises(AirflowFailException, match="piktid_default") as caught:
        person_run(tmp_path).run()
    assert "\n" not in str(caught.value)
    assert "wr0ng-one" not in str(caught.value)


def test_uploaded_picture_can_be_named(serve: Serve, tmp_path: Path) -> None:
    """``id_image`` works with rules and ids; an old result of the same person and keyword is not taken."""
    server = serve(faces=1)
    first = person_run(tmp_path, output_path=None, keywords=["Oceania"], delete_notifications=False).run()
    named = first[0]["id_image"]
    (old,) = server.state.v1.notices.current()
    rows = person_run(tmp_path, id_image=named, keywords=["Oceania"]).run()
    assert [row["id_image"] for row in rows] == [named]
    assert len(bought(server)) == 2
    assert [item.id for item in server.state.v1.notices.current()] == [old.id]


# -- money ------------------------------------------------------------------------------------------------------


def test_clear_of_a_finished_task_pays_nothing(serve: Serve, tmp_path: Path) -> None:
    """Unchanged input gives the same rows again; another ``rerun_key`` buys anew."""
    server = serve(faces=1)
    run = person_run(tmp_path)
    assert run.run() == run.run()
    assert len(bought(server)) == 2
    again = TaskRun(lambda: person_run(tmp_path, rerun_key="2").make(), store=run.store)
    again.run()
    assert len(bought(server)) == 4


def test_added_keyword_is_all_that_is_paid(serve: Serve, tmp_path: Path) -> None:
    """A cleared task with one keyword more keeps what it has."""
    server = serve(faces=1)
    run = person_run(tmp_path)
    run.run()
    more = TaskRun(
        lambda: person_run(tmp_path, keywords=["Oceania", "Africa", "East Asia"]).make(), store=run.store
    )
    assert len(more.run()) == 3
    assert bought(server) == [(0, "Oceania"), (0, "Africa"), (0, "East Asia")]


@BOTH_WAYS
@pytest.mark.parametrize("ids", ["absent", "present"])
def test_failed_generation_is_named_and_the_others_are_kept(
    serve: Serve, tmp_path: Path, deferrable: bool, ids: str
) -> None:
    """Three of four are there, one failed: success with its name, whether or not the error names anything."""
    server = serve(variants={"v1_error_ids": ids})
    server.faults.add("generation", "fail", id_person=1, keyword="Africa", message="too dark")
    run = person_run(tmp_path, deferrable=deferrable)
    assert len(run.run()) == 3
    assert run.ti.xcom["summary"]["failures"] == ["person 1, Location Africa: too dark"]
    assert files(tmp_path) == ["person0_africa", "person0_oceania", "person1_oceania"]
    assert len(bought(server)) == 4


def test_retry_after_partial_failure_asks_only_for_what_is_missing(serve: Serve, tmp_path: Path) -> None:
    """``fail_on_partial`` fails the task in a way that Airflow retries; the retry pays for one."""
    server = serve(variants={"v1_error_ids": "present"})
    server.faults.add("generation", "fail", id_person=1, keyword="Africa")
    run = person_run(tmp_path, fail_on_partial=True)
    with pytest.raises(PiktidPartialResultError, match="person 1, Location Africa"):
        run.run()
    assert len(run.ti.xcom["results"]) == 3
    assert len(run.run()) == 4
    assert bought(server)[4:] == [(1, "Africa")]


def test_all_failed_is_a_failure(serve: Serve, tmp_path: Path) -> None:
    """Without any result the task fails, whatever ``fail_on_partial`` says."""
    server = serve(faces=1, variants={"v1_error_ids": "present"})
    server.faults.add("generation", "fail", times=None)
    with pytest.raises(PiktidJobFailedError):
        person_run(tmp_path).run()


@BOTH_WAYS
@pytest.mark.parametrize("kind", ["drop_after", "html"])
def test_lost_reply_is_answered_by_the_notification(
    serve: Serve, tmp_path: Path, deferrable: bool, kind: str
) -> None:
    """The request arrived and its reply did not: the result shows it, and it is not paid twice."""
    server = serve(faces=1)
    options: dict[str, Any] = {"done": True} if kind == "html" else {}
    server.faults.add("v1_generate", kind, after=1, **options)
    assert len(person_run(tmp_path, deferrable=deferrable).run()) == 2
    assert len(bought(server)) == 2


@BOTH_WAYS
def test_unknown_fate_fails_rather_than_pay_twice(serve: Serve, tmp_path: Path, deferrable: bool) -> None:
    """The request never arrived, but nobody can know: what else was bought is kept, and the task fails."""
    server = serve(faces=1)
    server.faults.add("v1_generate", "drop_before", after=1)
    run = person_run(tmp_path, deferrable=deferrable, lost_reply_grace=0.5)
    with pytest.raises(PiktidSubmissionError, match="Africa"):
        run.run()
    with pytest.raises(PiktidSubmissionError):
        run.run()
    assert bought(server) == [(0, "Oceania")]
    assert files(tmp_path) == ["person0_oceania"]


def test_unknown_fate_is_asked_again_when_told(serve: Serve, tmp_path: Path) -> None:
    """``resubmit`` sends it once more after the grace, and the task ends well."""
    server = serve(faces=1)
    server.faults.add("v1_generate", "drop_before", after=1)
    assert len(person_run(tmp_path, lost_reply_grace=0.5, on_lost_reply="resubmit").run()) == 2
    assert bought(server) == [(0, "Oceania"), (0, "Africa")]


def test_late_result_is_found_by_the_retry(serve: Serve, tmp_path: Path) -> None:
    """The deadline passes first: the task fails, the result comes, the retry fetches it and pays nothing."""
    server = serve(faces=1)
    server.faults.add("generation", "never_end", keyword="Oceania")
    run = person_run(tmp_path, keywords=["Oceania"], timeout=0.5)
    with pytest.raises(PiktidJobTimeout, match="Oceania"):
        run.run()
    (generation,) = server.state.v1.generations()
    server.state.v1.runner.complete(generation)
    assert len(run.run()) == 1
    assert len(bought(server)) == 1


def test_full_minute_is_waited_out(serve: Serve, tmp_path: Path) -> None:
    """A refusal for the rate costs time; the task does not fail and pays once."""
    server = serve(faces=1)
    server.faults.add("v1_generate", "status", code=429, headers={"Retry-After": "1"})
    run = person_run(tmp_path)
    assert len(run.run()) == 2
    assert len(bought(server)) == 2
    assert run.events[0]["status"] == "slot"


def test_empty_purse_in_mid_batch_keeps_what_was_paid(serve: Serve, tmp_path: Path) -> None:
    """The first is fetched, then the task fails at once; when there are credits, only the rest is bought."""
    server = serve(faces=1, credits=1)
    run = person_run(tmp_path)
    with pytest.raises(AirflowFailException, match=r"Insufficient credits.*1 of 2 are done"):
        run.run()
    assert files(tmp_path) == ["person0_oceania"]
    server.state.v2.jobs.balance = 10
    assert len(run.run()) == 2
    assert bought(server) == [(0, "Oceania"), (0, "Africa")]


def test_empty_purse_at_the_start_fails_at_once(serve: Serve, tmp_path: Path) -> None:
    """Nothing was paid, so there is nothing to wait for."""
    serve(faces=1, credits=0)
    run = person_run(tmp_path)
    with pytest.raises(AirflowFailException, match="credits"):
        run.run()
    assert run.deferrals == 0


class Killed(BaseException):
    """Ends a try as SIGKILL does: nothing is caught, nothing is written."""


@pytest.mark.parametrize(
    "moment", ["before the request", "after the reply", "after the download, before it is noted"]
)
def test_killed_worker_never_pays_twice(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Wherever the worker is killed, the retry buys what was never bought, and has all results."""
    from airflow_provider_piktid.client import PiktidV1Client
    from airflow_provider_piktid.person.batch import PersonBatch

    server = serve(faces=1)
    run = person_run(tmp_path, on_lost_reply="resubmit", lost_reply_grace=1.0)
    target, name = (PersonBatch, "collect") if "noted" in moment else (PiktidV1Client, "generate")
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


def test_download_that_fails_is_repeated_by_the_retry_without_paying(serve: Serve, tmp_path: Path) -> None:
    """A cut-off picture never gets its name; its notification stays, and the retry fetches it whole."""
    server = serve(faces=1)
    server.faults.add("result_image", "truncate_silent", times=3)
    run = person_run(tmp_path, keywords=["Oceania"])
    with pytest.raises(PiktidDownloadError, match="truncated"):
        run.run()
    assert files(tmp_path) == []
    assert len(run.run()) == 1
    assert len(bought(server)) == 1


def test_hostile_link_name_leaves_no_trace(serve: Serve, tmp_path: Path) -> None:
    """The name that the service gives a picture is not used."""
    server = serve(faces=1)
    server.faults.add("generation", "hostile_links", times=None)
    person_run(tmp_path).run()
    assert {path.parent for path in tmp_path.rglob("*.jpg")} == {tmp_path / "in", tmp_path / "out"}


def test_picture_older_than_a_day_is_uploaded_again(serve: Serve, tmp_path: Path) -> None:
    """Targets live 24 hours: what is missing is asked for with a new one, what is there is kept."""
    server = serve(faces=1, variants={"v1_error_ids": "present"})
    server.faults.add("generation", "fail", keyword="Africa")
    run = person_run(tmp_path, fail_on_partial=True)
    with pytest.raises(PiktidPartialResultError):
        run.run()
    server.state.clock.advance(25 * 3600)
    rows = run.run()
    assert len({row["id_image"] for row in rows}) == 2
    assert bought(server) == [(0, "Oceania"), (0, "Africa"), (0, "Africa")]


def test_file_that_is_gone_is_not_bought_again_unasked(serve: Serve, tmp_path: Path) -> None:
    """Somebody removed a result: the clear says so instead of paying."""
    server = serve(faces=1)
    run = person_run(tmp_path)
    rows = run.run()
    Path(rows[0]["file"].removeprefix("file://")).unlink()
    with pytest.raises(AirflowFailException, match="gone"):
        run.run()
    assert len(bought(server)) == 2


def test_record_that_cannot_be_read_stops_the_task(serve: Serve, tmp_path: Path) -> None:
    """It is never taken for "no record"."""
    server = serve(faces=1)
    run = person_run(tmp_path)
    assert run.store is not None
    run.store.fail_reads = True
    with pytest.raises(PiktidRecordError):
        run.run()
    assert bought(server) == []


def test_record_lies_beside_the_results_where_nothing_else_keeps_it(serve: Serve, tmp_path: Path) -> None:
    """Airflow older than 3.3 without ``state_path``: a retry still pays nothing again."""
    server = serve(faces=1)
    run = person_run(tmp_path)
    run.store = None
    assert run.run() == run.run()
    assert len(bought(server)) == 2
    assert list((tmp_path / "out" / "_piktid").glob("*.json"))


def test_retry_without_any_record_refuses_to_pay_blindly(serve: Serve, tmp_path: Path) -> None:
    """An earlier try may have paid and nothing tells: fail, unless told otherwise."""
    server = serve(faces=1)
    run = person_run(tmp_path, output_path=None)
    run.store = None
    run.run()
    with pytest.raises(AirflowFailException, match="state_path"):
        run.run()
    assert len(bought(server)) == 2


def test_result_that_expires_before_the_worker_comes_is_named(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trigger saw it, the worker came too late: the task fails and the retry asks for that one only."""
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


def test_kill_names_what_runs_on(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """PiktID cannot cancel: the log says what still bills."""
    serve(faces=1)
    run = person_run(tmp_path, deferrable=False)
    operator = run.make()
    monkeypatch.setattr(
        poller.Poller, "wait", lambda *_, **__: operator.on_kill() or (_ for _ in ()).throw(OSError)
    )
    run.make = lambda: operator
    with pytest.raises(OSError):  # noqa: PT011 - stands for the end of the process
        run.run()
    assert "person 0, Location Oceania are still running and will be billed" in capsys.readouterr().out
