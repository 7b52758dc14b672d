# SPDX-License-Identifier: Apache-2.0
"""A refresh of each type of job that makes outputs of single images: what is bought, named and recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.operators.base import PaidJobOperator
from airflow_provider_piktid.operators.flat_to_model import PiktidFlatToModelOperator
from airflow_provider_piktid.operators.model_swap import PiktidModelSwapOperator
from airflow_provider_piktid.operators.packshot import PiktidPackshotOperator
from airflow_provider_piktid.operators.recolor import PiktidGarmentRecolorOperator
from airflow_provider_piktid.refresh import read_rows
from airflow_provider_piktid.refresh.catalogue import CatalogueRow
from tests.operators.test_refresh import bought, outputs, upload_and_swap, wait_for_jobs
from tests.support.batch import jobs
from tests.support.catalogue import row, store_in
from tests.support.fixtures import Start
from tests.support.refresh import Nights
from tests.support.service import picture

#: Operator, its arguments, and the outputs of ``a.jpg``.
TYPES: dict[str, tuple[type[PaidJobOperator], dict[str, Any], list[str]]] = {
    "model_swap": (PiktidModelSwapOperator, {}, ["a_0_v0.jpg"]),
    "garment_recolor": (
        PiktidGarmentRecolorOperator,
        {"reference_text": "navy", "num_variations": 2},
        ["a_0_v0.jpg", "a_1_v0.jpg"],
    ),
    "create_packshot": (
        PiktidPackshotOperator,
        {"instructions": [{"style": "white_cutout"}, {"style": "flat_lay"}]},
        ["a_0-0_v0.jpg", "a_0-1_v0.jpg"],
    ),
    "flat_2_model": (PiktidFlatToModelOperator, {"instructions": [{"pose": "walking"}]}, ["a_0-0_v0.jpg"]),
}
EACH = pytest.mark.parametrize("word", TYPES)

Make = Callable[..., Nights]


@pytest.fixture
def make(server: EmulatorServer, source: Path, tmp_path: Path) -> Make:
    """Return a refresh of a type over two images, by its word; further arguments are those of the plan."""

    def begin(word: str, **more: Any) -> Nights:
        operator, arguments, _ = TYPES[word]
        options = {"lost_reply_grace": 0.1, **arguments, **more.pop("options", {})}
        return Nights(str(source), str(tmp_path / "out"), operator=operator, options=options, **more)

    return begin


@EACH
def test_three_nights_buy_all_then_nothing_then_what_changed(
    server: EmulatorServer, make: Make, source: Path, word: str
) -> None:
    """The first night buys outputs of both images, the second nothing, the third those of the changed image."""
    nights = make(word)
    first = nights.run()
    expected = TYPES[word][2]
    assert not first.errors
    assert [name for name in outputs(nights) if name.startswith("a")] == expected
    assert len(outputs(nights)) == first.planned["outputs"] == 2 * len(expected)
    assert {job["job_type"] for job in jobs(server)} == {word}

    before = len(jobs(server))
    second = nights.run()
    assert (second.planned["unchanged"], second.batches, len(jobs(server))) == (2, [], before)

    picture(source / "a.jpg", color="red", size=(50, 40))
    third = nights.run()
    assert (third.planned["changed"], bought(server), len(outputs(nights))) == (1, 3, 2 * len(expected))
    assert {found["status"] for found in read_rows(nights.output)} == {"done"}


@EACH
def test_estimate_uses_the_stated_price(make: Make, word: str) -> None:
    """A dry run estimates outputs times the price of their size; the price of earlier outputs with other options
    does not count."""
    large: dict[str, Any] = {"processing_size": 4096} if word == "garment_recolor" else {}
    if "instructions" in TYPES[word][1]:
        large = {"instructions": [{"style": "free", "options": {"size": "4K"}}]}
    if word == "flat_2_model":
        large = {"instructions": [{"options": {"size": "4K"}}]}
    make(word).run()

    night = make(word).begin(dry_run=True, options=TYPES[word][1] | large)

    price = 10.0 if large else 1.0
    assert night.planned["credits_estimate"] == night.planned["images"] * price * (
        night.planned["outputs"] // max(1, night.planned["images"])
    )
    assert night.planned["images"] == (2 if large else 0)


@EACH
def test_lost_reply_of_a_killed_night_is_paid_once(server: EmulatorServer, make: Make, word: str) -> None:
    """A night ends after a request whose reply was lost: the next one finds the job at PiktID and downloads it."""
    nights = make(word)
    night = nights.begin()
    server.faults.add(word, "drop_after", times=1)
    server.faults.add("gallery_jobs", "status", code=400, times=None)
    upload_and_swap(nights, night, 0)
    server.faults.clear()
    before = len(jobs(server))
    wait_for_jobs(server)

    nights.run()
    nights.run()

    assert before >= 1
    assert bought(server) == 2
    assert {found["status"] for found in read_rows(nights.output)} == {"done"}


@EACH
def test_results_without_inputs_are_those_of_their_source(start: Start, make: Make, word: str) -> None:
    """A server whose results name no inputs: each output belongs to the source of its job, whatever its numbers."""
    server = start(extra={}, variants={"results": "seed"})
    nights = make(word)

    nights.run()
    night = nights.run()

    assert (night.planned["unchanged"], bought(server)) == (2, 2)
    rows = [found for found in read_rows(nights.output) if found["relative"] == "a.jpg"]
    assert {found["status"] for found in rows} == {"done"}
    # Such results have no group_index either, so names are only distinct.
    assert len(outputs(nights)) == 2 * len(rows) == 2 * len(TYPES[word][2])


@EACH
def test_late_outputs_are_downloaded_by_the_next_night(server: EmulatorServer, make: Make, word: str) -> None:
    """Jobs of a run that ended before its collect are downloaded under the same names, with all outputs."""
    nights = make(word)
    upload_and_swap(nights, nights.begin(), 0)
    wait_for_jobs(server)

    night = nights.run()

    assert (night.planned["unfinished"], night.batches, bought(server)) == (2, [], 2)
    assert [name for name in outputs(nights) if name.startswith("a")] == TYPES[word][2]


@EACH
def test_equal_content_is_bought_once(server: EmulatorServer, make: Make, source: Path, word: str) -> None:
    """A renamed source, and a copy of another one, have all outputs under their names for nothing."""
    nights = make(word)
    nights.run()
    (source / "a.jpg").rename(source / "z.jpg")
    (source / "c.jpg").write_bytes((source / "b.jpg").read_bytes())

    night = nights.run(prune=True)

    assert (night.planned["reused"], night.batches, bought(server)) == (2, [], 2)
    ends = [name.removeprefix("a") for name in TYPES[word][2]]
    assert outputs(nights) == sorted(stem + end for stem in "bcz" for end in ends)
    assert nights.run().planned["unchanged"] == 3


@pytest.mark.parametrize("order", ["variation", "instruction"])
def test_rows_and_sheet_name_the_instruction(start: Start, make: Make, order: str) -> None:
    """Rows say which instruction made an output, whichever of its two numbers counts instructions."""
    start(variants={"packshot_index": order})
    instructions = [{"style": "free"}, {"style": "flat_lay", "num_variations": 3}, {"style": "white_cutout"}]
    nights = make("create_packshot", options={"instructions": instructions})

    night = nights.run()

    rows = [found for found in read_rows(nights.output) if found["relative"] == "a.jpg"]
    first = "group_index" if order == "variation" else "image_index"
    assert sorted(found["instruction"] for found in rows) == [0, 1, 1, 1, 2]
    assert all(found["instruction"] == found[first] for found in rows)
    assert len({found["file"] for found in rows}) == 5
    assert rows[0]["sources"] == [rows[0]["source"]]
    page = Path(night.told["contact_sheet"].removeprefix("file://")).read_text()
    assert page.count("instruction 1") == 6


def test_swap_rows_have_no_new_fields(make: Make) -> None:
    """Rows of a swap are written as before this package knew other types of jobs in a refresh."""
    nights = make("model_swap")
    nights.run()

    assert all(not {"sources", "instruction"} & set(found) for found in read_rows(nights.output))


#: The key of ``OPTIONS`` and ``rerun_key="spring"`` in rows that were written before a refresh had other types.
KEY_BEFORE = "6491ccd7ded90af4"
OPTIONS = {"num_variations": 2, "use_anchor": True, "swap_options": {"seed": 7}}


def test_catalogue_of_an_earlier_version_is_taken_over(
    server: EmulatorServer, make: Make, source: Path
) -> None:
    """Rows of swaps that were written before a refresh had other types are up to date: nothing is bought."""
    nights = make("model_swap", options=OPTIONS, rerun_key="spring")
    Path(nights.output).mkdir()
    store = store_in(Path(nights.output))
    known: list[CatalogueRow] = []
    for name in ("a.jpg", "b.jpg"):
        file = source / name
        Path(nights.output, f"{name[0]}_0_v0.jpg").write_bytes(b"output")
        known.append(
            row(
                name,
                source=f"file://{file}",
                source_version=None,
                source_size=file.stat().st_size,
                source_modified=file.stat().st_mtime,
                producer="nightly.plan",
                file=f"{name[0]}_0_v0.jpg",
                size=6,
                options_key=KEY_BEFORE,
            )
        )
    store.write("before", known)

    night = nights.begin()

    assert (night.planned["unchanged"], night.batches) == (2, [])


@pytest.mark.parametrize("word", ["garment_recolor", "create_packshot"])
def test_two_types_in_one_output_are_refused(server: EmulatorServer, make: Make, word: str) -> None:
    """A second DAG with another type of job and the same ``output_path`` is refused before it buys."""
    make("model_swap").run()

    with pytest.raises(AirflowFailException, match="another type of job"):
        make(word, dag_id="other").begin()

    assert bought(server) == 2


def test_other_type_in_the_same_dag_replaces_all(server: EmulatorServer, make: Make) -> None:
    """An author who changes the operator of a refresh gets everything again; changing back buys nothing."""
    make("model_swap").run()
    nights = make("create_packshot")
    nights.count = 1
    second = nights.run()
    back = make("model_swap")
    back.count = 2
    third = back.run()

    assert (second.planned["options"], third.planned["images"], third.planned["unfinished"]) == (2, 0, 2)
    assert bought(server) == 4


@pytest.mark.parametrize(
    "instructions",
    [[{"style": "free", "num_variations": 1}], [{"style": "free", "num_variations": "1", "seed": None}]],
)
def test_spelling_of_instructions_changes_nothing(make: Make, instructions: list[dict[str, Any]]) -> None:
    """A default that is written out, or a number as text, is not another option."""
    make("create_packshot", options={"instructions": [{"style": "free"}]}).run()
    nights = make("create_packshot", options={"instructions": instructions, "max_credits": "99"})
    nights.count = 1

    assert nights.begin().planned["unchanged"] == 2


def test_one_source_that_is_refused_stops_only_itself(server: EmulatorServer, make: Make) -> None:
    """Each source is a job: if PiktID refuses one, the other is delivered, and the next night submits the first."""
    nights = make("create_packshot")
    server.faults.add("create_packshot", "status", code=422, body={"error": "Invalid request"}, times=1)

    nights.run()
    statuses = [found["status"] for found in read_rows(nights.output)]
    night = nights.run()

    assert statuses == ["done", "done"]
    assert (night.planned["images"], bought(server)) == (1, 2)


def test_batches_are_as_large_as_the_active_jobs(start: Start, make: Make, source: Path) -> None:
    """Where each source is a job, a batch has as many sources as the account has active jobs."""
    start(extra={"active_jobs": 3})
    for number in range(5):
        picture(source / f"more{number}.jpg", size=(40 + number, 40))

    batches = make("create_packshot").begin().batches

    sizes = [len(json.loads(Path(uri.removeprefix("file://")).read_text())) for uri in batches]
    assert sizes == [3, 3, 1]


@pytest.mark.parametrize(
    ("word", "options", "words"),
    [
        pytest.param("create_packshot", {"instructions": []}, "at least one mapping", id="no instruction"),
        pytest.param("create_packshot", {"notes": {"file": "back"}}, "notes needs file ids", id="notes"),
        pytest.param("garment_recolor", {"reference_text": None}, "is needed", id="nothing to recolour to"),
        pytest.param(
            "garment_recolor",
            {"reference_image": "id"},
            "reference_image needs file ids",
            id="reference image",
        ),
        pytest.param("garment_recolor", {"processing_size": 512}, "processing_size must be", id="size"),
    ],
)
def test_wrong_arguments_fail_the_plan(
    server: EmulatorServer, make: Make, word: str, options: dict[str, Any], words: str
) -> None:
    """Arguments that the type of job does not accept fail the plan, before anything is uploaded."""
    with pytest.raises(AirflowFailException, match=words):
        make(word, options=options).begin()

    assert sum(server.state.counters.requests.values()) == 0
