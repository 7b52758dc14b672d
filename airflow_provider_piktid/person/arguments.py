# SPDX-License-Identifier: Apache-2.0
"""The checked arguments of a person generation: the picture, the persons in it, the keywords."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from airflow_provider_piktid.common.records import fingerprint
from airflow_provider_piktid.exceptions import PiktidConfigError, PiktidDownloadError, PiktidImageError
from airflow_provider_piktid.files import formats, storage
from airflow_provider_piktid.files.names import safe_name
from airflow_provider_piktid.person.record import Face

if TYPE_CHECKING:
    from airflow_provider_piktid.files.formats import ImageFormat
    from airflow_provider_piktid.models.v1 import Target

#: Formats that v1 accepts. Source: PiktID's person guide.
V1_FORMATS: tuple[ImageFormat, ...] = ("webp", "jpeg", "png")

#: Query parameters of signed URLs. They differ at every signing, so file names must not depend on them.
_SIGNATURE_PREFIXES = ("x-amz-", "x-goog-", "x-oss-", "x-cos-")
_SIGNATURE_PARAMETERS = frozenset(
    [
        "awsaccesskeyid",
        "googleaccessid",
        "ossaccesskeyid",
        "key-pair-id",
        "policy",
        "security-token",
        "signature",
        "sig",
        "expires",
        "expiry",
        "token",
        "st",
        "se",
        "sp",
        "spr",
        "sv",
        "sr",
        "ske",
        "skt",
        "sks",
        "skv",
        "skoid",
        "sktid",
        "hdnea",
        "hdnts",
    ]
)


@dataclass(frozen=True)
class Source:
    """
    The picture: one of ``location``, ``url`` and ``id_image``.

    :param stem: Prefix of the names of its results, unique for each picture.
    :param location: The file.
    :param url: URL that PiktID can read.
    :param id_image: Id of a picture that was uploaded before.
    :param content: Its bytes; None until it is read.
    """

    stem: str
    location: storage.Location | None = None
    url: str | None = None
    id_image: str | None = None
    content: bytes | None = None

    @property
    def filename(self) -> str:
        return safe_name(posixpath.basename(self.location.path) if self.location else None, "image")

    @property
    def identity(self) -> str:
        """The identity of its content, for the fingerprint. The query of a URL is ignored, as it may be a signature."""
        if self.content is not None:
            return f"sha256 {hashlib.sha256(self.content).hexdigest()}"
        return f"id {self.id_image}" if self.id_image else f"url {_bare(self.url or '')}"

    def read(self) -> Source:
        """
        Return the picture with its checked content.

        :raises PiktidImageError: It does not exist, or is not WEBP, JPEG or PNG.
        """
        if self.location is None or self.content is not None:
            return self
        content = _read(self.location)
        formats.require_image(content[: formats.HEAD_BYTES], len(content), self.location.uri, V1_FORMATS)
        return replace(self, content=content)


def name_source(image: str | None, id_image: str | None) -> Source:
    """
    Return the picture, without reading it.

    :raises PiktidConfigError: Both or neither of the arguments are set.
    """
    if bool(image) == bool(id_image):
        raise PiktidConfigError(
            "Pass either image (a path or URI) or id_image (of a picture uploaded within the last 24 hours)."
        )
    if id_image:
        return Source(safe_name(str(id_image), "image"), id_image=str(id_image))
    name = str(image)
    if name.lower().startswith(("http://", "https://")):
        return Source(_stem(urlsplit(_bare(name)).path, _unsigned(name)), url=name)
    location = storage.locate(name)
    return Source(_stem(location.path, location.uri), location=location)


@dataclass(frozen=True, kw_only=True)
class PersonArguments:
    """
    The checked arguments of the operator; see there for units and defaults.

    :param output_path: As passed; ``folder`` is the resolved location.
    """

    source: Source
    keywords: list[dict[str, str]]
    persons: str | Sequence[int]
    options: dict[str, Any] | None = None
    output_path: str | None = None
    stagger: float = 15.0
    unusable: Literal["skip", "fail"] = "skip"
    push_links: bool = False

    def __post_init__(self) -> None:
        if self.unusable not in ("skip", "fail"):
            raise PiktidConfigError(f"unusable must be 'skip' or 'fail', not {self.unusable!r}")
        if self.stagger < 0:
            raise PiktidConfigError(f"stagger must be 0 seconds or more, not {self.stagger}")

    @property
    def digest(self) -> str:
        """A digest of what was asked for, as it was rendered. Unlike the fingerprint it needs no picture."""
        source = self.source
        image = source.location.uri if source.location else source.identity
        parts = {"image": image, "keywords": self.keywords, "persons": self.persons, "options": self.options}
        return fingerprint(parts)

    @cached_property
    def folder(self) -> storage.Location | None:
        """
        The folder of the results; None if they are not downloaded.

        :raises PiktidDownloadError: The path cannot be resolved.
        """
        try:
            return storage.locate(self.output_path) if self.output_path else None
        except Exception as error:
            raise self._unwritable(error) from error

    def check_folder(self) -> None:
        """
        Check that results can be written, before anything is paid for.

        :raises PiktidDownloadError: They cannot be written.
        """
        if self.folder is None:
            return
        try:
            storage.check_writable(self.folder)
        except Exception as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: Exception) -> PiktidDownloadError:
        return PiktidDownloadError(
            f"output_path {self.output_path} cannot be written ({type(error).__name__}). Correct the path, "
            "its permissions or its connection. Nothing was paid for in this try."
        )


def _bare(url: str) -> str:
    return url.split("?")[0].split("#")[0]


def _unsigned(url: str) -> str:
    """Return a URL without fragment and signature: two pictures may differ only in the query, such as ``?id=2``."""
    parts = urlsplit(url)
    query = [
        item for item in parts.query.split("&") if item and not _is_signature(item.partition("=")[0].lower())
    ]
    return _bare(url) + (f"?{'&'.join(query)}" if query else "")


def _is_signature(parameter: str) -> bool:
    return parameter.startswith(_SIGNATURE_PREFIXES) or parameter in _SIGNATURE_PARAMETERS


def _read(location: storage.Location) -> bytes:
    try:
        return bytes(location.fs.cat_file(location.path))
    except FileNotFoundError:
        raise PiktidImageError(f"{location.uri} does not exist. Correct `image`, or create it.") from None
    except (OSError, ValueError) as error:
        raise PiktidImageError(
            f"{location.uri} cannot be read ({type(error).__name__}). Pass the path of one readable picture."
        ) from error


def _stem(path: str, uri: str) -> str:
    stem = safe_name(posixpath.splitext(posixpath.basename(path))[0], "image")
    return f"{stem}-{hashlib.sha256(uri.encode()).hexdigest()[:8]}"


def faces_of(target: Target) -> list[Face]:
    """
    Return the persons that PiktID found.

    :raises PiktidImageError: It found none, or more than it accepts.
    """
    from airflow_provider_piktid.models.v1 import MAX_PERSONS

    if target.count == 0:
        raise PiktidImageError("PiktID found no face in the picture. Use another picture; nothing was paid.")
    if target.count > MAX_PERSONS:
        raise PiktidImageError(
            f"PiktID found {target.count} persons in the picture; it accepts {MAX_PERSONS}. Crop it; nothing was paid."
        )
    if not target.coordinates_list:
        return [Face(number) for number in range(target.count)]
    # Rounded to keep the record small.
    return [
        Face(person.id, person.approve is not False, round(person.area, 6))
        for person in target.coordinates_list
    ]


def choose_persons(
    persons: str | Sequence[int | str], faces: list[Face] | None, *, fail_unusable: bool
) -> tuple[list[int], list[int]]:
    """
    Return the ids of persons to replace, and of those to skip because the face is too blurry.

    :param persons: ``all``, ``largest`` or a list of person ids.
    :param faces: The persons in the picture; None if they are not known.
    :raises PiktidConfigError: ``persons`` is invalid, empty, or contains an id that is not in the picture.
    :raises PiktidImageError: All chosen faces are too blurry, or one is and ``fail_unusable`` is set.
    """
    ids = _ids(persons)
    if faces is None:
        if ids is None:
            raise PiktidConfigError(
                f"persons={persons!r} needs the list of persons in the picture, which PiktID does not return for this "
                "id_image. Pass the person ids as a list, or the picture itself as image."
            )
        return ids, []
    by_id = {face.id: face for face in faces}
    if ids is None:
        usable = [face for face in faces if face.usable]
        ids = sorted(by_id)
        if persons == "largest":
            ids = [max(usable or faces, key=lambda face: (face.area, -face.id)).id]
    if unknown := [number for number in ids if number not in by_id]:
        raise PiktidConfigError(
            f"persons contains {unknown}, but PiktID found {sorted(by_id)} in the picture. Correct persons; nothing "
            "was paid."
        )
    blurry = [number for number in ids if not by_id[number].usable]
    kept = [number for number in ids if number not in blurry]
    if blurry and (fail_unusable or not kept):
        raise PiktidImageError(
            f"The faces of persons {blurry} are too blurry for PiktID. Use a sharper picture"
            + (", or set unusable='skip'" if kept else "")
            + "; nothing was paid."
        )
    return kept, blurry


def _ids(persons: str | Sequence[int | str]) -> list[int] | None:
    """Return a list of ids; None for ``all`` and ``largest``."""
    value: Any = persons
    if isinstance(value, str) and value.strip().startswith("["):
        value = _decoded(value)
    if isinstance(value, str):
        if value in ("all", "largest"):
            return None
        value = value.split(",")
    try:
        ids = [int(str(item)) for item in value]
    except (TypeError, ValueError):
        raise PiktidConfigError(
            f"persons must be 'all', 'largest' or a list of person ids, not {persons!r}"
        ) from None
    if not ids:
        raise PiktidConfigError("persons is empty. Pass person ids, or 'all'.")
    if min(ids) < 0:
        raise PiktidConfigError(f"persons are numbered from 0, not {min(ids)}")
    return list(dict.fromkeys(ids))


def read_keywords(keywords: Any, *, allow_unknown: bool) -> list[dict[str, str]]:
    """
    Return keywords in the form of the API.

    :param keywords: One or several of ``{"Location": "Oceania"}``, the same as JSON text, or the plain word.
    :raises PiktidConfigError: There is none, one is unknown, or one is a duplicate.
    """
    from airflow_provider_piktid.models.v1 import as_keyword, keyword_key

    value = keywords
    if isinstance(value, str) and value.strip().startswith("["):
        value = _decoded(value)
    if isinstance(value, str | Mapping):
        value = [value]
    if not isinstance(value, Sequence) or not value:
        raise PiktidConfigError("keywords is empty. Pass for example ['Oceania'].")
    try:
        found = [as_keyword(item, allow_unknown=allow_unknown) for item in value]
    except ValueError as error:
        raise PiktidConfigError(f"keywords: {error}") from None
    if len({keyword_key(item) for item in found}) != len(found):
        raise PiktidConfigError(
            "keywords contains a duplicate, which would be billed twice. Remove the duplicate."
        )
    return found


def read_options(options: Any) -> dict[str, Any] | None:
    """
    Return the options to pass through.

    :raises PiktidConfigError: It is not a mapping, or not JSON serializable.
    """
    if not options:
        return None
    value = _decoded(options) if isinstance(options, str) else options
    try:
        if not isinstance(value, Mapping):
            raise TypeError
        json.dumps(dict(value))
    except (TypeError, ValueError):
        raise PiktidConfigError(
            f"options must be a mapping of plain values, such as {{'seed': 7}}, not {type(options).__name__}"
        ) from None
    return dict(value)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
