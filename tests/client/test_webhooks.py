# SPDX-License-Identifier: Apache-2.0
"""Signatures of deliveries."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from airflow_provider_piktid.client import verify_signature

BODY = b'{"id": 1, "name": "ping"}'
SIGNED = "sha256=" + hmac.new(b"s3cret", BODY, hashlib.sha256).hexdigest()


def test_verify_signature_accepts_what_the_documents_compute() -> None:
    """HMAC-SHA256 over the raw body, in lower-case hex."""
    assert verify_signature("s3cret", BODY, SIGNED)


@pytest.mark.parametrize(
    ("secret", "body", "header"),
    [
        pytest.param("other", BODY, SIGNED, id="other secret"),
        pytest.param("s3cret", BODY + b" ", SIGNED, id="changed body"),
        pytest.param("s3cret", BODY, SIGNED.removeprefix("sha256="), id="no scheme"),
        pytest.param("s3cret", BODY, SIGNED.upper(), id="upper case"),
        pytest.param("s3cret", BODY, "", id="empty"),
        pytest.param("s3cret", BODY, None, id="missing"),
        pytest.param("s3cret", BODY, "sha256=é\ud800", id="no ASCII"),
        pytest.param(
            "", BODY, "sha256=" + hmac.new(b"", BODY, hashlib.sha256).hexdigest(), id="empty secret"
        ),
    ],
)
def test_verify_signature_refuses_anything_else(secret: str, body: bytes, header: str | None) -> None:
    """A wrong signature or an empty secret returns False and does not raise."""
    assert verify_signature(secret, body, header) is False
