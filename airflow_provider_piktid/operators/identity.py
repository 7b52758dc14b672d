# SPDX-License-Identifier: Apache-2.0
"""Upload an identity to swap in."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_piktid.exceptions import PiktidImageError, PiktidInvalidRequestError, PiktidJobTimeout
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.formats import V2_FORMATS
from airflow_provider_piktid.files.search import find_images
from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.operators.base import fail_fast_if_permanent

if TYPE_CHECKING:
    from airflow_provider_piktid.client import PiktidClient


class PiktidUploadIdentityOperator(BaseOperator):
    """
    Upload a portrait as an identity. Safe to repeat: if the name exists, the existing identity is returned.

    :param image: Path or URI of a JPEG or PNG image with exactly one clearly visible face.
    :param name: Name of the identity, unique in the account. Default: the name of the file without its extension.
    :param tag: Tag of the identity. Default: none.
    :param wait_for_preprocessing: Wait until PiktID has preprocessed the identity. This occupies a worker slot,
        typically for some seconds. Default: False, as PiktID's client does not wait.
    :param timeout: Seconds to wait for preprocessing. Default: 600, from PiktID's clients.
    :param poll_interval: Seconds between two status requests. Default: 5.
    :param piktid_conn_id: Connection id. Default: ``piktid_default``.
    :return: The ``identity_code``.
    :raises PiktidImageError: The file is not a supported image, or ``image`` matches several files.
    :raises PiktidQuotaError: The account has reached its limit of identities.
    """

    template_fields: Sequence[str] = ("piktid_conn_id", "image", "name", "tag")
    ui_color = "#ece6ff"

    def __init__(
        self,
        *,
        image: str,
        name: str | None = None,
        tag: str | None = None,
        wait_for_preprocessing: bool = False,
        timeout: float = 600.0,
        poll_interval: float = 5.0,
        piktid_conn_id: str = PiktidHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image = image
        self.name = name
        self.tag = tag
        self.wait_for_preprocessing = wait_for_preprocessing
        self.timeout = timeout
        self.poll_interval = poll_interval
        self.piktid_conn_id = piktid_conn_id

    def execute(self, context: Any) -> str:
        with fail_fast_if_permanent():
            files = find_images(self.image, formats=V2_FORMATS, name="image")
            if len(files) != 1:
                raise PiktidImageError(
                    f"{self.image} matches {len(files)} images, but an identity needs exactly one. Pass one file."
                )
            storage.check_images(files, V2_FORMATS)
            file = files[0]
            filename = file.relative.rsplit("/", 1)[-1]
            name = self.name or filename.rsplit(".", 1)[0]
            with PiktidHook(self.piktid_conn_id).get_conn() as client:
                content = bytes(file.location.fs.cat_file(file.location.path))
                identity = client.upload_identity(filename, content, name=name, tag=self.tag)
                self.log.info("Identity %s is %s.", name, identity.identity_code)
                if self.wait_for_preprocessing:
                    self._wait(client, identity.identity_code)
            return identity.identity_code

    def _wait(self, client: PiktidClient, identity_code: str) -> None:
        deadline = time.monotonic() + self.timeout
        while not (status := client.get_identity_status(identity_code)).is_terminal:
            if time.monotonic() >= deadline:
                raise PiktidJobTimeout(
                    f"{self.piktid_conn_id}: identity {identity_code} is not preprocessed after {self.timeout:g} s. "
                    "It exists; a retry waits for it again. Raise `timeout` to wait longer."
                )
            time.sleep(self.poll_interval)
        if status.preprocessing_status == "failed":
            raise PiktidInvalidRequestError(
                f"{self.piktid_conn_id}: PiktID could not preprocess identity {identity_code}: "
                f"{status.error_message or 'no reason given'}. Use an image with one clearly visible face.",
                status=200,
            )
