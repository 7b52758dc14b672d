# SPDX-License-Identifier: Apache-2.0
"""Addresses, as tables."""

from __future__ import annotations

import pytest

from airflow_provider_piktid.client import _transfer as transfer
from airflow_provider_piktid.client._build import segment
from airflow_provider_piktid.client._http import check_base_url
from airflow_provider_piktid.exceptions import PiktidConfigError, PiktidResponseError
from airflow_provider_piktid.models import one_line


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://v2.api.piktid.com/", "https://v2.api.piktid.com"),
        (" http://127.0.0.1:8420 ", "http://127.0.0.1:8420"),
        ("http://[::1]:80/api//", "http://[::1]:80/api"),
        ("HTTPS://h/api", "https://h/api"),
        ("https://h?", "https://h"),
    ],
)
def test_check_base_url_drops_the_trailing_slash(url: str, normal: str) -> None:
    """The trailing slash of a base URL is removed."""
    assert check_base_url(url) == normal


@pytest.mark.parametrize(
    "url",
    [
        "",
        "v2.api.piktid.com",
        "ftp://host",
        "https://",
        "https://h:port",
        "https://u:p@host",
        "https://h?q=1",
        "https://h#part",
    ],
)
def test_check_base_url_refuses_other_addresses(url: str) -> None:
    """An invalid base URL raises ``PiktidConfigError`` without its login."""
    with pytest.raises(PiktidConfigError) as caught:
        check_base_url(url)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "quoted"),
    [("job-1", "job-1"), ("a/b", "a%2Fb"), ("a?b#c", "a%3Fb%23c"), ("..%2f", "..%252f"), (7, "7")],
)
def test_segment_cannot_leave_its_place(value: str | int, quoted: str) -> None:
    """An id is quoted as one path segment."""
    assert segment(value) == quoted


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_segment_that_names_another_path_is_refused(value: str) -> None:
    """An empty id and an id of dots raise ``ValueError``."""
    with pytest.raises(ValueError, match="id"):
        segment(value)


@pytest.mark.parametrize(
    "link",
    [
        "",
        "/relative",
        "file:///etc/passwd",
        "ftp://h/x",
        "javascript:1",
        "https://",
        "https://h/\r\nX: 1",
        "http://[bad",
        "http://h:99999/",
    ],
    ids=repr,
)
def test_check_link_takes_http_only(link: str) -> None:
    """A link whose scheme is not http or https raises, and the error does not contain it."""
    with pytest.raises(PiktidResponseError) as caught:
        transfer.check_link(link, "label")
    assert "label" in str(caught.value)
    assert "etc" not in str(caught.value)


@pytest.mark.parametrize(
    ("link", "base", "expected"),
    [
        ("http://s3/x?a=b", "https://api", "https://s3/x?a=b"),
        ("http://s3/x", "http://api", "http://s3/x"),
        ("https://s3/x", "http://api", "https://s3/x"),
        ("HTTP://s3/X", "https://api", "https://s3/X"),
    ],
)
def test_upgrade_scheme_only_towards_https(link: str, base: str, expected: str) -> None:
    """An http link is changed to https if the API uses https, and never the other way."""
    assert transfer.upgrade_scheme(link, base) == expected


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("https://h/a%2Fb/c?x=%2f+~'()%20=&y", b"/a%2Fb/c?x=%2f+~'()%20=&y"),
        ("https://h", b"/"),
        ("https://h?x=1", b"/?x=1"),
        ("https://h/a#part", b"/a"),
        ("https://h/a b\u00e9", b"/a%20b%C3%A9"),
    ],
)
def test_raw_target_keeps_every_byte(link: str, target: bytes) -> None:
    """Path and query are kept byte for byte."""
    assert transfer.raw_target(link) == target


@pytest.mark.parametrize(
    ("link", "location"),
    [
        ("https://h/a", "file:///etc/passwd"),
        ("https://h/a", "ftp://h/x"),
        ("https://h/a", "http://h/a"),
        ("https://h/a", "http://[bad"),
    ],
)
def test_redirect_target_to_another_scheme_is_refused(link: str, location: str) -> None:
    """A redirect to another scheme, or from https to http, raises."""
    with pytest.raises(PiktidResponseError):
        transfer.redirect_target(link, location, "label")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n\tb\x00c", "a b c"),
        ("see https://h/x?s=1 now", "see <link> now"),
        ("x" * 500, "x" * 199 + "…"),
        ("\ud800", ""),
    ],
    ids=["control characters", "link", "long", "surrogate"],
)
def test_one_line_makes_words_harmless(text: str, line: str) -> None:
    """A server's words become one line for a log."""
    assert one_line(text) == line
