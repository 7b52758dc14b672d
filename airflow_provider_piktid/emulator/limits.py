# SPDX-License-Identifier: Apache-2.0
"""What the emulator does not imitate."""

from __future__ import annotations

#: One sentence each; shown on the page at ``/``.
LIMITS: tuple[str, ...] = (
    "No person is generated: faces are covered by the identity's face or a tinted pattern, under a banner.",
    "Only faces seen from the front are found, by scikit-image's cascade; other people stay as they are.",
    "Only the documents of the service are known: where they are silent or disagree, a switch decides.",
    "On v1 one person's face becomes a coarse copy in the keyword's colour, and masks are only a matter of time.",
    "Timing, prices, quality scores and queueing are invented; the engines differ only by name.",
    "One account: no groups, sharing, reviews, feedback or shared billing.",
    "Jobs other than model swap and preprocessing are missing, and so are presets and identity creation.",
    "Pictures are not moderated, and any number of pixels below Pillow's limit is taken.",
    "There is no TLS, and presigned links are compared byte for byte, which is stricter than S3.",
    "State lives in memory and ends with the process.",
)
