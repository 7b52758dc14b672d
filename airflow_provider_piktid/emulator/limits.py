# SPDX-License-Identifier: Apache-2.0
"""What the emulator does not imitate."""

from __future__ import annotations

#: One sentence each; shown on the page at ``/``.
LIMITS: tuple[str, ...] = (
    "No person is generated: a face is replaced by the identity's face or a tinted pattern, and a banner is added.",
    "Only frontal faces are detected, by scikit-image's cascade; other people are not changed.",
    "The behaviour is based on the documents of the service; where they are silent or disagree, a variant decides.",
    "On v1 a face becomes a pixelated copy in the keyword's colour; masks take time but are not computed.",
    "Timing, prices, quality scores and queueing are invented; the engines differ in name only.",
    "There is one account, without groups, sharing, reviews, feedback or shared billing.",
    "Garments are not recognised: recolouring turns the hue of the picture; packshots and flat lays are collages.",
    "Of an instruction, style, background, prompt, size and format are shown; the rest is checked and ignored.",
    "Drafts of identities are drawn: hair and eyes have the colours of the brief, everything else is chance.",
    "A preset is extracted from the average colour of the picture; presets are not stored, and text is not read.",
    "The image playground is not implemented, and no brief is refused because it names a real person.",
    "Pictures are not moderated, and any size below Pillow's limit is accepted.",
    "There is no TLS, and presigned links are compared byte for byte, which is stricter than S3.",
    "State is kept in memory and is lost when the process ends.",
)
