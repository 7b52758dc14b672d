# SPDX-License-Identifier: Apache-2.0
"""Sources that are made of several files: how files are grouped, and what identifies a group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from airflow_provider_piktid.exceptions import PiktidConfigError
from airflow_provider_piktid.files.names import output_stem
from airflow_provider_piktid.files.storage import SourceFile
from airflow_provider_piktid.refresh import groups
from airflow_provider_piktid.refresh.groups import Grouping, SourceGroup, check_group_by, joined
from tests.support.catalogue import source


def grouped(
    group_by: str, names: list[str], *, exclude: tuple[str, ...] = (), most: int = 10
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Group files of these names; return those of each group in the order that it was yielded, and the problems."""
    grouping = Grouping(group_by, exclude, most)
    files = iter([source(name) for name in sorted(names)])
    found = {group.relative: [file.relative for file in group.files] for group in grouping.groups(files)}
    assert list(found) == sorted(found)
    return found, grouping.problems


@pytest.mark.parametrize(
    ("names", "expected", "problems"),
    [
        pytest.param(["a/1", "a/2", "b/1"], {"a/": ["a/1", "a/2"], "b/": ["b/1"]}, [], id="two folders"),
        pytest.param(
            ["a/1", "a-x/1", "a.b/1", "a0/1"],
            {"a-x/": ["a-x/1"], "a.b/": ["a.b/1"], "a/": ["a/1"], "a0/": ["a0/1"]},
            [],
            id="names around the slash",
        ),
        pytest.param(
            ["s/a/1", "s/a/2", "s/b/1", "t/a/1"],
            {"s/a/": ["s/a/1", "s/a/2"], "s/b/": ["s/b/1"], "t/a/": ["t/a/1"]},
            [],
            id="folders of folders",
        ),
        pytest.param(["a.jpg", "a/1", "z.jpg"], {"a/": ["a/1"]}, [""], id="images in no folder"),
        pytest.param(["a/1", "a/b/1"], {"a/": ["a/1"], "a/b/": ["a/b/1"]}, ["a/"], id="subfolder last"),
        pytest.param(["a/b/1", "a/z"], {"a/b/": ["a/b/1"]}, ["a/"], id="subfolder first"),
        pytest.param(
            ["a/1", "a/b/c/1", "a/b/z", "a/z", "b/1"],
            {"a/": ["a/1"], "a/b/c/": ["a/b/c/1"], "b/": ["b/1"]},
            ["a/", "a/b/"],
            id="subfolders between images",
        ),
    ],
)
def test_folders_are_groups(names: list[str], expected: dict[str, list[str]], problems: list[str]) -> None:
    """Each folder with images is a group, in the order of a catalogue; one with subfolders of images is refused."""
    found, refused = grouped("folder", names)

    assert found == expected
    assert sorted(refused) == problems


@pytest.mark.parametrize(
    ("pattern", "names", "expected"),
    [
        pytest.param(
            r"(.+)_\w+\.jpg",
            ["x/17_back.jpg", "x/17_front.jpg", "x/18_front.jpg"],
            {"x/17/": ["x/17_back.jpg", "x/17_front.jpg"], "x/18/": ["x/18_front.jpg"]},
            id="common beginning",
        ),
        pytest.param(
            r"\w+/(\d+)\.jpg",
            ["back/17.jpg", "back/18.jpg", "front/17.jpg"],
            {"17/": ["back/17.jpg", "front/17.jpg"], "18/": ["back/18.jpg"]},
            id="common end",
        ),
        pytest.param(
            r"(\d+(?:_b)?)_\d+\.jpg",
            ["17_1.jpg", "17_b_1.jpg", "17_c_1.jpg", "17_2.jpg"],
            {"17/": ["17_1.jpg", "17_2.jpg"], "17_b/": ["17_b_1.jpg"]},
            id="one between those of another",
        ),
    ],
)
def test_expression_groups_files_from_anywhere(
    pattern: str, names: list[str], expected: dict[str, list[str]]
) -> None:
    """What the expression's group matches is the source; the order of the listing does not matter."""
    assert grouped(pattern, names)[0] == expected


def test_files_of_an_expression_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An expression keeps all files in memory, so their number is limited; the error says what to do."""
    monkeypatch.setattr(groups, "MOST_KEPT", 2)

    with pytest.raises(PiktidConfigError, match="group_by='folder'"):
        grouped(r"(.+)\d", ["a1", "a2", "a3"])


def test_folders_are_grouped_while_they_are_listed() -> None:
    """A group is yielded when the next one begins: memory does not grow with the listing."""
    listed: list[str] = []

    def listing() -> Iterator[SourceFile]:
        for folder in range(1000):
            listed.append(str(folder))
            yield source(f"{folder:04}/a.jpg")

    groups_of = Grouping("folder", (), 10).groups(listing())
    next(groups_of)

    assert len(listed) <= 2


def test_group_with_too_many_images_is_refused() -> None:
    """It is still a source that exists; no more images than a job takes are kept of it."""
    found, problems = grouped("folder", [f"a/{number:03}" for number in range(500)] + ["b/1"], most=3)

    assert {name: len(files) for name, files in found.items()} == {"a/": 3, "b/": 1}
    assert "a/ has 500 images, and a job takes 3" in problems["a/"]


def test_excluded_images_are_left_out_of_their_group() -> None:
    """A group of which all images are excluded still exists."""
    found, problems = grouped("folder", ["a/1", "a/2", "b/2"], exclude=("*2",), most=1)

    assert (found, problems) == ({"a/": ["a/1"], "b/": []}, {})


def group_of(*files: SourceFile) -> SourceGroup:
    (group,) = Grouping("folder", (), 10).groups(iter(files))
    return group


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        pytest.param([source("a/1"), source("a/2", version="v2")], True, id="equal"),
        pytest.param([source("b/x", version="v2"), source("b/y")], True, id="other names and order"),
        pytest.param([source("a/1", version="v3"), source("a/2", version="v2")], False, id="changed"),
        pytest.param([source("a/1")], False, id="removed"),
        pytest.param(
            [source("a/1"), source("a/2", version="v2"), source("a/3", version="v2")], False, id="added"
        ),
    ],
)
def test_version_is_that_of_all_files(other: list[SourceFile], is_same: bool) -> None:
    """The version of a group follows from the versions of its files, whatever their names and order."""
    group = group_of(source("a/1"), source("a/2", version="v2"))

    assert (group.version == group_of(*other).version) is is_same


def test_files_without_version_are_compared_by_size_and_date() -> None:
    """A store without checksums, as a disk, leads to a version from sizes and dates."""
    one = group_of(source("a/1", version=None), source("a/2", version=None, modified=3.5))
    touched = group_of(source("a/1", version=None), source("a/2", version=None, modified=3.6))

    assert one.version
    assert one.version != touched.version
    assert (one.size, one.modified, one.location.path) == (200, 10.0, "/in/a/")


def test_uploads_of_a_group_are_joined_as_its_files_are() -> None:
    """The joined upload has the version, size and date that a plan computes for the same files."""
    files = (source("a/1"), source("a/2", version=None, modified=12.0), source("b/1"))
    uploads: list[Mapping[str, Any]] = [
        {
            "source": file.location.uri,
            "file_id": file.relative,
            "sha256": file.relative,
            "size": file.size,
            "version": file.version,
            "modified": file.modified,
            "group": "file:///in/a/" if file.relative.startswith("a/") else file.location.uri,
        }
        for file in files
    ]
    group = group_of(*files[:2])

    first, second = joined(uploads)

    assert first["source"] == group.location.uri
    assert (first["version"], first["size"], first["modified"]) == (
        group.version,
        group.size,
        group.modified,
    )
    assert (first["file_id"], second) == ("a/1", uploads[2])


@pytest.mark.parametrize(
    ("relative", "stem"),
    [("looks/17/", "looks/17"), ("looks/v1.5/", "looks/v1.5"), ("../x/", "x"), (" /", "image")],
)
def test_outputs_of_a_group_are_named_after_its_key(relative: str, stem: str) -> None:
    """The name of a folder has no extension to cut off."""
    assert output_stem(relative) == stem


@pytest.mark.parametrize(
    ("group_by", "words"),
    [
        ("(", "is not a regular expression"),
        (".+", "one group in parentheses"),
        ("(a)(b)", "one group in parentheses"),
        ("folders", "must be 'folder'"),
    ],
)
def test_wrong_group_by_is_refused(group_by: str, words: str) -> None:
    """The error says what a valid value is."""
    with pytest.raises(ValueError, match=words):
        check_group_by(group_by)
