# SPDX-License-Identifier: Apache-2.0
"""The arguments of a person generation."""

from __future__ import annotations

import pytest

from airflow_provider_piktid.person.arguments import name_source

PICTURE = "https://pictures.example/get/street.jpg"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("?id=1", "?id=2", id="query"),
        pytest.param("", "?id=2", id="no query"),
        pytest.param("?id=1&Signature=a", "?id=2&Signature=a", id="signed"),
    ],
)
def test_urls_that_differ_in_the_query_have_different_names(one: str, other: str) -> None:
    """Pictures whose URLs differ only in the query do not share file names."""
    assert name_source(PICTURE + one, None).stem != name_source(PICTURE + other, None).stem


@pytest.mark.parametrize(
    "query",
    [
        "?X-Amz-Signature=a&X-Amz-Expires=60&X-Amz-Date=2026",
        "?Expires=1&Signature=b&Key-Pair-Id=c",
        "?sv=1&se=2&sr=b&sp=r&sig=d",
        "#top",
    ],
    ids=["s3", "cloudfront", "azure", "fragment"],
)
def test_signature_of_a_url_changes_neither_name_nor_identity(query: str) -> None:
    """A URL that is signed again keeps file names, and is the same purchase."""
    plain, signed = name_source(PICTURE, None), name_source(PICTURE + query, None)

    assert (plain.stem, plain.identity) == (signed.stem, signed.identity)
