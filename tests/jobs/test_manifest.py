# SPDX-License-Identifier: Apache-2.0
"""Output names and the manifest of a download."""

from __future__ import annotations

import json
import os.path
import posixpath
import unicodedata
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_piktid.exceptions import PiktidDownloadError
from airflow_provider_piktid.jobs.manifest import (
    SCHEMA_VERSION,
    Row,
    dump,
    load,
    manifest_path,
    plan_rows,
)
from airflow_provider_piktid.models.v2 import JobResults


def job(job_id: str, *rows: dict[str, Any], **fields: Any) -> tuple[str, JobResults]:
    body = {"job_id": job_id, "status": "completed", "results": list(rows), **fields}
    return job_id, JobResults.model_validate(body)


def row(index: int = 0, group: int = 0, name: str | None = "a.jpg", **fields: Any) -> dict[str, Any]:
    whole = {
        "image_index": index,
        "group_index": group,
        "version": 0,
        "original_filename": name,
        "status": "completed",
        "output": {"full_size": "https://cdn/x?Signature=secret"},
    }
    return whole | fields


def image(file_id: str, relative: str) -> dict[str, str]:
    name = posixpath.basename(relative)
    return {"file_id": file_id, "filename": name, "source": f"s3://b/in/{relative}", "relative": relative}


def inputs(uuid: str) -> dict[str, Any]:
    return {"inputs": [{"uuid": uuid}]}


def files(jobs: list[tuple[str, JobResults]], images: list[dict[str, str]] | None = None) -> list[str | None]:
    return [planned.file for planned, _ in plan_rows(jobs, images)]


def folded(name: str) -> str:
    return posixpath.splitext(name)[0].casefold()


def test_without_images_each_job_has_a_folder() -> None:
    """Without the list of images each job's outputs are placed in a folder of that job."""
    assert files([job("j1", row()), job("j2", row())]) == ["j1/a_0_v0.jpg", "j2/a_0_v0.jpg"]


def test_with_images_the_source_folders_are_mirrored() -> None:
    """With the list of images outputs are placed in the folders of their sources."""
    images = [image("f1", "red/a.jpg"), image("f2", "blue/a.jpg")]

    assert files([job("j", row(0, **inputs("f1")), row(1, **inputs("f2")))], images) == [
        "red/a_0_v0.jpg",
        "blue/a_0_v0.jpg",
    ]


def test_variations_and_versions_have_different_names() -> None:
    """The output name contains the variation and the version."""
    rows = [row(group=0), row(group=1), row(group=1, version=2)]

    assert files([job("j", *rows)]) == ["j/a_0_v0.jpg", "j/a_1_v0.jpg", "j/a_1_v2.jpg"]


def test_source_is_matched_by_name_if_inputs_have_no_id() -> None:
    """Without an input id the source is matched by file name, unless several sources have that name."""
    images = [image("f1", "red/a.jpg"), image("f2", "blue/b.jpg"), image("f3", "green/b.jpg")]

    planned = plan_rows([job("j", row(0, name="a.jpg"), row(1, name="b.jpg"))], images)

    assert [item.source for item, _ in planned] == ["s3://b/in/red/a.jpg", None]


def test_source_is_matched_by_order_if_results_have_no_name() -> None:
    """Without input ids and names the sources are matched in the order of jobs and images."""
    images = [image("f1", "red/a.jpg"), image("f2", "blue/b.jpg"), image("f3", "blue/c.jpg")]
    jobs = [job("j1", row(0, name=None), row(1, name=None)), job("j2", row(0, name=None))]

    assert files(jobs, images) == ["red/a_0_v0.jpg", "blue/b_0_v0.jpg", "blue/c_0_v0.jpg"]


def test_relative_paths_default_to_the_sources_without_their_common_prefix() -> None:
    """Without ``relative`` the folders are taken from the sources, less their common prefix."""
    images = [image("f1", "red/a.jpg") | {"relative": ""}, image("f2", "blue/a.jpg") | {"relative": ""}]

    assert files([job("j", row(0, **inputs("f1")), row(1, **inputs("f2")))], images) == [
        "red/a_0_v0.jpg",
        "blue/a_0_v0.jpg",
    ]


def test_names_that_differ_only_in_extension_or_case_are_distinct() -> None:
    """Names that differ only in extension or case get the job id and the image index."""
    names = files([job("j", row(0, name="a.png"), row(1, name="a.jpg"), row(2, name="A.jpg"))])

    assert names == ["j/a_0_v0_j_0.png", "j/a_0_v0_j_1.jpg", "j/A_0_v0_j_2.jpg"]


def test_names_do_not_depend_on_the_order_of_the_results() -> None:
    """Output names do not depend on the order of the results."""
    rows = [row(0, name="a.png"), row(1, name="a.jpg"), row(1, group=1, name="a.jpg")]

    assert files([job("j", *rows)]) == files([job("j", *reversed(rows))])


def test_row_of_a_failed_output_has_a_reason_and_no_file() -> None:
    """The row of a failed output contains the reason and no file."""
    ((planned, _),) = plan_rows([job("j", row(status="failed", error_message="no face"))], None)

    assert (planned.status, planned.file, planned.error) == ("failed", None, "no face")


def test_row_contains_model_identity_and_credits() -> None:
    """A row contains the model, the identity, the job's credits and the version."""
    results = job("j", row(model_used="onda", version=3), credits_used=2.5, identity_code="PiktidSummer")

    ((planned, _),) = plan_rows([results], None)

    assert (planned.model_used, planned.identity_code, planned.job_credits_used, planned.version) == (
        "onda",
        "PiktidSummer",
        2.5,
        3,
    )


def test_manifest_contains_no_links() -> None:
    """The manifest contains no links."""
    rows = [planned for planned, _ in plan_rows([job("j", row())], [image("f", "a.jpg")])]

    assert b"cdn" not in dump(rows)
    assert b"Signature" not in dump(rows)


def test_manifest_is_json_with_one_row_per_line() -> None:
    """The manifest is JSON with one row on each line."""
    rows = [planned for planned, _ in plan_rows([job("j", row(0), row(1, name="ü.jpg"))], None)]

    content = dump(rows)

    assert load(json.loads(content), "m") == rows
    assert len(content.splitlines()) == len(rows) + 2


def test_manifest_with_a_name_that_is_not_utf8_can_be_loaded() -> None:
    """A manifest with a source name that is not valid UTF-8 can be loaded."""
    rows = [Row("file:///in/\udcff.jpg", "a.jpg", "j", 0, 0, 0, None, "done")]

    assert load(json.loads(dump(rows)), "m") == rows


@pytest.mark.parametrize(
    "value",
    ["text", [1], [{"colour": "red"}], [{"schema": 1}], {"a": 1}],
    ids=["string", "numbers", "unknown field", "missing fields", "object"],
)
def test_invalid_manifest_is_refused(value: Any) -> None:
    """A file that is not a manifest raises an error that names the file."""
    with pytest.raises(PiktidDownloadError, match=r"m\.json"):
        load(value, "m.json")


def test_manifest_of_a_newer_schema_is_refused() -> None:
    """A manifest with a newer schema raises an error that says to update."""
    rows = [Row(None, "a.jpg", "j", 0, 0, 0, None, "done", schema=SCHEMA_VERSION + 1)]

    with pytest.raises(PiktidDownloadError, match="update"):
        load(json.loads(dump(rows)), "m")


def test_manifest_path_depends_on_the_jobs_only() -> None:
    """The path of the manifest depends on the job ids, not on their order."""
    assert manifest_path(["b", "a"]) == manifest_path(["a", "b"])
    assert manifest_path(["a"]) != manifest_path(["b"])
    assert manifest_path(["a"]).startswith("_piktid/manifest-")


# -- hostile names --------------------------------------------------------------------------------------------

SPITEFUL = st.sampled_from(
    [
        *(
            "..",
            ".",
            "/",
            "\\",
            "../../etc/passwd",
            "/abs.jpg",
            "C:\\x.jpg",
            "con.",
            "a\0.jpg",
            ".\x01.",
            "~",
        ),
        *(
            "a.jpg",
            "A.JPG",
            "a.png",
            "a_0_v0.jpg",
            "a_0_v0_j_0.jpg",
            "é.jpg",
            "e\u0301.jpg",
            "ß.jpg",
            "SS.jpg",
        ),
        *(
            "_piktid",
            "_piktid/manifest.json",
            "x" * 5000,
            "名" * 200,
            "a.jpg/b.jpg",
            "a/.jpg",
            " .. ",
            "\u202e",
        ),
    ]
)
NAMES = st.one_of(SPITEFUL, st.none(), st.text(max_size=20))
JOB_IDS = st.one_of(
    st.sampled_from(["j", "J", "k/j", "..", "j_1", "x" * 300, "名" * 60]), st.text(min_size=1)
)
ROWS = st.lists(
    st.builds(
        lambda index, group, version, name, uuid: row(index, group, name, version=version, **inputs(uuid)),
        st.integers(0, 3) | st.integers(0, 10**6),
        st.integers(0, 2) | st.integers(0, 10**6),
        st.integers(0, 2),
        NAMES,
        st.sampled_from(["f1", "f2", "f3"]),
    ),
    max_size=6,
)
IMAGES = st.none() | st.lists(
    st.builds(
        lambda file_id, relative, name: {
            "file_id": file_id,
            "filename": name,
            "source": f"s3://b/{relative}",
            "relative": relative,
        },
        st.sampled_from(["f1", "f2", "f3"]),
        st.one_of(SPITEFUL.filter(lambda text: len(text) < 200), st.just("red/a.jpg"), st.text(max_size=20)),
        st.sampled_from(["a.jpg", "b.jpg", ""]),
    ),
    max_size=4,
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(jobs=st.lists(st.tuples(JOB_IDS, ROWS), max_size=3, unique_by=lambda pair: pair[0]), images=IMAGES)
def test_output_names_are_safe_and_unique(
    jobs: list[tuple[str, list[dict[str, Any]]]], images: list[dict[str, str]] | None
) -> None:
    """Each output has a unique name below the output folder that every file system accepts."""
    named = [name for name in files([job(job_id, *rows) for job_id, rows in jobs], images) if name]

    for name in named:
        assert posixpath.normpath(name) == name
        assert not posixpath.isabs(name)
        assert os.path.commonpath(["/out", os.path.abspath(f"/out/{name}")]) == "/out"
        assert ".." not in name.split("/")
        assert not any(unicodedata.category(char).startswith("C") for char in name)
        assert all(0 < len(part.encode()) <= 255 for part in name.split("/"))
        assert not posixpath.basename(name).startswith(".")
    assert len({folded(name) for name in named}) == len(named)
