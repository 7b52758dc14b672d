# SPDX-License-Identifier: Apache-2.0
"""Addresses: checked, joined, and kept byte for byte where a signature depends on it."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from airflow_provider_piktid.exceptions import PiktidConfigError, PiktidResponseError

DEFAULT_BASE_URL: Final = "https://v2.api.piktid.com"

_LINK = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
#: What HTTP allows in a request target: every visible ASCII character.
_VISIBLE: Final = "".join(map(chr, range(0x21, 0x7F)))


def normalise_base_url(url: str) -> str:
    """
    Give the base URL without trailing slash.

    :raises PiktidConfigError: No http(s) address, or one with login, query or fragment.
    """
    text = url.strip()
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid:
        raise PiktidConfigError("The base URL must be an http:// or https:// address with a host.")
    if parts.username is not None or parts.query or parts.fragment:
        raise PiktidConfigError("The base URL must have no login, query or fragment.")
    return text.rstrip("/")


def segment(value: str | int) -> str:
    """
    Quote an id for use as one segment of a path.

    :raises ValueError: Empty, ``.`` or ``..``, which would name another path.
    """
    text = str(value)
    if text in ("", ".", ".."):
        raise ValueError(f"{text!r} cannot be an id")
    return quote(text, safe="")


def check_link(link: str, label: str) -> str:
    """
    Give a server's link back if it is an absolute http(s) address.

    :raises PiktidResponseError: It is not; the message does not show it.
    """
    try:
        parts = urlsplit(link)
        valid = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid or _CONTROL.search(link):
        raise PiktidResponseError(f"{label}: PiktID gave a link that is no http(s) address.")
    return link


def upgrade_scheme(link: str, base_url: str) -> str:
    """Make an http link https if the API itself is reached by https."""
    if base_url.lower().startswith("https://") and link.lower().startswith("http://"):
        return "https://" + link[len("http://") :]
    return link


def redirect_target(link: str, location: str, label: str) -> str:
    """
    Resolve a redirect of a link.

    :raises PiktidResponseError: It leads to another scheme than http(s), or from https to http.
    """
    try:
        target = check_link(urljoin(link, location), label)
    except ValueError:
        raise PiktidResponseError(f"{label}: a link redirects to no valid address.") from None
    if link.lower().startswith("https:") and not target.lower().startswith("https:"):
        raise PiktidResponseError(f"{label}: a link redirects from https to an unencrypted address.")
    return target


def raw_target(link: str) -> bytes:
    """Give path and query of a link as they stand; only what HTTP cannot carry is quoted."""
    rest = link.split("://", 1)[1].split("#", 1)[0]
    starts = [at for at in (rest.find("/"), rest.find("?")) if at >= 0]
    target = rest[min(starts) :] if starts else "/"
    if target.startswith("?"):
        target = "/" + target
    return quote(target, safe=_VISIBLE).encode("ascii")


def one_line(text: str, limit: int = 200) -> str:
    """Make a server's words fit for a message: one line, no links, at most ``limit`` characters."""
    line = " ".join(_CONTROL.sub(" ", _LINK.sub("<link>", text[: limit * 20])).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
