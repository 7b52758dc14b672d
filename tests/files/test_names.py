# SPDX-License-Identifier: Apache-2.0
"""Names that a server or a user supplied, made safe."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_piktid.files.names import (
    MAX_STEM_BYTES,
    folded,
    output_stem,
    safe_name,
    safe_relative,
)

UGLY = st.text(max_size=300) | st.sampled_from(
    ["..", ".", "/", "\\", "../../etc/passwd", "/abs.jpg", "C:\\x.jpg", "a\0.jpg", ".\x01.", "~", "\ud800"]
)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        pytest.param("a.jpg", "a.jpg", id="plain"),
        pytest.param(None, "fallback", id="nothing"),
        pytest.param("", "fallback", id="empty"),
        pytest.param("..", "fallback", id="dots"),
        pytest.param(" \t ", "fallback", id="blank"),
        pytest.param("../../etc/passwd", "passwd", id="path"),
        pytest.param("C:\\x\\a.jpg", "a.jpg", id="Windows path"),
        pytest.param(".hidden.jpg", "hidden.jpg", id="hidden"),
        pytest.param("a\x00b\n.jpg", "ab.jpg", id="control characters"),
        pytest.param("\u202egpj.exe", "gpj.exe", id="right-to-left override"),
        pytest.param("  spaced .jpg ", "spaced .jpg", id="blanks at the ends"),
        pytest.param("a\ud800.jpg", "a.jpg", id="surrogate"),
        pytest.param("名前.jpg", "名前.jpg", id="other scripts"),
        pytest.param("folder/", "fallback", id="folder"),
    ],
)
def test_safe_name_leaves_a_visible_base_name(name: str | None, safe: str) -> None:
    """Only a visible base name without special characters is kept."""
    assert safe_name(name, "fallback") == safe


@pytest.mark.parametrize("letter", ["x", "é", "名"])
def test_safe_name_of_long_names_keeps_them_apart(letter: str) -> None:
    """Long names are shortened to distinct names."""
    first, second = safe_name(letter * 5000 + "1", "f"), safe_name(letter * 5000 + "2", "f")
    assert first != second
    assert max(len(first.encode()), len(second.encode())) <= MAX_STEM_BYTES


@given(UGLY)
def test_safe_name_never_leaves_its_folder(name: str) -> None:
    """Whatever the name is, the result is one path segment that is not hidden and can be encoded."""
    safe = safe_name(name, "fallback")
    assert "/" not in safe
    assert not safe.startswith(".")
    assert 0 < len(safe.encode()) <= MAX_STEM_BYTES


@pytest.mark.parametrize(
    ("relative", "safe"),
    [
        pytest.param("a/b.jpg", "a/b.jpg", id="plain"),
        pytest.param("/a//b.jpg", "a/b.jpg", id="absolute, empty parts"),
        pytest.param("../a/./../b.jpg", "a/b.jpg", id="dots"),
        pytest.param("a\n/b\x00.jpg", "a/b.jpg", id="control characters"),
        pytest.param("", "", id="empty"),
    ],
)
def test_safe_relative_stays_below_its_folder(relative: str, safe: str) -> None:
    """Parts that lead elsewhere are dropped; folders are kept."""
    assert safe_relative(relative) == safe


@pytest.mark.parametrize(
    ("relative", "stem"),
    [
        pytest.param("a/b.jpg", "a/b", id="extension dropped"),
        pytest.param("b.tar.png", "b.tar", id="last extension only"),
        pytest.param("../b.jpg", "b", id="path made safe"),
        pytest.param("a/.jpg", "a/jpg", id="hidden name"),
        pytest.param("", "image", id="nothing left"),
    ],
)
def test_output_stem_is_folder_and_name(relative: str, stem: str) -> None:
    """Outputs of a source begin with its safe path without the extension."""
    assert output_stem(relative) == stem


@given(UGLY)
def test_output_stem_stays_below_the_output_folder(relative: str) -> None:
    """The stem stays below the output folder, whatever the source's name is."""
    joined = posixpath.normpath(posixpath.join("/out", output_stem(relative)))
    assert joined.startswith("/out/")


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        pytest.param("A/B", "a/b", True, id="letter case"),
        pytest.param("e\u0301", "\u00e9", True, id="composed and decomposed"),
        pytest.param("STRASSE", "straße", True, id="folded sharp s"),
        pytest.param("a", "b", False, id="other names"),
        pytest.param("e", "é", False, id="accent"),
    ],
)
def test_folded_names_are_equal_where_a_store_may_mix_them_up(first: str, second: str, same: bool) -> None:
    """Names that differ only in case or in composition fold to one."""
    assert (folded(first) == folded(second)) is same
