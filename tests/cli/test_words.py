# SPDX-License-Identifier: Apache-2.0
"""Records of promotions and presets in words, for people on call."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_piktid.cli.words import describe
from airflow_provider_piktid.jobs import preset, promotion
from airflow_provider_piktid.jobs.preset import Extraction, PresetRecord
from airflow_provider_piktid.jobs.promotion import Promotion, PromotionRecord


def promoted(**item: Any) -> tuple[str, Any]:
    return promotion.STATE_KEY, PromotionRecord("f", Promotion(501, **item), ["job-1"])


def extracted(**item: Any) -> tuple[str, Any]:
    return preset.STATE_KEY, PresetRecord("f", Extraction("file-1", "flat_2_model", **item))


@pytest.mark.parametrize(
    ("record", "sentence", "is_open"),
    [
        pytest.param(
            promoted(state="submitted", identity_code="id-1"),
            "Promoted draft 501 of job-1 to identity id-1.",
            False,
            id="promoted",
        ),
        pytest.param(
            promoted(state="intent"), "Not promoted: draft 501 of job-1.", True, id="promotion, lost reply"
        ),
        pytest.param(promoted(), "Not promoted: draft 501 of job-1.", False, id="promotion, not sent"),
        pytest.param(
            extracted(state="submitted", answer={}),
            "Extracted a preset of type flat_2_model from file-1.",
            False,
            id="extracted",
        ),
        pytest.param(
            extracted(state="intent"),
            "Not extracted: a preset of type flat_2_model from file-1.",
            True,
            id="extraction, lost reply",
        ),
    ],
)
def test_record_in_words(record: tuple[str, Any], sentence: str, is_open: bool) -> None:
    """The sentence says what was paid for; a lost reply is open, and the text says what a retry does."""
    kind, stored = record

    described = describe(kind, stored.to_json(), "s3://state/record.json")

    assert (described["sentence"], bool(described["open"])) == (sentence, is_open)
