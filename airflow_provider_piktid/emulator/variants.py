# SPDX-License-Identifier: Apache-2.0
"""
Switches for the points on which the sources of the API disagree or are silent.

The first value of each switch is the default. A switch without values takes a whole number, 0 by default
unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["VARIANTS", "Variant", "Variants"]


@dataclass(frozen=True)
class Variant:
    """
    One switch.

    :param values: What it can be, default first; empty for a whole number.
    :param meaning: What it decides.
    :param number: Default of a whole number.
    """

    name: str
    values: tuple[str, ...]
    meaning: str
    number: int = 0

    @property
    def default(self) -> str:
        return self.values[0] if self.values else str(self.number)

    def check(self, value: str) -> str:
        """Return ``value`` if the switch can take it."""
        if self.values and value not in self.values:
            raise ValueError(f"variant {self.name}: {value!r} is none of {', '.join(self.values)}")
        if not self.values and not value.isdecimal():
            raise ValueError(f"variant {self.name}: {value!r} is not a whole number")
        return value


_TABLE = (
    Variant(
        "events", ("both", "docs", "seed"), "names of job events: batch_edit (docs), completed/error (seed)"
    ),
    Variant("job_id_key", ("both", "job_id", "id_task"), "key of the job id in an event's data"),
    Variant("notifications_post", ("on", "404"), "whether POST /notifications exists"),
    Variant("result_url", ("both", "output", "url"), "where a result carries its link"),
    Variant("failed_output", ("object", "null"), "output of a failed image: an object of nulls, or null"),
    Variant("post_process_default", ("false", "true"), "post_process when a request leaves it out"),
    Variant("images_limit", (), "images per job; 0 for no limit", number=10),
    Variant("upload_strict", ("off", "on"), "on: /upload requires project_name of an existing project"),
    Variant("echo_project", ("off", "on"), "on: /upload answers with the project"),
    Variant("project_status", ("201", "200"), "status of a created project"),
    Variant("project_conflict", ("with_id", "bare"), "body of the 409 for a taken project name"),
    Variant("identity_status", ("201", "200"), "status of an uploaded identity"),
    Variant(
        "identity_conflict",
        ("existing_identity_code", "identity_code", "bare"),
        "key of the code in the 409 for a taken identity name",
    ),
    Variant("job_status", ("202", "200", "201"), "status of a created job"),
    Variant("fresh_404", (), "how many times a fresh job's status or results answer 404"),
    Variant("results", ("full", "seed", "g1"), "how much of the results body is sent"),
    Variant("draft_id", ("id", "both", "image_result_id"), "key of a result's number"),
    Variant("rate_429", ("rate", "identity_cap"), "text of the 429 of the rate limit"),
    Variant("rate_counts", ("accepted", "all"), "whether refused submissions count against the window"),
    Variant("retry_after", ("none", "seconds", "date"), "Retry-After of a 429"),
    Variant("validation_status", ("422", "400"), "status of a validation error"),
    Variant("engines", ("four", "seed"), "swap engines known: with nano_banana_2, or the seed's three"),
    Variant("billing", ("usage", "balance"), "what GET /billing/credits tells"),
    Variant("zip_expired", ("404", "410"), "status of an expired ZIP link"),
    Variant("zip_use", ("many", "once"), "whether a ZIP link can be used again"),
    Variant("undecodable", ("image", "job"), "what a picture that cannot be read fails"),
    Variant("unuploaded", ("accept", "reject"), "a job with a file_id whose bytes never came"),
    Variant("partial_job", ("completed", "failed"), "status of a job when only some images failed"),
    Variant("partial_rows", ("all", "finished"), "whether results list unfinished images"),
    Variant("refund_failed", ("no", "yes"), "whether failed images are given back"),
    Variant("post_process_event", ("on", "off"), "a batch_edit when post-processing moves"),
    Variant(
        "identity_face",
        ("report", "reject"),
        "an identity picture without a face: preprocessing fails, or 400",
    ),
    Variant("unknown_fields", ("ignore", "reject"), "unknown keys in a request body"),
    Variant("refresh_reuse", ("allow", "refuse"), "using a refresh token of /auth/refresh again"),
    Variant("v1_refresh", ("body", "cookie"), "where v1 puts the refresh token"),
    Variant("v1_image_id", ("both", "id_image", "image_id"), "key of the image id in an upload's answer"),
    Variant("v1_coordinates", ("top", "nested"), "persons at the top of the answer, or under faces"),
    Variant(
        "v1_too_many_persons", ("refuse", "cut", "all"), "a picture of more than 30: 400, first 30, or all"
    ),
    Variant("v1_unusable", ("fails", "refuse"), "a person that is not approved: a failed generation, or 400"),
    Variant("v1_keyword_key", ("insensitive", "strict"), "strict: Location, not location"),
    Variant("v1_locations", ("9", "8"), "9: with Central Africa"),
    Variant("v1_category", ("optional", "required"), "whether a generation must name its category"),
    Variant("v1_generate_reply", ("task", "empty"), "answer to a generation: status and ids, or {}"),
    Variant(
        "v1_notification_fields", ("both", "id", "timestamp", "none"), "id and timestamp of a notification"
    ),
    Variant("v1_notification_keyword", ("string", "object", "absent"), "keyword in a notification"),
    Variant("v1_id_person", ("int", "text"), "id_person in a notification"),
    Variant(
        "v1_error_ids", ("absent", "present"), "whether an error tells picture, person, keyword and task"
    ),
    Variant("v1_delete_unknown", ("200", "404"), "deleting a notification that is not there"),
    Variant("v1_poll_limit", ("off", "on"), "on: 429 for polls that follow each other too fast"),
)

#: All switches by name.
VARIANTS: Mapping[str, Variant] = {variant.name: variant for variant in _TABLE}


class Variants:
    """
    Chosen values of the switches.

    :param chosen: Name to value; the others keep their default.
    :raises ValueError: For an unknown name or value.
    """

    def __init__(self, chosen: Mapping[str, str] | None = None) -> None:
        self._values = {name: variant.default for name, variant in VARIANTS.items()}
        for name, value in (chosen or {}).items():
            self.set(name, value)

    def set(self, name: str, value: str) -> None:
        """Turn one switch."""
        if name not in VARIANTS:
            raise ValueError(f"unknown variant {name!r}; known: {', '.join(VARIANTS)}")
        self._values[name] = VARIANTS[name].check(str(value))

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def number(self, name: str) -> int:
        """Return the value of a switch as a whole number."""
        return int(self._values[name])

    def as_dict(self) -> dict[str, str]:
        return dict(self._values)
