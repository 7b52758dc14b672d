# SPDX-License-Identifier: Apache-2.0
"""Refresh runs against the emulator: what is planned, bought and kept, also after failures."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from PIL import Image

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import PiktidConfigError, PiktidRecordError
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.storage import SourceFile
from airflow_provider_piktid.jobs.download import Download
from airflow_provider_piktid.operators.refresh import batch_size
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator
from airflow_provider_piktid.refresh import read_rows
from tests.support.batch import jobs
from tests.support.fixtures import Start
from tests.support.refresh import Night, Nights, PullingRun
from tests.support.service import connection_json, picture, pictures


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """Four images in two folders."""
    return pictures(tmp_path / "in", "shirts/a.jpg", "shirts/b.jpg", "shoes/a.jpg", "shoes/b.jpg")


@pytest.fixture
def nights(server: EmulatorServer, catalogue: Path, tmp_path: Path) -> Nights:
    """A refresh of the images, two in each batch."""
    return Nights(str(catalogue), str(tmp_path / "out"), images_per_batch=2)


def outputs(nights: Nights) -> list[str]:
    folder = Path(nights.output)
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.*")
        if path.is_file() and "_piktid" not in path.parts
    )


def statuses(nights: Nights) -> dict[str, str]:
    return {row["relative"]: row["status"] for row in read_rows(nights.output)}


def bought(server: EmulatorServer) -> int:
    return sum(len(job["images"]) for job in jobs(server))


def requests(server: EmulatorServer) -> int:
    return sum(count for name, count in server.state.counters.requests.items())


def failures(night: Night) -> list[str]:
    return [str(error) for error in night.errors]


def test_three_runs_buy_all_then_nothing_then_one(
    server: EmulatorServer, nights: Nights, catalogue: Path
) -> None:
    """The first run buys every image, the second sends no request, and the third buys the changed image."""
    first = nights.run()
    assert (first.planned["new"], len(first.batches), bought(server)) == (4, 2, 4)
    assert outputs(nights) == [
        "shirts/a_0_v0.jpg",
        "shirts/b_0_v0.jpg",
        "shoes/a_0_v0.jpg",
        "shoes/b_0_v0.jpg",
    ]

    asked = requests(server)
    second = nights.run()
    assert (second.planned["unchanged"], second.batches, requests(server)) == (4, [], asked)

    picture(catalogue / "shoes" / "a.jpg", color="red")
    third = nights.run()
    assert (third.planned["changed"], third.planned["unchanged"], bought(server)) == (1, 3, 5)
    assert statuses(nights) == dict.fromkeys(statuses(nights), "done")
    assert len(outputs(nights)) == 4


def test_asset_event_holds_counts_and_the_catalogue(nights: Nights) -> None:
    """The asset event contains the counts and the URI of the catalogue, and no link."""
    night = nights.run()

    assert night.event is not None
    expected = {"done": 4, "failed": 0, "missing": 0, "files": 4, "credits": 4.0, "listed": 4, "unchanged": 0}
    assert expected.items() <= night.event.items()
    assert night.event["catalogue"] == f"file://{nights.output}/_piktid/catalogue"
    assert "http" not in json.dumps(night.event)
    assert night.told["sources"]["done"] == 4


def test_unchanged_run_emits_no_asset_event(nights: Nights) -> None:
    """With ``skip_unchanged`` the summary of an unchanged run emits no asset event."""
    nights.run()
    night = nights.begin()

    nights.summarize(night, skip_unchanged=True)

    assert (night.event, night.errors, night.xcom["summary", -1].get("return_value")) == (None, [], None)


def test_new_modification_time_is_not_a_change(
    server: EmulatorServer, nights: Nights, catalogue: Path
) -> None:
    """A new modification time without new content is not a change, and the catalogue stores the new time."""
    nights.run()
    for path in catalogue.rglob("*.jpg"):
        os.utime(path)

    second, third = nights.run(), nights.run()

    assert (second.planned["images"], second.planned["unchanged"], bought(server)) == (0, 4, 4)
    assert third.planned["unchanged"] == 4
    modified = {row["relative"]: row["source_modified"] for row in read_rows(nights.output)}
    assert modified["shoes/a.jpg"] == (catalogue / "shoes" / "a.jpg").stat().st_mtime


@pytest.mark.parametrize(
    "change",
    [
        {"identity_code": "PiktidPremium"},
        {"options": {"num_variations": 2}},
        {"rerun_key": "spring"},
    ],
    ids=["identity", "options", "rerun_key"],
)
def test_other_options_plan_every_image_again(nights: Nights, change: dict[str, Any]) -> None:
    """Another identity, other options or another ``rerun_key`` plan every image again."""
    nights.run()

    night = nights.begin(**change)

    assert (night.planned["options"], night.planned["new"], len(night.batches)) == (4, 0, 2)


def test_options_that_change_back_buy_nothing(
    server: EmulatorServer, nights: Nights, catalogue: Path
) -> None:
    """Outputs that were bought with the same options before are downloaded again, for sources that are unchanged."""
    nights.run()
    first = {name: (Path(nights.output) / name).read_bytes() for name in outputs(nights)}
    nights.run(rerun_key="2")
    picture(catalogue / "shirts" / "a.jpg", color="red")

    night = nights.run()

    assert bought(server) == 9
    assert not night.errors
    assert (night.planned["images"], night.told["sources"]["done"]) == (1, 4)
    again = {name: (Path(nights.output) / name).read_bytes() for name in outputs(nights)}
    assert {name for name in first if again[name] != first[name]} == {"shirts/a_0_v0.jpg"}
    nights.run()
    assert bought(server) == 9


def test_options_that_change_back_are_bought_if_piktid_has_removed_the_job(
    server: EmulatorServer, nights: Nights
) -> None:
    """If PiktID no longer has what was bought with the same options before, it is bought once more."""
    nights.run()
    nights.run(rerun_key="2")
    server.faults.add("job_results", "status", code=404, times=len(jobs(server)) // 2)

    nights.run()
    nights.run()

    assert bought(server) == 12
    assert set(statuses(nights).values()) == {"done"}


def test_another_refresh_in_the_same_output_is_refused(nights: Nights) -> None:
    """A second DAG with other options and the same ``output_path`` is refused."""
    nights.run()
    other = Nights(nights.source, nights.output, dag_id="other", identity_code="PiktidPremium")

    with pytest.raises(AirflowFailException, match=r"nightly\.plan.*separate `output_path` for other"):
        other.begin()


def test_second_run_at_the_same_time_is_refused(server: EmulatorServer, nights: Nights) -> None:
    """While a run works, the plan of another one fails and names it; a dry run is allowed."""
    first = nights.begin()
    nights.state_of_runs = lambda run_id: "running"
    with pytest.raises(PiktidRecordError, match="DAG run night-1 of nightly"):
        nights.begin()
    assert nights.begin(dry_run=True).planned["new"] == 4
    nights.count = 1
    for index in range(2):
        nights.batch(first, index, {})
    nights.summarize(first)

    assert nights.run().planned["unchanged"] == 4
    assert bought(server) == 4


def test_dry_run_sends_and_writes_nothing(server: EmulatorServer, nights: Nights) -> None:
    """A dry run returns counts and an estimate, sends no request and writes no file."""
    night = nights.begin(dry_run="True", options={"num_variations": 3}, credits_per_output=2)

    assert (night.planned["images"], night.planned["outputs"], night.planned["credits_estimate"]) == (
        4,
        12,
        24,
    )
    assert (night.batches, requests(server)) == ([], 0)
    assert not Path(nights.output).exists()


def test_estimate_uses_the_price_in_the_catalogue(nights: Nights, catalogue: Path) -> None:
    """If the catalogue contains a price, it replaces ``credits_per_output`` in the estimate."""
    nights.run()
    picture(catalogue / "new.jpg")

    night = nights.begin(dry_run=True, credits_per_output=50)

    assert night.planned["credits_estimate"] == 1.0


def test_max_images_leaves_the_newest_for_later_runs(server: EmulatorServer, nights: Nights) -> None:
    """``max_images`` limits each run, oldest images first, and the next run buys the rest."""
    first = nights.run(max_images="3")
    assert (first.planned["images"], first.planned["waiting"]) == (3, 1)
    assert sorted(statuses(nights)) == ["shirts/a.jpg", "shirts/b.jpg", "shoes/a.jpg"]

    nights.run(max_images="3")

    assert (len(statuses(nights)), bought(server)) == (4, 4)


def test_deleted_source_is_counted_and_its_output_kept(nights: Nights, catalogue: Path) -> None:
    """Without ``prune`` the output of a deleted source is kept, and the plan counts it as deleted."""
    nights.run()
    (catalogue / "shoes" / "a.jpg").unlink()

    night = nights.run()

    assert (night.planned["deleted"], night.planned["pruned"]) == (1, 0)
    assert "shoes/a_0_v0.jpg" in outputs(nights)


def test_deleted_source_is_pruned_on_request(nights: Nights, catalogue: Path) -> None:
    """With ``prune`` the output and the rows of a deleted source are removed, and the others are kept."""
    nights.run()
    (catalogue / "shoes" / "a.jpg").unlink()

    night = nights.run(prune=True)

    assert (night.planned["pruned"], night.event is not None) == (1, True)
    assert (len(outputs(nights)), "shoes/a.jpg" in statuses(nights)) == (3, False)
    assert nights.run(prune=True).planned["deleted"] == 0


def test_excluded_source_keeps_its_output(nights: Nights) -> None:
    """A source that ``exclude`` matches does not count as deleted, also with ``prune``."""
    nights.run()

    night = nights.run(exclude="shoes/*", prune=True)

    assert (night.planned["listed"], night.planned["deleted"], len(outputs(nights))) == (2, 0, 4)


def test_missing_source_folder_fails_the_plan(nights: Nights) -> None:
    """If the source folder does not exist, the plan fails, and no output is pruned."""
    nights.run()
    shutil.rmtree(nights.source)

    with pytest.raises(AirflowFailException, match="does not exist"):
        nights.begin(prune=True)

    assert len(outputs(nights)) == 4


# -- failures -----------------------------------------------------------------------------------------------


def test_failed_batch_does_not_stop_the_others(server: EmulatorServer, nights: Nights) -> None:
    """If the upload of one batch fails, the others succeed, and the next run buys the rest."""
    server.faults.add("upload", "status", code=400, times=1)
    first = nights.run()
    assert (first.told["sources"]["done"], first.told["sources"]["missing"]) == (2, 2)

    nights.run()

    assert (len(statuses(nights)), bought(server)) == (4, 4)


def test_failed_image_is_bought_again_up_to_max_attempts(server: EmulatorServer, nights: Nights) -> None:
    """A failed image is bought up to ``max_attempts`` times, then the plan counts it as given up."""
    server.faults.add("job", "fail_image", indices=[1], times=10)

    first = nights.run(max_attempts=2)
    assert first.told["sources"]["failed"] == 2
    assert [row["error"] for row in read_rows(nights.output) if row["status"] == "failed"]
    server.faults.clear()
    server.faults.add("job", "fail_image", indices=[0, 1], times=10)
    assert nights.run(max_attempts=2).planned["failed"] == 2

    third = nights.run(max_attempts=2)

    assert (third.planned["given_up"], third.batches, bought(server)) == (2, [], 6)


def test_jobs_that_outlast_the_run_are_downloaded_by_the_next_run(
    start: Start, catalogue: Path, tmp_path: Path
) -> None:
    """Jobs that are still running at the timeout are downloaded by the next run and not bought again."""
    server = start(job_seconds=600)
    nights = Nights(str(catalogue), str(tmp_path / "out"), images_per_batch=4)

    first = nights.run(swap={"timeout": 0.5})
    assert (set(statuses(nights).values()), len(outputs(nights))) == ({"pending"}, 0)
    assert any("did not end" in text for text in failures(first))
    for job in jobs(server):
        server.state.complete_job(job["job_id"])
    wait_for_jobs(server)
    second = nights.run()

    assert (second.planned["unfinished"], second.batches) == (4, [])
    assert (set(statuses(nights).values()), len(outputs(nights)), bought(server)) == ({"done"}, 4, 4)
    assert second.event is not None
    assert second.event["done"] == 4


def upload_and_swap(nights: Nights, night: Night, index: int, **swap: Any) -> None:
    """Run a batch up to its swap; the run ends before its collect."""
    collect = nights._collect
    nights._collect = lambda *_, **__: _skipped  # type: ignore[method-assign]
    nights.batch(night, index, swap)
    nights._collect = collect  # type: ignore[method-assign]


def _skipped() -> Any:
    raise AirflowSkipException("the run has ended")


def test_jobs_of_a_run_that_ended_before_collect_are_downloaded_by_the_next_run(
    server: EmulatorServer, nights: Nights, tmp_path: Path
) -> None:
    """A run ends between swap and collect; a renamed DAG downloads the outputs and buys nothing."""
    night = nights.begin()
    upload_and_swap(nights, night, 0)
    upload_and_swap(nights, night, 1, wait_for_completion=False)
    assert (bought(server), outputs(nights)) == (4, [])
    wait_for_jobs(server)

    later = Nights(nights.source, nights.output, dag_id="renamed", images_per_batch=2)
    second = later.run()

    assert (second.planned["unfinished"], second.batches, bought(server)) == (4, [], 4)
    assert (statuses(later), len(outputs(later))) == (dict.fromkeys(statuses(later), "done"), 4)
    third = later.run()
    assert (third.planned["unchanged"], bought(server)) == (4, 4)


def test_lost_reply_of_an_earlier_run_is_found(server: EmulatorServer, nights: Nights) -> None:
    """A run is killed after a request and before its reply; the next run finds the job and buys only the rest."""
    night = nights.begin()
    server.faults.add("model_swap", "drop_after")
    server.faults.add("gallery_jobs", "status", code=503, times=None)
    upload_and_swap(nights, night, 0)
    assert bought(server) == 2
    server.faults.clear()

    second = nights.run()

    assert (second.planned["unfinished"], second.planned["new"]) == (2, 2)
    assert (bought(server), len(outputs(nights))) == (4, 4)


@pytest.mark.parametrize("policy", ["fail", "resubmit"])
def test_request_that_stays_unknown_is_reported_and_not_bought_by_default(
    server: EmulatorServer, nights: Nights, policy: str
) -> None:
    """A request is lost before it arrives: later runs do not buy its sources, unless told to resubmit."""
    night = nights.begin()
    server.faults.add("model_swap", "drop_before")
    upload_and_swap(nights, night, 0, lost_reply_grace=0.0)
    assert bought(server) == 0
    options = {"on_lost_reply": policy, "lost_reply_grace": 0.0}

    second = nights.run(swap=options, options=options)
    third = nights.run(swap=options, options=options)

    if policy == "fail":
        assert (second.planned["unknown"], second.planned["new"], bought(server)) == (2, 2, 2)
        assert (third.planned["unknown"], third.planned["unchanged"]) == (2, 2)
        assert sorted(statuses(nights).values()) == ["done", "done", "unknown", "unknown"]
    else:
        assert (second.planned["unknown"], second.planned["new"], bought(server)) == (0, 4, 4)
        assert third.planned["unchanged"] == 4


def test_unknown_request_that_piktid_lists_later_is_downloaded(
    server: EmulatorServer, nights: Nights
) -> None:
    """A job that PiktID does not list in one night and lists in the next one is downloaded then."""
    night = nights.begin()
    server.faults.add("model_swap", "drop_after")
    server.faults.add("gallery_jobs", "status", code=503, times=None)
    upload_and_swap(nights, night, 0)
    server.faults.clear()
    nothing = {"jobs": [], "pagination": {"page": 1, "pages": 0, "total": 0}}
    server.faults.add("gallery_jobs", "status", code=200, body=nothing, times=None)
    assert nights.run().planned["unknown"] == 2
    server.faults.clear()

    third = nights.run()

    assert (third.planned["unfinished"], third.planned["unknown"], bought(server)) == (2, 0, 4)
    assert set(statuses(nights).values()) == {"done"}


def test_unknown_request_is_bought_once_resubmission_is_chosen(
    server: EmulatorServer, nights: Nights
) -> None:
    """Sources that earlier nights reported as unknown are submitted in the night that allows it."""
    night = nights.begin()
    server.faults.add("model_swap", "drop_before")
    upload_and_swap(nights, night, 0, lost_reply_grace=0.0)
    assert nights.run().planned["unknown"] == 2
    options = {"on_lost_reply": "resubmit"}

    third = nights.run(swap=options, options=options)
    fourth = nights.run()

    assert (third.planned["unknown"], third.planned["images"], bought(server)) == (0, 2, 4)
    assert (fourth.planned["unchanged"], bought(server)) == (4, 4)


def test_collect_takes_the_jobs_from_the_record(server: EmulatorServer, nights: Nights) -> None:
    """A swap that was killed has pushed no XCom; its jobs are downloaded all the same."""
    night = nights.begin()
    upload_and_swap(nights, night, 0)
    del night.xcom["swap", 0], night.xcom["upload", 0]
    uri = night.batches[0]

    nights.step(
        night,
        "collect",
        0,
        nights._collect("collect", batch=uri, upload_task_id="upload", swap_task_id="swap"),
    )

    assert (night.xcom["collect", 0]["done"], len(outputs(nights))) == (2, 2)


def test_cleared_run_buys_nothing(server: EmulatorServer, nights: Nights) -> None:
    """All tasks of a batch run again: the upload keeps the file ids, so the swap attaches to its job."""
    night = nights.begin()
    nights.batch(night, 0, {})
    first = night.xcom["upload", 0]["file_ids"]

    nights.batch(night, 0, {})

    assert (night.xcom["upload", 0]["file_ids"], bought(server)) == (first, 2)


@pytest.mark.parametrize("change", ["changed", "deleted"])
def test_clear_of_a_batch_whose_source_changed_buys_nothing(
    server: EmulatorServer, nights: Nights, catalogue: Path, change: str
) -> None:
    """A batch that is cleared after one of its sources changed attaches to its job; the next run buys the change."""
    night = nights.run()
    source = catalogue / "shirts" / "a.jpg"
    if change == "deleted":
        source.unlink()
    else:
        picture(source, color="red")

    nights.batch(night, 0, {})

    assert not night.errors
    assert bought(server) == 4
    nights.run()
    assert bought(server) == (5 if change == "changed" else 4)


@pytest.mark.parametrize("how_far", ["plan", "upload", "submission"])
def test_clear_of_an_old_run_does_not_buy_what_a_later_run_bought(
    server: EmulatorServer, nights: Nights, how_far: str
) -> None:
    """What a run had not submitted is bought by a later run, and not again if the old run is cleared then."""
    server.faults.add("model_swap", "status", code=402, times=None if how_far == "submission" else 0)
    old = nights.begin()
    if how_far == "upload":
        uri = old.batches[0]
        PullingRun(
            lambda: PiktidUploadImagesOperator(
                task_id="upload", images=uri, project_name="nightly", record_beside=uri
            )
        ).run()
    elif how_far == "submission":
        for index in range(2):
            nights.batch(old, index, {})
    server.faults.clear()
    nights.run()

    old.errors.clear()
    for index in range(2):
        nights.batch(old, index, {})

    assert bought(server) == 4
    assert set(statuses(nights).values()) == {"done"}
    assert len(old.errors) == 2
    assert all("A later run of nightly.plan has taken over" in error for error in failures(old))
    assert not nights.run().errors


def test_source_that_changed_before_the_upload_is_not_bought_again(
    server: EmulatorServer, nights: Nights, catalogue: Path
) -> None:
    """The catalogue describes what was uploaded, not what was planned."""
    night = nights.begin()
    picture(catalogue / "shirts" / "a.jpg", size=(80, 40), color="green")
    for index in range(len(night.batches)):
        nights.batch(night, index, {})
    nights.summarize(night)

    second = nights.run()

    assert (second.planned["unchanged"], second.planned["changed"], bought(server)) == (4, 0, 4)


def test_source_that_is_still_being_written_is_rejected_for_this_run(
    server: EmulatorServer, nights: Nights, catalogue: Path
) -> None:
    """A truncated image is not uploaded; once it is complete, it is bought."""
    whole = (catalogue / "shoes" / "a.jpg").read_bytes()
    (catalogue / "shoes" / "a.jpg").write_bytes(whole[: len(whole) // 2])

    first = nights.run()
    assert (first.planned["rejected"], bought(server)) == (1, 3)
    assert any("is truncated" in row["error"] for row in read_rows(nights.output) if row["error"])
    (catalogue / "shoes" / "a.jpg").write_bytes(whole)
    nights.run()

    assert (statuses(nights)["shoes/a.jpg"], bought(server)) == ("done", 4)


def test_rejected_source_does_not_keep_a_name_that_another_one_uses(nights: Nights, catalogue: Path) -> None:
    """``a.png`` arrives half written beside ``a.jpg``, and complete in the next run: no format makes them one file."""
    nights.run()
    whole = picture(catalogue / "shirts" / "a.png").read_bytes()
    (catalogue / "shirts" / "a.png").write_bytes(whole[:-20])
    nights.run()
    (catalogue / "shirts" / "a.png").write_bytes(whole)

    nights.run()

    assert len({str(Path(name).with_suffix("")) for name in outputs(nights)}) == 5


def test_output_of_another_source_folder_is_refused(
    server: EmulatorServer, nights: Nights, tmp_path: Path
) -> None:
    """Two refreshes with equal options would prune, and pay for, each other's outputs."""
    nights.run()
    picture(tmp_path / "other" / "x.jpg")
    other = Nights(str(tmp_path / "other"), nights.output, dag_id="other")

    with pytest.raises(AirflowFailException, match="contains outputs of sources in") as caught:
        other.begin()

    assert isinstance(caught.value.__cause__, PiktidConfigError)
    assert bought(server) == 4


def test_cleared_collect_of_an_old_run_puts_no_old_output_back(
    server: EmulatorServer, nights: Nights, catalogue: Path
) -> None:
    """Newer plans win: the old batch is skipped, and the next run buys nothing."""
    first = nights.run()
    for name, color in (("shirts/a.jpg", "blue"), ("shirts/b.jpg", "teal")):
        picture(catalogue / name, size=(90, 30), color=color)
    nights.run()
    before = {name: (Path(nights.output) / name).read_bytes() for name in outputs(nights)}

    nights.step(
        first,
        "collect",
        0,
        nights._collect("collect", batch=first.batches[0], upload_task_id="upload", swap_task_id="swap"),
    )

    assert {name: (Path(nights.output) / name).read_bytes() for name in outputs(nights)} == before
    nights.count += 1
    assert (nights.run().planned["unchanged"], bought(server)) == (4, 6)


def wait_for_jobs(server: EmulatorServer) -> None:
    """Wait until all jobs have ended."""
    from airflow_provider_piktid.sensors.job import PiktidJobSensor
    from tests.support.tasks import TaskRun

    for job in jobs(server):
        sensor = lambda job_id=job["job_id"]: PiktidJobSensor(  # noqa: E731
            task_id="wait", job_id=job_id, deferrable=True, poke_interval=3.0, timeout=120
        )
        TaskRun(sensor).run()


def test_images_of_a_failed_job_are_bought_again(server: EmulatorServer, nights: Nights) -> None:
    """The images of a failed job are bought again by the next run."""
    server.faults.add("job", "fail_job", times=2)
    assert "4 source(s) failed at PiktID" in failures(nights.run())[-1]

    nights.run()

    assert set(statuses(nights).values()) == {"done"}


def test_next_run_repeats_failed_downloads(server: EmulatorServer, nights: Nights) -> None:
    """Outputs whose download failed are downloaded by the next run, which buys nothing."""
    server.faults.add("result_image", "status", code=404, times=1000)
    nights.run()
    assert set(statuses(nights).values()) == {"pending"}
    server.faults.clear()

    nights.run()

    assert (set(statuses(nights).values()), bought(server)) == ({"done"}, 4)


def test_next_run_downloads_what_a_crashed_collect_left(
    server: EmulatorServer, nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If ``collect`` crashes before the download, the next run downloads the outputs and buys nothing."""

    def die(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Download, "run", die)
        first = nights.run()
    assert {type(error) for error in first.errors} >= {MemoryError}
    assert statuses(nights) == dict.fromkeys(statuses(nights), "pending")

    second = nights.run()

    assert (second.errors, bought(server), len(outputs(nights))) == ([], 4, 4)


def test_images_of_an_unknown_job_are_bought_again(server: EmulatorServer, nights: Nights) -> None:
    """If PiktID no longer knows a job, its images are marked as failed and bought again."""
    server.faults.add("result_image", "status", code=404, times=1000)
    nights.run()
    server.faults.clear()
    server.faults.add("job_results", "status", code=404, times=1000)
    nights.run()
    assert set(statuses(nights).values()) == {"failed"}
    server.faults.clear()

    third = nights.run()

    assert (third.planned["failed"], set(statuses(nights).values())) == (4, {"done"})


def test_damaged_catalogue_is_rebuilt_from_the_manifests(server: EmulatorServer, nights: Nights) -> None:
    """The rows of a truncated catalogue part are restored from the manifests, and nothing is bought again."""
    nights.run()
    for part in (Path(nights.output) / "_piktid" / "catalogue").iterdir():
        part.write_bytes(part.read_bytes()[:300])

    night = nights.run()

    assert (night.planned["images"], bought(server), len(statuses(nights))) == (0, 4, 4)
    assert list((Path(nights.output) / "_piktid" / "damaged").iterdir())


def test_retried_plan_returns_the_same_batches(nights: Nights) -> None:
    """A retry of the plan returns the same batches."""
    first = nights.begin()
    nights.count -= 1

    assert nights.begin().batches == first.batches


def test_source_deleted_after_the_plan_is_skipped(nights: Nights, catalogue: Path) -> None:
    """A source that is deleted between plan and upload is skipped, and the rest of its batch is produced."""
    night = nights.begin()
    (catalogue / "shirts" / "a.jpg").unlink()

    for index in range(2):
        nights.batch(night, index, {})

    assert sorted(statuses(nights)) == ["shirts/b.jpg", "shoes/a.jpg", "shoes/b.jpg"]


@pytest.mark.parametrize(("fail_on_partial", "failed"), [(False, False), (True, True)])
def test_partial_failure_fails_the_summary_only_on_request(
    server: EmulatorServer, nights: Nights, fail_on_partial: bool, failed: bool
) -> None:
    """A failed image fails the summary only with ``fail_on_partial``."""
    server.faults.add("job", "fail_image", indices=[1])
    night = nights.run()
    night.errors.clear()

    nights.summarize(night, fail_on_partial=fail_on_partial)

    assert bool(night.errors) is failed


def test_run_without_any_result_fails(server: EmulatorServer, nights: Nights) -> None:
    """A run without any result fails and emits no asset event."""
    server.faults.add("model_swap", "status", code=402, times=10)

    night = nights.run()

    assert any("belong to batches that failed" in text for text in failures(night))
    assert night.event is None


# -- invalid input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "output"),
    [("in", "in"), ("in", "in/out"), ("in/shirts", "in"), ("in/*.jpg", "in/out"), ("in/", "./in")],
    ids=["equal", "output in source", "source in output", "glob", "other spelling"],
)
def test_overlapping_source_and_output_are_refused(
    nights: Nights, catalogue: Path, source: str, output: str
) -> None:
    """``source`` and ``output_path`` must not overlap."""
    nights.source, nights.output = (str(catalogue.parent / part) for part in (source, output))

    with pytest.raises(AirflowFailException, match="must not overlap"):
        nights.begin()


def test_symlink_to_the_source_is_resolved(nights: Nights, catalogue: Path) -> None:
    """An ``output_path`` below a symlink to the source counts as below the source."""
    (catalogue.parent / "link").symlink_to(catalogue)
    nights.output = str(catalogue.parent / "link" / "out")

    with pytest.raises(AirflowFailException, match="must not overlap"):
        nights.begin()


def test_invalid_files_are_rejected_with_a_reason(
    server: EmulatorServer, nights: Nights, catalogue: Path
) -> None:
    """Invalid files are rejected, do not count for ``max_images``, and are planned once valid."""
    (catalogue / "empty.jpg").touch()
    (catalogue / "text.png").write_text("hello")
    Image.new("RGB", (9, 9)).save(catalogue / "really.jpg", "WEBP")
    for name in ("empty.jpg", "text.png", "really.jpg"):
        os.utime(catalogue / name, (1, 1))

    first = nights.run(max_images=4)
    assert (first.planned["rejected"], first.told["sources"]["done"]) == (3, 4)
    reasons = {row["relative"]: row["error"] for row in read_rows(nights.output) if row["error"]}
    assert "is empty" in reasons["empty.jpg"]
    assert "not a supported image format" in reasons["text.png"]
    assert "WEBP" in reasons["really.jpg"]

    picture(catalogue / "text.png")
    second = nights.run()

    assert (second.planned["images"], statuses(nights)["text.png"], bought(server)) == (1, "done", 5)


def test_unreadable_source_is_rejected_until_it_can_be_read(
    server: EmulatorServer, nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that cannot be read is rejected with a reason and is bought once it can be read."""
    real = SourceFile.read

    def read(file: SourceFile, start: int, end: int) -> bytes:
        if file.relative == "shoes/a.jpg":
            raise PermissionError(file.location.path)
        return real(file, start, end)

    with monkeypatch.context() as patch:
        patch.setattr(SourceFile, "read", read)
        first = nights.run()
    assert (first.planned["rejected"], first.told["sources"]["done"]) == (1, 3)
    assert [row["error"] for row in read_rows(nights.output) if row["status"] == "rejected"] == [
        f"file://{nights.source}/shoes/a.jpg cannot be read (PermissionError). Check its permissions."
    ]

    nights.run()

    assert (statuses(nights)["shoes/a.jpg"], bought(server)) == ("done", 4)


@pytest.mark.parametrize("target", ["gone.jpg", "link.jpg"], ids=["dangling", "loop"])
def test_broken_symlink_is_ignored(
    server: EmulatorServer, nights: Nights, catalogue: Path, target: str
) -> None:
    """A broken or circular symlink does not stop the other images."""
    (catalogue / "link.jpg").symlink_to(catalogue / target)

    night = nights.run()

    assert (night.told["sources"]["done"], bought(server)) == (4, 4)


@pytest.mark.parametrize(
    "names",
    [
        [
            "with space.jpg",
            "ümläut-名.jpg",
            "a#b.jpg",
            "a?b.jpg",
            "100%.jpg",
            "a%20b.jpg",
            "a[1].jpg",
            "{{ x }}.jpg",
        ],
        ["Same.jpg", "same.jpg"],
        ["same.jpg", "same.png"],
        ["n" * 251 + ".jpg", "n" * 250 + ".jpg"],
    ],
    ids=["special characters", "case", "extension", "long"],
)
def test_every_name_has_its_own_output(
    server: EmulatorServer, nights: Nights, catalogue: Path, names: list[str]
) -> None:
    """Every source has its own output, whatever its name, and is unchanged in the next run."""
    shutil.rmtree(catalogue)
    for number, name in enumerate(names):
        picture(catalogue / name, color=f"rgb(90, {30 * number}, 90)")

    nights.run(images_per_batch=1)

    assert len({name.lower() for name in outputs(nights)}) == len(names)
    assert {row["status"] for row in read_rows(nights.output)} == {"done"}
    assert (nights.run().planned["unchanged"], bought(server)) == (len(names), len(names))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"max_images": 0}, "max_images must be 1 or more", id="zero images"),
        pytest.param({"max_images": "many"}, "max_images must be a whole number", id="not a number"),
        pytest.param(
            {"options": {"num_variations": "x"}},
            "num_variations must be a whole number",
            id="invalid variations",
        ),
        pytest.param({"source": "/nowhere"}, "does not exist", id="missing source"),
    ],
)
def test_plan_with_invalid_arguments_fails_permanently(
    nights: Nights, arguments: dict[str, Any], words: str
) -> None:
    """Invalid arguments fail the plan without a retry, and the error names the argument."""
    with pytest.raises(AirflowFailException, match=words):
        nights.begin(**arguments)


@pytest.mark.parametrize("count", [1, 1024, 1025, 5000])
def test_batches_stay_within_max_map_length(count: int) -> None:
    """The number of batches does not exceed ``[core] max_map_length``."""
    assert -(-count // batch_size(count, 1)) <= 1024


def test_batch_is_what_the_account_can_have_in_work(
    server: EmulatorServer, catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default a batch has as many images as fit into the account's active jobs."""
    connection = connection_json(server.url, images_per_job=1, active_jobs=3)
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", connection)

    night = Nights(str(catalogue), str(tmp_path / "out")).run()

    assert [len(storage.read_json(storage.locate(batch)) or []) for batch in night.batches] == [3, 1]
    assert len(jobs(server)) == 4


def test_contact_sheet_shows_successful_and_failed_images(server: EmulatorServer, nights: Nights) -> None:
    """The contact sheet shows successful and failed images, and the task pushes its address."""
    server.faults.add("job", "fail_image", indices=[1], message="no face <found>")

    night = nights.run()

    sheet = storage.locate(night.told["contact_sheet"])
    page = Path(sheet.path).read_text()
    assert night.xcom["summary", -1]["piktid_contact_sheet"].endswith(sheet.path.rpartition("/")[2])
    assert page.count("<figure") == 4
    assert page.count('class="failed"') == 1
    assert "<script" not in page
    with Image.open(sheet.path.replace(".html", ".png")) as drawn:
        assert min(drawn.size) > 240


def test_contact_sheet_says_where_from_what_it_cost_and_which_engine(nights: Nights) -> None:
    """A reader without the log sees the folder of the outputs, the credits, and the engine of each output."""
    night = nights.run()

    page = Path(storage.locate(night.told["contact_sheet"]).path).read_text()
    assert f"<p>4 done; 0 unchanged; 4 credit(s). Outputs: {night.told['output_path']}</p>" in page
    assert page.count("engine onda") == 4


def test_contact_sheet_link_uses_browse_url(nights: Nights) -> None:
    """With ``browse_url`` the link of the contact sheet starts with that URL."""
    night = nights.run()

    nights.summarize(night, browse_url="https://pictures.example/summer/")

    address = night.xcom["summary", -1]["piktid_contact_sheet"]
    assert address.startswith("https://pictures.example/summer/_piktid/contact_sheet/")
