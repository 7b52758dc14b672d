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
from airflow_provider_piktid.common.records import CurrentTask, ObjectRecords, Store
from airflow_provider_piktid.exceptions import (
    PiktidBudgetError,
    PiktidConfigError,
    PiktidImageError,
    PiktidLinkError,
    PiktidRecordError,
)
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.formats import V2_FORMATS
from airflow_provider_piktid.files.search import find_images
from airflow_provider_piktid.files.storage import SourceFile
from airflow_provider_piktid.get_provider_info import PROJECT_NAME_LENGTH
from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.jobs.submission import JobRecord
from airflow_provider_piktid.jobs.uploads import STATE_KEY, ListedFiles, UploadRecord
from airflow_provider_piktid.operators.base import fail_fast_if_permanent

if TYPE_CHECKING:
    from airflow_provider_piktid.client import AsyncPiktidClient


class PiktidUploadImagesOperator(BaseOperator):
    """
    Upload JPEG and PNG images to a PiktID project. Free of charge.

    If the task runs again in the same DAG run within 24 hours, files with unchanged content keep their file ids, so
    that the swap behind it attaches to its jobs. No source states how long PiktID keeps uploads; 24 hours are assumed.

    The content of every file is checked before the first one is sent. Files are streamed: memory does not grow with
    the number or the size of the images.

    :param images: One path, URI, folder, prefix (listed recursively) or glob, or a list of them, on any store that
        ``ObjectStoragePath`` supports, such as ``s3://conn_id@bucket/shoot/``. Or the URI of a ``.json`` file that
        lists them: an array of ``{"source": URI, "relative": path that the outputs mirror}``; with ``"files": [URI]``
        an item is a group of files. Listed files that no longer exist are skipped, and so is their group.
    :param project_name: Project of the images, 1 to 128 characters. It is created if it does not exist.
    :param exclude: Glob patterns of files to skip, by relative path or by name, such as ``*_INTERNAL_*``. Default:
        none.
    :param max_concurrency: Concurrent uploads. Default: ``max_concurrency`` of the connection, 8.
    :param max_images: Refuse to upload more images than this. Default: no limit.
    :param state_path: Folder for the record of file ids, on any object storage. Default: ``[piktid] state_path``, else
        Airflow's task state store (3.3+), else none.
    :param record_beside: URI of a ``.json`` file; the uploads are recorded next to it, as ``<name>.uploads.json``,
        instead of in ``state_path``. Default: none.
    :param piktid_conn_id: Connection id. Default: ``piktid_default``.
    :return: ``{"project_id", "file_ids", "images"}``, each also as a separate XCom key, so that
        ``upload.output["file_ids"]`` works. ``images`` is a list of ``{file_id, filename, source, relative, sha256}``;
        with ``size``, ``version`` and ``modified`` if a ``.json`` file listed them, and ``group``, the ``source`` of
        the group.
    :raises PiktidImageError: There is no image, or some files are not supported images; names them.
    """

    template_fields: Sequence[str] = (
        "piktid_conn_id",
        "images",
        "project_name",
        "exclude",
        "max_images",
        "state_path",
        "record_beside",
    )
    ui_color = "#ece6ff"

    def __init__(
        self,
        *,
        images: str | Sequence[str],
        project_name: str,
        exclude: str | Sequence[str] = (),
        max_concurrency: int | None = None,
        max_images: int | str | None = None,
        state_path: str | None = None,
        record_beside: str | None = None,
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
        self.state_path = state_path
        self.record_beside = record_beside
        self.piktid_conn_id = piktid_conn_id
        self._listed = ListedFiles()

    def execute(self, context: Any) -> dict[str, Any]:
        with fail_fast_if_permanent():
            hook = PiktidHook(self.piktid_conn_id)
            concurrency = int(self.max_concurrency or hook.settings.max_concurrency)
            if not 1 <= len(str(self.project_name).strip()) <= PROJECT_NAME_LENGTH:
                raise PiktidConfigError(
                    f"project_name must have 1 to {PROJECT_NAME_LENGTH} characters, not {self.project_name!r}."
                )
            store = self._open_store(CurrentTask(context))
            if known := self._submitted(store):
                self.log.info("Jobs were submitted with the files of an earlier try; uploading nothing.")
                return _result(known.project_id, known.images)
            files = self._files()
            self._check_budget(len(files))
            files = self._checked(files, concurrency)
            with hook.get_conn() as client:
                project = client.ensure_project(self.project_name)
                record = self._recorded(store, project.project_id)
                uploaded = record.usable(project.project_id)
                try:
                    rows = client.run(self._upload_all, files, concurrency, uploaded)
                except BaseException:
                    # A retry sends only what is missing.
                    record.images = list(uploaded.values())
                    self._save_progress(store, record)
                    raise
            record.images = rows
            self._save(store, record)
            self.log.info(
                "Uploaded %d image(s), %.1f MB, to project %s.",
                len(rows),
                sum(file.size for file in files) / 1e6,
                project.project_name,
            )
        return _result(project.project_id, rows)

    @property
    def _is_listed(self) -> bool:
        return isinstance(self.images, str) and self.images.endswith(".json")

    def _files(self) -> list[SourceFile]:
        if not self._is_listed:
            return find_images(self.images, exclude=self.exclude, formats=V2_FORMATS)
        self._listed = ListedFiles.read(str(self.images))
        for uri in self._listed.gone:
            self.log.warning("%s no longer exists; skipping it, and its group if it has one.", uri)
        if not self._listed.files:
            raise PiktidImageError(f"No file listed in {self.images} exists. Correct the list.")
        return self._listed.files

    def _checked(self, files: list[SourceFile], workers: int) -> list[SourceFile]:
        """
        Check the content of the files.

        In a batch of a refresh, a file that has become something else than an image since the plan is left out; the
        next plan reports it.
        """
        if not self.record_beside:
            storage.check_images(files, V2_FORMATS, workers=workers)
            return files
        problems = storage.image_problems(files, V2_FORMATS, workers=workers)
        for problem in filter(None, problems):
            self.log.warning("Skipped: %s", problem)
        kept = [file for file, problem in zip(files, problems, strict=True) if problem is None]
        invalid = {file.location.uri for file in files} - {file.location.uri for file in kept}
        kept = self._listed.without_groups_of(invalid, kept)
        if not kept:
            raise PiktidImageError(f"No file listed in {self.images} is a supported image any more.")
        return kept

    def _check_budget(self, count: int) -> None:
        if self.max_images in (None, ""):
            return
        try:
            limit = int(str(self.max_images))
        except ValueError:
            raise PiktidConfigError(f"max_images must be a whole number, not {self.max_images!r}.") from None
        if count > limit:
            raise PiktidBudgetError(
                f"{self.piktid_conn_id}: {count} images found, but max_images is {self.max_images}. Nothing was "
                "uploaded. Raise the limit, or select fewer files with `images` and `exclude`."
            )

    def _open_store(self, task: CurrentTask) -> Store[UploadRecord]:
        place = storage.beside(self.record_beside, "uploads") if self.record_beside else None
        return task.open_store(self.state_path, STATE_KEY, UploadRecord.from_json, record_path=place)

    def _submitted(self, store: Store[UploadRecord]) -> UploadRecord | None:
        """
        Return the record of a batch for which paid requests were sent; None if there is none.

        Then its files stay as they are, whatever became of the sources: with other files the swap would buy the whole
        batch again. The next plan finds what has changed.
        """
        if not self.record_beside:
            return None
        place = storage.beside(self.record_beside, "jobs")
        jobs = ObjectRecords(place, JobRecord.from_json).load()
        is_sent = jobs is not None and any(item.state != "planned" for item in jobs.submissions)
        return store.load() if is_sent else None

    def _recorded(self, store: Store[UploadRecord], project_id: str) -> UploadRecord:
        """Return the record of an earlier run of this task as long as it is of use, else a new one."""
        known = store.load()
        return known if known is not None and known.usable(project_id) else UploadRecord(project_id)

    def _save(self, store: Store[UploadRecord], record: UploadRecord) -> None:
        try:
            store.save(record)
        except PiktidRecordError as error:
            if self.record_beside:
                raise
            # Nothing was paid for, and the task state store may limit the size of a value.
            self.log.warning("%s If this task runs again, its files get new ids.", error)

    def _save_progress(self, store: Store[UploadRecord], record: UploadRecord) -> None:
        try:
            if record.images:
                self._save(store, record)
        except PiktidRecordError as error:
            # The error of the upload says more.
            self.log.warning("%s", error)

    async def _upload_all(
        self,
        client: AsyncPiktidClient,
        files: list[SourceFile],
        concurrency: int,
        uploaded: dict[str, dict[str, Any]],
    ) -> list[dict[str, Any]]:
        """
        Upload all files and return their rows.

        :param uploaded: Rows of an earlier try by source; those of files that are uploaded now are put in.
        """
        names = unique_names([file.relative for file in files])
        sending = asyncio.Semaphore(concurrency)

        async def upload(pair: tuple[SourceFile, str]) -> dict[str, Any]:
            file, filename = pair
            before = uploaded.get(file.location.uri)
            if before and before.get("sha256") == await asyncio.to_thread(storage.digest, file.location):
                return before | {"relative": file.relative}
            source = _Hashed(file)
            ticket = await client.request_upload(filename, project_name=self.project_name)
            async with sending:
                try:
                    await client.put_upload(ticket, source)
                except PiktidLinkError:
                    ticket = await client.upload_image(filename, source, project_name=self.project_name)
            row: dict[str, Any] = {
                "file_id": ticket.file_id,
                "filename": filename,
                "source": file.location.uri,
                "relative": file.relative,
                "sha256": source.sha256,
            }
            if self._is_listed:
                row |= _description(file)
            if group := self._listed.group_of.get(file.location.uri):
                row["group"] = group
            uploaded[file.location.uri] = row
            return row

        # Links are requested while other images are being uploaded: as many wait with a link as are uploaded.
        return await run_bounded(upload, list(zip(files, names, strict=True)), 2 * concurrency)


def _result(project_id: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"project_id": project_id, "file_ids": [row["file_id"] for row in rows], "images": rows}


def _description(file: SourceFile) -> dict[str, Any]:
    """Return what was uploaded: the source may have changed since it was planned."""
    return {"size": file.size, "version": file.version, "modified": file.modified}


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
