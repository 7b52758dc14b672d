# SPDX-License-Identifier: Apache-2.0
"""The rows of the catalogue and what follows from them for each source."""

from __future__ import annotations

import random
from typing import Any

import pytest

from airflow_provider_piktid.exceptions import PiktidRecordError
from airflow_provider_piktid.files.names import folded, output_stem
from airflow_provider_piktid.files.storage import SourceFile
from airflow_provider_piktid.models.model_swap import ModelSwap
from airflow_provider_piktid.refresh import catalogue
from airflow_provider_piktid.refresh.arguments import options_key
from airflow_provider_piktid.refresh.naming import NameIndex
from tests.support.catalogue import KEY, known_of, row, source

#: For each swap option that changes the output, a value other than the default.
OTHER_OPTIONS: dict[str, Any] = {
    "model": "onda",
    "num_variations": 2,
    "post_process": True,
    "add_ai_watermark": True,
    "use_anchor": True,
    "use_alternative_method": True,
    "swap_options": {"seed": 7},
    "extra": {"preset_code": "p"},
}


@pytest.mark.parametrize(
    ("before", "now", "reason"),
    [
        pytest.param(None, source(), "new", id="unknown"),
        pytest.param(row(), source(), "same", id="equal version"),
        pytest.param(row(), source(modified=99.0), "same", id="equal version, later time"),
        pytest.param(row(), source(version="v2", size=101), "changed", id="other version and size"),
        pytest.param(row(), source(version="v2"), "verify", id="other version, same size"),
        pytest.param(row(source_sha256=None), source(version="v2"), "changed", id="no checksum"),
        pytest.param(row(source_version=None), source(version=None), "same", id="no versions, equal time"),
        pytest.param(
            row(source_version=None),
            source(version=None, modified=11.0),
            "verify",
            id="no versions, later time",
        ),
        pytest.param(
            row(source_version=None), source(version=None, size=101), "changed", id="no versions, other size"
        ),
        pytest.param(row(options_key="other"), source(), "options", id="other options"),
        pytest.param(row(status="failed"), source(), "failed", id="failed before"),
        pytest.param(row(status="failed", attempts=3), source(), "given up", id="failed too often"),
        pytest.param(
            row(status="failed", attempts=3),
            source(version="v2", size=1),
            "changed",
            id="failed, then changed",
        ),
        pytest.param(
            row(status="failed", options_key="other"), source(), "options", id="failed with other options"
        ),
        pytest.param(row(status="rejected", attempts=0), source(), "failed", id="rejected before"),
        pytest.param(row(status="pending"), source(), "pending", id="pending"),
        pytest.param(
            row(status="pending"), source(version="v2", size=1), "pending", id="pending, then changed"
        ),
    ],
)
def test_source_is_compared_with_its_rows(
    before: catalogue.CatalogueRow | None, now: SourceFile, reason: str
) -> None:
    """What to do with a source follows from its version, the options and its previous status."""
    known = known_of(before)["a.jpg"] if before else None

    assert catalogue.compare(known, now, KEY, max_attempts=3) == reason


def test_newest_rows_replace_older_ones() -> None:
    """The newest rows of a source replace all older ones, in any order."""
    rows = [row(at=1.0, group_index=0), row(at=1.0, group_index=1), row(at=2.0, group_index=0, job_id="new")]
    for seed in range(6):
        shuffled = random.Random(seed).sample(rows, 3)

        (only,) = known_of(*shuffled)["a.jpg"].rows

        assert only["job_id"] == "new"


def test_repeated_rows_count_once() -> None:
    """Rows that a crashed compaction left twice count once."""
    rows = [row(group_index=0), row(group_index=1)]

    assert len(known_of(*rows, *rows)["a.jpg"].rows) == 2


@pytest.mark.parametrize(
    ("statuses", "together"),
    [
        (["done", "failed"], "done"),
        (["done", "pending"], "pending"),
        (["failed", "pending"], "pending"),
        (["failed", "failed"], "failed"),
    ],
    ids=str,
)
def test_source_of_several_outputs_has_one_status(statuses: list[Any], together: str) -> None:
    """The outputs of a source are combined into one status: pending, then done, then failed."""
    rows = [row(status=status, group_index=index) for index, status in enumerate(statuses)]

    assert known_of(*rows)["a.jpg"].status == together


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "a row",
        {"schema": 1},
        vars(row(status="bought")),
        vars(row()) | {"relative": 7},
        vars(row(source_size="large")),
        vars(row(target=None)),
    ],
    ids=["not JSON", "a list", "text", "missing fields", "unknown status", "name", "size", "target"],
)
def test_invalid_row_is_rejected(value: Any) -> None:
    """A value that is not a row, or has fields of other types, is rejected."""
    assert catalogue.state_of(value, "here") is None


def test_newer_schema_raises() -> None:
    """A row with a newer schema raises an error that says to update."""
    newer = vars(row(schema=catalogue.SCHEMA_VERSION + 1))

    with pytest.raises(PiktidRecordError, match=r"part-1 has schema 3.*Update airflow-provider-piktid"):
        catalogue.state_of(newer, "part-1")


def test_unknown_fields_are_kept() -> None:
    """A row with an unknown field is kept unchanged."""
    value = vars(row()) | {"note": "ours"}

    found = catalogue.state_of(value, "here")

    assert found is not None
    assert found[1].rows == [value]


@pytest.mark.parametrize("name", ["a b.jpg", "ümläut.jpg", "a#b?c%20.jpg", "\udcff.jpg", "line\nbreak.jpg"])
def test_special_characters_in_names_are_kept(name: str) -> None:
    """A name with special characters is read back unchanged."""
    assert known_of(row(name))[name].rows[0]["relative"] == name


def key_of(identity: str, options: dict[str, Any], rerun_key: str | None = None) -> str:
    return options_key(ModelSwap.from_arguments({**options, "identity_code": identity}), rerun_key)


def test_default_options_do_not_change_the_key() -> None:
    """Options with their default value, also as a string, do not change the key."""
    spelled = {"model": "auto", "num_variations": "1", "swap_options": None, "timeout": 7200}

    assert key_of("PiktidSummer", spelled) == KEY


@pytest.mark.parametrize(
    ("identity", "options", "rerun_key"),
    [
        ("PiktidPremium", {}, None),
        ("PiktidSummer", {"model": "onda"}, None),
        ("PiktidSummer", {"num_variations": 2}, None),
        ("PiktidSummer", {"swap_options": {"seed": 1}}, None),
        ("PiktidSummer", {}, "again"),
    ],
    ids=["identity", "model", "variations", "more options", "rerun_key"],
)
def test_other_options_have_another_key(
    identity: str, options: dict[str, Any], rerun_key: str | None
) -> None:
    """Another identity, option or ``rerun_key`` changes the key."""
    assert key_of(identity, options, rerun_key) != KEY


@pytest.mark.parametrize(("name", "value"), OTHER_OPTIONS.items(), ids=OTHER_OPTIONS)
def test_every_swap_option_changes_the_key(name: str, value: Any) -> None:
    """Every swap option that changes the output changes the key."""
    assert key_of("PiktidSummer", {name: value}) != KEY


def test_every_swap_option_is_tested() -> None:
    """``OTHER_OPTIONS`` contains every swap option that changes the output."""
    assert set(ModelSwap(identity_code="x").content()) == {"job_type", "identity_code", *OTHER_OPTIONS}


def test_oldest_sources_come_first_and_failed_ones_last() -> None:
    """Sources are planned from the oldest to the newest, and failed ones last."""
    work: list[tuple[SourceFile, catalogue.Reason]] = [
        (source("late.jpg", modified=3.0), "new"),
        (source("bad.jpg", modified=1.0), "failed"),
        (source("early.jpg", modified=2.0), "changed"),
    ]

    assert [file.relative for file, _ in catalogue.in_order(work)] == ["early.jpg", "late.jpg", "bad.jpg"]


def targets(files: list[SourceFile], known: dict[str, catalogue.SourceState]) -> dict[str, str]:
    """Name sources that are all there is, besides known ones that no longer exist."""
    index = NameIndex()
    names = {file.relative for file in files}
    for name in sorted(names):
        index.add(name, known.get(name))
    for name in known.keys() - names:
        index.add_deleted(name, known[name])
    return index.targets(files, known)


@pytest.mark.parametrize(
    ("names", "marked"),
    [
        (["a.jpg", "b.jpg"], []),
        (["a.jpg", "a.png"], ["a.jpg", "a.png"]),
        (["a.jpg", "A.jpg"], ["a.jpg", "A.jpg"]),
        (["x/a.jpg", "y/a.jpg"], []),
        (["\u00e9.jpg", "e\u0301.jpg"], ["\u00e9.jpg", "e\u0301.jpg"]),
        (["n" * 1000 + "1.jpg", "n" * 1000 + "2.jpg"], []),
        (["a\n.jpg", "a.jpg"], ["a\n.jpg", "a.jpg"]),
    ],
    ids=["different", "extensions", "case", "folders", "accents", "long", "control"],
)
def test_sources_that_would_share_an_output_get_distinct_names(names: list[str], marked: list[str]) -> None:
    """Sources that would share an output get distinct target names."""
    files = [source(name) for name in names]

    named = targets(files, {})

    assert sorted(name for name in names if named[name] != name) == sorted(marked)
    assert len({folded(output_stem(name)) for name in named.values()}) == len(names)


def test_source_keeps_its_target_name() -> None:
    """A source keeps its target name, and a later one with the same name gets another."""
    known = known_of(row("a.jpg"))

    later = targets([source("a.jpg"), source("a.png")], known)
    alone = targets([source("a.png")], known)

    assert later["a.jpg"] == "a.jpg"
    assert later["a.png"] == alone["a.png"] != "a.png"
