# SPDX-License-Identifier: Apache-2.0
"""What a DAG author passes to the tasks of a batch, checked before anything is sent."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_piktid.exceptions import PiktidConfigError

if TYPE_CHECKING:
    from airflow_provider_piktid.models import Identity

#: File extensions that a ``file_id`` never has.
_OF_FILES = (".jpg", ".jpeg", ".png", ".webp")
_FILE_IDS = 'Pass `upload.output["file_ids"]`, where `upload` is the task that uploaded them.'
_ROWS = '`images` must be `upload.output["images"]`, the rows of the upload'


def checked_images(images: Any) -> list[str]:
    """
    Return file ids as a list.

    :param images: File ids, or rows of an upload.
    :raises PiktidConfigError: None, not a list, paths of files, or one of them twice.
    """
    if isinstance(images, str) or not isinstance(images, Sequence):
        raise PiktidConfigError(f"`images` must be a list of file ids, not {_named(images)}. {_FILE_IDS}")
    ids = [_file_id(image) for image in images]
    if not ids:
        raise PiktidConfigError("images is empty: there is nothing to do. Pass the file ids of an upload.")
    if len(set(ids)) != len(ids):
        raise PiktidConfigError(
            "images names a file id twice, which would be paid for twice. Remove the duplicate."
        )
    return ids


def _file_id(image: Any) -> str:
    if isinstance(image, Mapping):
        if not image.get("file_id"):
            raise PiktidConfigError(f"`images` has a row without a file_id. {_FILE_IDS}")
        return str(image["file_id"])
    if str(image).lower().endswith(_OF_FILES):
        raise PiktidConfigError(
            f"`images` has the file {image}, but needs file ids: upload it with PiktidUploadImagesOperator. {_FILE_IDS}"
        )
    return str(image)


def checked_rows(images: Any) -> list[Mapping[str, Any]] | None:
    """
    Return the rows of an upload as a list; None if there are none.

    :raises PiktidConfigError: Something else, such as file ids.
    """
    if not images:
        return None
    if isinstance(images, str | Mapping) or not isinstance(images, Sequence):
        raise PiktidConfigError(f"{_ROWS}, not {_named(images)}.")
    if not all(isinstance(row, Mapping) and "file_id" in row for row in images):
        raise PiktidConfigError(f"{_ROWS}, not a list of {type(images[0]).__name__}.")
    return list(images)


def unknown_identity(connection: str, code: str, known: Iterable[Identity]) -> PiktidConfigError:
    """Return the error for an identity that does not exist; it proposes those with similar codes or names."""
    codes = {
        text.lower(): each.identity_code for each in known for text in (each.identity_code, each.name) if text
    }
    near = [codes[text] for text in difflib.get_close_matches(code.lower(), list(codes), n=3)]
    hint = f" Did you mean {', '.join(dict.fromkeys(near))}?" if near else ""
    return PiktidConfigError(
        f"{connection}: there is no identity {code!r} in this account.{hint} Correct `identity_code`, or upload one "
        "with PiktidUploadIdentityOperator. Nothing was submitted."
    )


def _named(value: Any) -> str:
    """Return how a message shows a value that has the wrong type: content only if there is none."""
    return "None" if value is None else type(value).__name__
