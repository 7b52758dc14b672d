# SPDX-License-Identifier: Apache-2.0
"""Replace persons in a picture with generated ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_piktid.common.compat import mask_secret
from airflow_provider_piktid.common.records import CurrentTask
from airflow_provider_piktid.files.storage import PRIVATE_FOLDER
from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.operators.base import PaidOperator
from airflow_provider_piktid.person.arguments import (
    PersonArguments,
    name_source,
    read_keywords,
    read_options,
)
from airflow_provider_piktid.person.record import STATE_KEY, PersonRecord
from airflow_provider_piktid.person.run import PersonRun

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidV1Client


class PiktidGeneratePersonOperator(PaidOperator):
    """
    Replace persons in one picture, once for each person and keyword. Each of these generations costs credits.

    Every paid request is recorded before it is sent, so a retry pays only for missing generations.

    :param keywords: One or several of ``{"Location": "Oceania"}`` or the plain word ``Oceania``.
    :param image: Path or URI of a WEBP, JPEG or PNG picture on any store that ``ObjectStoragePath`` supports, or an
        http(s) URL that PiktID can read. Default: none; then ``id_image`` is needed.
    :param id_image: Id of a picture that was uploaded within the last 24 hours. Default: none.
    :param persons: ``all``, ``largest``, or a list of person ids as PiktID numbers them, from 0. Default: ``all``.
    :param output_path: Folder or prefix to which results are downloaded as soon as they exist. Default: none; they
        stay at PiktID, which lists them for 10 minutes only.
    :param options: Passed through to PiktID, such as ``{"seed": 7}``. Default: none.
    :param stagger: Seconds between the first request of the picture and the others. Default: 15, from PiktID's
        person guide.
    :param unusable: What to do with persons whose face is too blurry: ``skip`` them, or ``fail``. Default: ``skip``.
    :param allow_unknown_keywords: Send keywords that PiktID's documents do not list. Default: False.
    :param push_links: Push the result links to XCom. Anyone who has a link can use it until it expires. Default:
        False.
    :param timeout: Seconds from a request until the task stops waiting for its result. Default: 1800.
    :param queue_timeout: Seconds to wait while the account accepts no more requests. Default: 3600.
    :param lost_reply_grace: Seconds to look for the result of a request whose reply was lost. Default: 300.

    Further parameters are those of ``PaidOperator``; ``max_images`` counts generations. The record is kept in
    ``_piktid`` below ``output_path`` if there is no ``state_path``.

    :return: List of ``{id_image, id_person, keyword, url, file}``. ``file`` is a URI, None without ``output_path``;
        ``url`` is None unless ``push_links`` is set. XCom key ``summary``: counts, and what failed.
    """

    template_fields: Sequence[str] = (
        *PaidOperator.template_fields,
        "image",
        "id_image",
        "keywords",
        "persons",
        "output_path",
        "options",
    )

    def __init__(
        self,
        *,
        keywords: Sequence[Mapping[str, str] | str] | Mapping[str, str] | str,
        image: str | None = None,
        id_image: str | None = None,
        persons: str | Sequence[int] = "all",
        output_path: str | None = None,
        options: Mapping[str, Any] | None = None,
        stagger: float = 15.0,
        unusable: Literal["skip", "fail"] = "skip",
        allow_unknown_keywords: bool = False,
        push_links: bool = False,
        timeout: float = 1800.0,
        queue_timeout: float = 3600.0,
        lost_reply_grace: float = 300.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            timeout=timeout, queue_timeout=queue_timeout, lost_reply_grace=lost_reply_grace, **kwargs
        )
        self.keywords = keywords
        self.image = image
        self.id_image = id_image
        self.persons = persons
        self.output_path = output_path
        self.options = options
        self.stagger = stagger
        self.unusable = unusable
        self.allow_unknown_keywords = allow_unknown_keywords
        self.push_links = push_links

    @property
    def image(self) -> str | None:
        """The picture. The query of a signed URL is masked in logs and in the task's rendered templates."""
        return self._image

    @image.setter
    def image(self, image: str | None) -> None:
        # Rendering assigns the attribute, also that of a mapped task, before Airflow stores the rendered templates.
        self._image = image
        query = (
            image.partition("?")[2]
            if isinstance(image, str) and image.startswith(("http:", "https:"))
            else ""
        )
        if query and "{" not in query:
            mask_secret(query)

    def _open_client(self, hook: PiktidHook) -> PiktidV1Client:
        return hook.get_v1_client()

    def _make_run(self, task: CurrentTask, hook: PiktidHook, client: PiktidV1Client) -> PersonRun:
        arguments = PersonArguments(
            source=name_source(self.image, self.id_image),
            keywords=read_keywords(self.keywords, allow_unknown=self.allow_unknown_keywords),
            persons=self.persons,
            options=read_options(self.options),
            output_path=self.output_path,
            stagger=self.stagger,
            unusable=self.unusable,
            push_links=self.push_links,
        )
        beside = arguments.folder.join(PRIVATE_FOLDER).uri if arguments.folder else None
        return PersonRun(
            arguments,
            self._terms(),
            **self._parts(task, hook, client, STATE_KEY, PersonRecord.from_json, beside=beside),
        )
