# SPDX-License-Identifier: Apache-2.0
"""Upload images to a project."""

from __future__ import annotations

import asyncio
import hashlib
import posixpath
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_piktid.common.concurrency import run_bounded
from airflow_provider_piktid.exceptions import (
    PiktidBudgetError,
    PiktidConfigError,
    PiktidImageError,
    PiktidLinkError,
)
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.formats import V2_FORMATS
from airflow_provider_piktid.files.storage import SourceFile
from airflow_provider_piktid.get_provider_info import PROJECT_NAME_LENGTH
from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.operators.base import fail_fast_if_permanent

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidClient


class PiktidUploadImagesOperator(BaseOperator):
    """
    Upload JPEG and PNG images to a PiktID project. Free of charge; running it again uploads them again.

    The content of every file is checked before the first one is sent. Files are streamed: memory does not grow with
    the number or the size of the images.

    :param images: One path, URI, folder, prefix (listed recursively) or glob, or a list of them, on any store that
        ``ObjectStoragePath`` supports, such as ``s3://conn_id@bucket/shoot/``. Or the URI of a ``.json`` file that
        lists them: an array of ``{"source": URI, "relative": path that the outputs mirror}``. Listed files that no
        longer exist are skipped.
    :param project_name: Project of the images, 1 to 128 characters. It is created if it does not exist.
    :param exclude: Glob patterns of files to skip, by relative path or by name, such as ``*_INTERNAL_*``. Default:
        none.
    :param max_concurrency: Concurrent uploads. Default: ``max_concurrency`` of the connection, 8.
    :param max_images: Refuse to upload more images than this. Default: no limit.
    :param piktid_conn_id: Connection id. Default: ``piktid_default``.
    :return: ``{"project_id", "file_ids", "images"}``, each also as a separate XCom key, so that
        ``upload.output["file_ids"]`` works. ``images`` is a list of ``{file_id, filename, source, relative}``,
        with the ``sha256`` of the uploaded content if a ``.json`` file listed them.
    :raises PiktidImageError: There is no image, or some files are not supported images; names them.
    """

    template_fields: Sequence[str] = ("piktid_conn_id", "images", "project_name", "exclude", "max_images")
    ui_color = "#ece6ff"

    def __init__(
        self,
        *,
        images: str | Sequence[str],
        project_name: str,
        exclude: str | Sequence[str] = (),
        max_concurrency: int | None = None,
        max_images: int | None = None,
        piktid_conn_id: str = PiktidHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.images = images
        self.project_name = project_name
        self.exclude = exclude
        self.max_concurrency = max_concurrency
        self.max_images = max_images
        self.piktid_conn_id = piktid_conn_id

    def execute(self, context: Any) -> dict[str, Any]:
        with fail_fast_if_permanent():
            hook = PiktidHook(self.piktid_conn_id)
            concurrency = int(self.max_concurrency or hook.settings.max_concurrency)
            if not 1 <= len(str(self.project_name).strip()) <= PROJECT_NAME_LENGTH:
                raise PiktidConfigError(
                    f"project_name must have 1 to {PROJECT_NAME_LENGTH} characters, not {self.project_name!r}."
                )
            files = self._files()
            self._check_budget(len(files))
            storage.check_images(files, V2_FORMATS, workers=concurrency)
            with hook.get_conn() as client:
                project = client.ensure_project(self.project_name)
                rows = client.run(self._upload_all, files, concurrency)
            self.log.info(
                "Uploaded %d image(s), %.1f MB, to project %s.",
                len(rows),
                sum(file.size for file in files) / 1e6,
                project.project_name,
            )
        return {
            "project_id": project.project_id,
            "file_ids": [row["file_id"] for row in rows],
            "images": rows,
        }

    @property
    def _is_listed(self) -> bool:
        return isinstance(self.images, str) and self.images.endswith(".json")

    def _files(self) -> list[SourceFile]:
        if not self._is_listed:
            return storage.find_images(self.images, exclude=self.exclude, formats=V2_FORMATS)
        found: list[SourceFile] = []
        for entry in storage.read_json(storage.locate(str(self.images))) or []:
            location = storage.locate(entry["source"])
            location.fs.invalidate_cache()
            try:
                size = int(location.fs.info(location.path)["size"] or 0)
            except FileNotFoundError:
                self.log.warning("%s no longer exists; skipping it.", location.uri)
                continue
            found.append(SourceFile(location, str(entry["relative"]), size))
        if not found:
            raise PiktidImageError(f"No file listed in {self.images} exists. Correct the list.")
        return found

    def _check_budget(self, count: int) -> None:
        if self.max_images is not None and count > int(self.max_images):
            raise PiktidBudgetError(
                f"{self.piktid_conn_id}: {count} images found, but max_images is {self.max_images}. Nothing was "
                "uploaded. Raise the limit, or select fewer files with `images` and `exclude`."
            )

    async def _upload_all(
        self, client: AsyncPiktidClient, files: list[SourceFile], concurrency: int
    ) -> list[dict[str, str]]:
        names = unique_names([file.relative for file in files])
        sending = asyncio.Semaphore(concurrency)

        async def upload(pair: tuple[SourceFile, str]) -> dict[str, str]:
            file, filename = pair
            source = _Hashed(file) if self._is_listed else file
            ticket = await client.request_upload(filename, project_name=self.project_name)
            async with sending:
                try:
                    await client.put_upload(ticket, source)
                except PiktidLinkError:
                    ticket = await client.upload_image(filename, source, project_name=self.project_name)
            row = {
                "file_id": ticket.file_id,
                "filename": filename,
                "source": file.location.uri,
                "relative": file.relative,
            }
            return row | {"sha256": source.sha256} if isinstance(source, _Hashed) else row

        # Links are requested while other images are being uploaded: as many wait with a link as are uploaded.
        return await run_bounded(upload, list(zip(files, names, strict=True)), 2 * concurrency)


class _Hashed:
    """A source file that computes its SHA-256 while it is read."""

    def __init__(self, file: SourceFile) -> None:
        self._file = file
        self.size = file.size
        self.sha256 = ""

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the content in chunks, from the start at every call."""
        digest = hashlib.sha256()
        async for chunk in self._file.chunks():
            digest.update(chunk)
            yield chunk
        self.sha256 = digest.hexdigest()


def unique_names(relatives: Sequence[str]) -> list[str]:
    """
    Return file names for PiktID, which has no folders: the base name, or the whole path if several share it.

    The results contain these names, so they must be unique.
    """
    counts = Counter(posixpath.basename(relative).lower() for relative in relatives)
    taken: set[str] = set()
    names = []
    for position, relative in enumerate(relatives):
        name = posixpath.basename(relative)
        if counts[name.lower()] > 1:
            name = relative.replace("/", "__")
        # A name that is not valid UTF-8 cannot be sent.
        name = name.encode("utf-8", "replace").decode()
        while name.lower() in taken:
            name = f"{position}_{name}"
        taken.add(name.lower())
        names.append(name)
    return names
