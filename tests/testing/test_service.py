# SPDX-License-Identifier: Apache-2.0
"""The fixtures and what they say about purchases, in this pytest run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.testing.pictures import write_pictures
from airflow_provider_piktid.testing.service import PiktidEmulator
from tests.support.batch import buy
from tests.support.person import person_run


@pytest.mark.parametrize("turn", ["first", "second"])
def test_each_test_starts_with_an_empty_emulator(piktid_emulator: PiktidEmulator, turn: str) -> None:
    """Nothing that one test bought is there in the next one."""
    assert (piktid_emulator.bought_images, piktid_emulator.credits_spent) == ([], 0)
    buy(piktid_emulator, 2)
    assert (piktid_emulator.bought_images, piktid_emulator.credits_spent) == (["0.jpg", "1.jpg"], 2)


@pytest.mark.piktid_emulator(credits=3)
class TestMarker:
    """The marker of a class."""

    def test_marker_changes_settings(self, piktid_emulator: PiktidEmulator) -> None:
        """A setting of the marker replaces that of the kit; the others stay."""
        settings = piktid_emulator.settings
        assert (settings.credits, settings.jobs_per_minute) == (3, 0)

    @pytest.mark.piktid_emulator(credits=5, job_seconds=9)
    def test_nearest_marker_counts(self, piktid_emulator: PiktidEmulator) -> None:
        """The marker of a function takes precedence over that of its class."""
        assert (piktid_emulator.settings.credits, piktid_emulator.settings.job_seconds) == (5, 9)


def test_connection_leads_to_the_emulator(
    piktid_emulator: PiktidEmulator, piktid_connection: Callable[..., None]
) -> None:
    """The default connection is set at once, and a call sets another one with fields of the extra."""
    assert PiktidHook().test_connection()[0]
    piktid_connection("piktid_eu", images_per_job=2)
    assert PiktidHook("piktid_eu").settings.images_per_job == 2
    assert BaseHook.get_connection("piktid_eu").host == piktid_emulator.url


def test_connection_serves_both_apis(
    piktid_emulator: PiktidEmulator, piktid_connection: Callable[..., None], tmp_path: Path
) -> None:
    """The same connection generates persons, and the kit knows which."""
    person_run(tmp_path, persons=[0], stagger=0.05).run()
    assert piktid_emulator.bought_persons == [(0, "Africa"), (0, "Oceania")]
    piktid_emulator.assert_nothing_bought_twice()


def test_connection_ends_with_the_test(request: pytest.FixtureRequest) -> None:
    """A test that does not ask for the connection has none."""
    assert "AIRFLOW_CONN_PIKTID_EU" not in os.environ


def test_planned_failure_happens(
    piktid_emulator: PiktidEmulator, piktid_connection: Callable[..., None]
) -> None:
    """A failure is planned in one line, and until it has happened the assertion names it."""
    piktid_emulator.fail("identities", "status", code=503, times=None)
    with pytest.raises(AssertionError, match="identities status"):
        piktid_emulator.assert_failures_happened()
    assert not PiktidHook().test_connection()[0]
    piktid_emulator.assert_failures_happened()


def test_content_that_is_bought_twice_is_named(piktid_emulator: PiktidEmulator) -> None:
    """The same picture with the same options in two jobs is a second purchase, with another identity it is none."""
    buy(piktid_emulator, 1)
    buy(piktid_emulator, 1, identity_code="PiktidPremium")
    piktid_emulator.assert_nothing_bought_twice()
    buy(piktid_emulator, 1)
    with pytest.raises(AssertionError, match=r"bought more than once: 0\.jpg"):
        piktid_emulator.assert_nothing_bought_twice()


def test_pictures_differ(tmp_path: Path) -> None:
    """No two of many written pictures have the same content."""
    folder = write_pictures(tmp_path, *(f"look/{number}.png" for number in range(40)))
    assert len({path.read_bytes() for path in folder.rglob("*.png")}) == 40
