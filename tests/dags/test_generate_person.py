# SPDX-License-Identifier: Apache-2.0
"""The person example runs with ``dag.test()``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_piktid.client._login import TOKENS
from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.operators.generate_person import PiktidGeneratePersonOperator
from tests.dags.test_examples import run_example
from tests.support.fixtures import start
from tests.support.person import QUICK_PERSONS, account_json, bought
from tests.support.service import picture

__all__ = ["start"]


@pytest.mark.parametrize("account", ["login", "access token"])
def test_example_writes_a_file_for_each_person_and_keyword(
    start: Callable[..., EmulatorServer],
    airflow_db: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    account: str,
) -> None:
    """Two persons and three keywords result in six files, each bought once."""
    server = start(**QUICK_PERSONS)
    TOKENS.clear()
    connection = account_json(server.url) if account == "login" else os.environ["AIRFLOW_CONN_PIKTID_DEFAULT"]
    monkeypatch.setenv("AIRFLOW_CONN_PIKTID_V1", connection)
    monkeypatch.setattr(
        PiktidGeneratePersonOperator, "execute", _hurried(PiktidGeneratePersonOperator.execute)
    )
    run_example(
        "example_generate_person",
        image=str(picture(tmp_path / "street.jpg")),
        output_path=str(tmp_path / "out"),
        persons="[0, 1]",
    )
    assert len(bought(server)) == len(set(bought(server))) == 6
    assert len(list((tmp_path / "out").glob("*_person*.jpg"))) == 6


def _hurried(execute: Any) -> Any:
    def shorter(self: Any, context: Any) -> Any:
        self.stagger = 0.2
        return execute(self, context)

    return shorter
