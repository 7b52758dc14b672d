# SPDX-License-Identifier: Apache-2.0
"""A refresh buys nothing twice on bad input: damaged or newer files, another account, a clock that jumps."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.exceptions import PiktidError, PiktidRecordError
from airflow_provider_piktid.files import storage
from tests.operators.test_refresh import bought, failures, outputs, statuses, upload_and_swap, wait_for_jobs
from tests.support.fixtures import Start
from tests.support.refresh import Nights
from tests.support.service import picture


def one(nights: Nights, pattern: str) -> Path:
    (found,) = Path(nights.output, "_piktid").glob(pattern)
    return found


def newer_catalogue(nights: Nights) -> None:
    part = one(nights, "catalogue/*.jsonl.gz")
    part.write_bytes(
        gzip.compress(gzip.decompress(part.read_bytes()).replace(b'"schema": 2', b'"schema": 99'))
    )


def newer_record(nights: Nights) -> None:
    record = one(nights, "plans/*/*.jobs.json")
    record.write_text(record.read_text().replace('"version": 1', '"version": 99'))


def half_a_record(nights: Nights) -> None:
    record = one(nights, "plans/*/*.jobs.json")
    record.write_bytes(record.read_bytes()[:40])


def half_the_uploads(nights: Nights) -> None:
    one(nights, "plans/*/*.collected.json").unlink()
    uploads = one(nights, "plans/*/*.uploads.json")
    uploads.write_bytes(uploads.read_bytes()[:40])


def other_root(nights: Nights) -> None:
    folder = Path(nights.source)
    nights.source = str(folder.rename(folder.with_name("moved")))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(newer_catalogue, "schema 99", id="newer catalogue"),
        pytest.param(newer_record, "version 99", id="newer record"),
        pytest.param(half_a_record, "cannot be read", id="half a record"),
        pytest.param(half_the_uploads, "cannot be read", id="half the uploads"),
        pytest.param(other_root, "contains outputs of sources in", id="another source root"),
    ],
)
def test_plan_fails_and_buys_nothing(
    server: EmulatorServer, nights: Nights, damage: Callable[[Nights], None], words: str
) -> None:
    """A file that cannot be understood stops the plan with an error that says what is wrong."""
    nights.run()
    damage(nights)

    with pytest.raises((PiktidError, AirflowFailException), match=words):
        nights.begin()

    assert bought(server) == 2


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_half_a_line_of_the_catalogue_buys_nothing(
    server: EmulatorServer, nights: Nights, keep: float
) -> None:
    """The lost rows are restored from the manifests."""
    nights.run()
    part = one(nights, "catalogue/*.jsonl.gz")
    part.write_bytes(part.read_bytes()[: int(keep * part.stat().st_size)])

    night = nights.run()

    assert (night.batches, bought(server), set(statuses(nights).values())) == ([], 2, {"done"})


def test_output_that_cannot_be_written_fails_before_the_purchase(
    server: EmulatorServer, nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan is the first to write; the error names the place."""

    def refuse(place: storage.Location, content: bytes) -> None:
        raise PermissionError(place.path)

    monkeypatch.setattr(storage, "write_bytes", refuse)

    with pytest.raises(PiktidRecordError, match=r"active\.json cannot be written \(PermissionError\)"):
        nights.begin()

    assert (bought(server), sum(server.state.counters.requests.values())) == (0, 0)


def test_jobs_of_another_account_are_not_bought_again(
    start: Start, nights: Nights, server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection changes to an account that knows neither jobs nor project: told, and nothing is bought."""
    night = nights.begin()
    upload_and_swap(nights, night, 0)
    wait_for_jobs(server)
    address = os.environ["AIRFLOW_CONN_PIKTID_DEFAULT"]
    other = start()

    for _ in range(2):
        second = nights.run()
        assert any("belongs to another account" in text for text in failures(second))
    assert (bought(other), set(statuses(nights).values())) == (0, {"pending"})
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", address)
    nights.run()

    assert (bought(server), set(statuses(nights).values()), len(outputs(nights))) == (2, {"done"}, 2)


def test_job_that_is_gone_from_the_same_account_fails(server: EmulatorServer, nights: Nights) -> None:
    """The project is known, so the job was deleted: its sources are bought again in their turn."""
    night = nights.begin()
    upload_and_swap(nights, night, 0)
    wait_for_jobs(server)
    server.faults.add("job_results", "status", code=404, times=None)

    nights.run()

    assert set(statuses(nights).values()) == {"failed"}


@pytest.mark.parametrize("hours", [1, 48])
def test_clock_that_is_set_back_loses_no_row(
    server: EmulatorServer, nights: Nights, source: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """A night whose clock is behind buys a changed source once, and the catalogue describes the new output."""
    nights.run()
    picture(source / "a.jpg", size=(90, 30), color="red")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600 * hours)

    second = nights.run()
    third = nights.run()

    assert (second.planned["changed"], bought(server)) == (1, 3)
    assert (third.planned["unchanged"], third.batches, bought(server)) == (2, [], 3)


def test_clock_that_is_set_back_loses_no_paid_job(
    server: EmulatorServer, nights: Nights, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A night with a clock that is behind ends before its collect: the next one finds what it paid for."""
    nights.run()
    picture(source / "a.jpg", size=(90, 30), color="red")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    night = nights.begin()
    upload_and_swap(nights, night, 0)
    wait_for_jobs(server)

    third = nights.run()

    assert (third.planned["unfinished"], third.batches, bought(server)) == (1, [], 3)
    assert nights.run().planned["unchanged"] == 2
