# SPDX-License-Identifier: Apache-2.0
"""Check the signatures of webhook deliveries."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

SIGNATURE_HEADER: Final = "X-Webhook-Signature"
EVENT_HEADER: Final = "X-Webhook-Event"


def verify_signature(secret: str, body: bytes, header: str | None) -> bool:
    """
    Return whether a delivery was signed with the secret, in constant time.

    :param secret: The ``secret`` that setting the webhook returned. An empty secret verifies nothing.
    :param body: The raw body, before any parsing.
    :param header: ``X-Webhook-Signature``: ``sha256=`` and a lower-case hex digest. None if missing.
    """
    if not secret or not header:
        return False
    expected = "sha256=" + hmac.new(secret.encode("utf-8"), body, hashlib.sha256).hexdigest()
    # As bytes: compare_digest refuses text that is not ASCII, and anybody can send the header.
    return hmac.compare_digest(expected.encode("ascii"), header.encode("utf-8", "replace"))
