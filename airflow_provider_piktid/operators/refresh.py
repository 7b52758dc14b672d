# SPDX-License-Identifier: Apache-2.0
"""Refresh a catalogue: plan what changed, note what came of it, sum up. Use ``task_groups.refresh``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator, conf

from airflow_provider_piktid.common.records import CurrentTask
from airflow_provider_piktid.exceptions import PiktidConfigError
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.links import SHEET_URL_KEY, PiktidContactSheetLink
from airflow_provider_piktid.operators.base import fail_fast_if_permanent
from airflow_provider_piktid.refresh.catalogue import WORK, CatalogueRow, options_key
from airflow_provider_piktid.refresh.collect import Collection
from airflow_provider_piktid.refresh.plan import (
    Plan,
    Wanted,
    batch_entries,
    late_entries,
    make_plan,
)
from airflow_provider_piktid.refresh.store import CatalogueStore, run_key
from airflow_provider_piktid.refresh.summary import RunSummary, event_extra

if TYPE_CHECKING:
    from airflow_provider_piktid.files.storage import Location


class PiktidPlanRefreshOperator(BaseOperator):
    """
    Work out which sources of a catalogue have to be swapped, and deal them out in batches.

    Free of charge: nothing is sent to PiktID. Sources are compared with the catalogue that earlier runs left below
    ``output_path``, by content: ETag or checksum where the store has one, size and date otherwise, and sha256
    where those differ, so that a file that was only touched is not paid for again.

    :param source: Folder, prefix or glob of JPEG and PNG pictures, on any store that ``ObjectStoragePath`` knows.
    :param output_path: Folder or prefix of the outputs and of the catalogue. Neither may lie in the other.
    :param identity_code: Identity that the swap will use.
    :param options: Arguments that the swap will get. Those that decide what comes out are compared too.
    :param exclude: Glob patterns of sources to leave out. Their outputs are kept.
    :param max_images: Sources a run may buy. The rest has its turn in the next runs, oldest first. Default: all.
    :param max_attempts: How often a source that fails is bought again, until it changes. Default 3.
    :param images_per_batch: Sources of one batch. Default: ``images_per_job`` of the connection, 10; more if there
        would be more batches than Airflow maps (``[core] max_map_length``).
    :param rerun_key: Any text; another value makes everything anew.
    :param dry_run: Log what would be done and what it would cost; write nothing, give no batch.
    :param prune: Remove outputs whose source is gone. Default: report them.
    :param credits_per_output: Price of an output for the estimate, until the catalogue knows better. Default 1.
    :param piktid_conn_id: Connection id.
    :return: URIs of the batches, to be mapped over; each is a JSON file that the upload takes as ``images``. XCom
        keys: ``summary``: counts; ``late``: URI of a batch that is paid for and has to be fetched, or "".
    :raises PiktidConfigError: Source and output lie in one another, or another refresh works in this output.
    :raises PiktidImageError: No source at all.
    :raises PiktidRecordError: The catalogue was written by a newer version of this package.
    """

    template_fields: Sequence[str] = (
        "piktid_conn_id",
        "source",
        "output_path",
        "identity_code",
        "options",
        "exclude",
        "max_images",
        "rerun_key",
        "only_tell",
    )
    ui_color = "#ece6ff"

    def __init__(
        self,
        *,
        source: str,
        output_path: str,
        identity_code: str,
        options: Mapping[str, Any] | None = None,
        exclude: str | Sequence[str] = (),
        max_images: int | str | None = None,
        max_attempts: int = 3,
        images_per_batch: int | None = None,
        rerun_key: str | None = None,
        dry_run: bool | str = False,
        prune: bool = False,
        credits_per_output: float = 1.0,
        piktid_conn_id: str = PiktidHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.output_path = output_path
        self.identity_code = identity_code
        self.options = options
        self.exclude = exclude
        self.max_images = max_images
        self.max_attempts = max_attempts
        self.images_per_batch = images_per_batch
        self.rerun_key = rerun_key
        # BaseOperator has a method of the parameter's name.
        self.only_tell = dry_run
        self.prune = prune
        self.credits_per_output = credits_per_output
        self.piktid_conn_id = piktid_conn_id

    def execute(self, context: Any) -> list[str]:
        with fail_fast_if_permanent():
            settings = PiktidHook(self.piktid_conn_id).settings
            wanted = self._wanted(context)
            store = CatalogueStore(storage.locate(self.output_path))
            plan = make_plan(wanted, store)
            entries = batch_entries(plan, wanted)
            summary = self._summary(plan, wanted)
            self._tell(plan, summary)
            CurrentTask(context).push("summary", summary)
            if _is_true(self.only_tell):
                CurrentTask(context).push("late", "")
                return []
            CurrentTask(context).push("late", self._keep(plan, wanted, store))
            size = self._batch_size(len(entries), settings.images_per_job)
            batches = [entries[start : start + size] for start in range(0, len(entries), size)]
            return store.write_batches(wanted.run, batches)

    def _wanted(self, context: Any) -> Wanted:
        ti = context["ti"]
        try:
            key = options_key(self.identity_code, self.options or {}, self.rerun_key)
        except ValueError as error:
            raise PiktidConfigError(f"{self.task_id}: {error}. Nothing was submitted.") from error
        return Wanted(
            source=self.source,
            output_path=self.output_path,
            identity_code=self.identity_code,
            options_key=key,
            producer=f"{ti.dag_id}.{ti.task_id}",
            run=run_key(ti.dag_id, ti.task_id, ti.run_id),
            exclude=[self.exclude] if isinstance(self.exclude, str) else list(self.exclude),
            max_images=self._limit(),
            max_attempts=self.max_attempts,
        )

    def _limit(self) -> int | None:
        """Return ``max_images`` as a number; a template gives text."""
        if self.max_images in (None, ""):
            return None
        try:
            limit = int(str(self.max_images))
        except ValueError:
            raise PiktidConfigError(
                f"{self.task_id}: max_images must be a whole number, not {self.max_images!r}."
            ) from None
        if limit < 1:
            raise PiktidConfigError(f"max_images must be 1 or more, not {limit}. Use dry_run to buy nothing.")
        return limit

    def _batch_size(self, count: int, images_per_job: int) -> int:
        size = int(self.images_per_batch or images_per_job)
        most = conf.getint("core", "max_map_length", fallback=1024)
        return size if count <= size * most else size * math.ceil(count / (size * most))

    def _summary(self, plan: Plan, wanted: Wanted) -> dict[str, Any]:
        bought: dict[str, int] = dict.fromkeys(WORK, 0)
        for _, reason in plan.work:
            bought[reason] += 1
        outputs = len(plan.work) * int((self.options or {}).get("num_variations", 1))
        return {
            "run": wanted.run,
            "source": self.source,
            "output_path": self.output_path,
            "listed": plan.listed,
            "images": len(plan.work),
            "outputs": outputs,
            "credits_estimate": round(outputs * self._price(plan), 2),
            **bought,
            "unchanged": plan.reasons["same"],
            "unfinished": plan.reasons["pending"],
            "given_up": plan.reasons["given up"],
            "rejected": len(plan.rejected),
            "waiting": plan.waiting,
            "deleted": len(plan.deleted),
            "dry_run": _is_true(self.only_tell),
            "pruned": len(plan.deleted) if self.prune and not _is_true(self.only_tell) else 0,
        }

    def _price(self, plan: Plan) -> float:
        """What an output cost so far, by the first hundred of the catalogue that say it."""
        told: list[float] = []
        for known in plan.snapshot.known.values():
            told += [row["credits"] for row in known.rows if row["status"] == "done" and row["credits"]]
            if len(told) >= 100:
                break
        return sum(told) / len(told) if told else self.credits_per_output

    def _tell(self, plan: Plan, summary: Mapping[str, Any]) -> None:
        self.log.info(
            "%(listed)d sources: %(images)d to do (%(new)d new, %(changed)d changed, %(options)d with other "
            "options, %(failed)d that failed before), about %(credits_estimate)g credits; %(unchanged)d unchanged, "
            "%(unfinished)d paid and not here yet, %(waiting)d wait for a later run.",
            summary,
        )
        for file, reason in plan.work[:20]:
            self.log.info("  %s: %s", reason, file.location.uri)
        if len(plan.work) > 20:
            self.log.info("  ... and %d more", len(plan.work) - 20)
        for row in plan.rejected[:20]:
            self.log.warning("Left out: %s", row.error)
        if plan.deleted:
            shown = ", ".join(plan.deleted[:10])
            kept = "removing their outputs" if summary["pruned"] else "their outputs are kept"
            self.log.warning("%d source(s) are gone (%s): %s", len(plan.deleted), kept, shown)
        if summary["given_up"]:
            self.log.warning(
                "%(given_up)d source(s) failed too often; they are left alone until changed.", summary
            )

    def _keep(self, plan: Plan, wanted: Wanted, store: CatalogueStore) -> str:
        """Write what planning found out; the URI of the batch that only has to be fetched, or an empty text."""
        known = plan.snapshot.known
        late = late_entries(plan, wanted)
        if self.prune and plan.deleted:
            gone = {row["file"] for name in plan.deleted for row in known[name].rows if row["file"]}
            store.remove_outputs(gone)
            for name in plan.deleted:
                del known[name]
        rejected = [
            row
            for row in plan.rejected
            if not (
                row.relative in known and any(old["error"] == row.error for old in known[row.relative].rows)
            )
        ]
        rows: list[CatalogueRow | Mapping[str, Any]] = [*rejected, *plan.touched, *plan.recovered]
        if rows:
            store.write(f"{wanted.run}-plan", rows)
        store.compact(plan.snapshot, anew=bool(self.prune and plan.deleted))
        return store.write_batches(f"{wanted.run}/late", [late])[0] if late else ""


class PiktidCollectRefreshOperator(BaseOperator):
    """
    Fetch what a batch gave, and note it in the catalogue. Free of charge; a rerun fetches what is missing.

    Runs whatever became of the swap: what was paid for is fetched, or noted as to be fetched by a later run.

    :param batch: URI of the batch, as the plan returned it.
    :param output_path: The plan's.
    :param upload_task_id: Task that uploaded the batch. Default: none; the batch is one of the plan's ``late``.
    :param swap_task_id: Task that swapped it.
    :param max_concurrency: Downloads at once. Default: the connection's ``max_concurrency``, 8.
    :param piktid_conn_id: Connection id.
    :return: ``{"done", "failed", "pending", "credits"}``: counts of outputs, and what they cost. Skipped if
        nothing of the batch was bought.
    :raises PiktidDownloadError: Outputs that exist did not arrive. They are noted, and a retry fetches them.
    """

    template_fields: Sequence[str] = ("piktid_conn_id", "batch", "output_path")
    ui_color = "#ece6ff"

    def __init__(
        self,
        *,
        batch: str,
        output_path: str,
        upload_task_id: str | None = None,
        swap_task_id: str | None = None,
        max_concurrency: int | None = None,
        piktid_conn_id: str = PiktidHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.batch = batch
        self.output_path = output_path
        self.upload_task_id = upload_task_id
        self.swap_task_id = swap_task_id
        self.max_concurrency = max_concurrency
        self.piktid_conn_id = piktid_conn_id

    def execute(self, context: Any) -> dict[str, Any]:
        if not self.batch:
            raise AirflowSkipException("Nothing of an earlier run has to be fetched.")
        with fail_fast_if_permanent():
            hook = PiktidHook(self.piktid_conn_id)
            collection = Collection(
                storage.read_json(storage.locate(self.batch)) or [],
                images=self._pull(context, self.upload_task_id, "images"),
                jobs=self._pull(context, self.swap_task_id, "jobs"),
            )
            if not collection.job_ids:
                raise AirflowSkipException("Nothing of this batch was bought.")
            concurrency = int(self.max_concurrency or hook.settings.max_concurrency)
            store = CatalogueStore(storage.locate(self.output_path))
            part = collection.part_name(self.batch)
            store.write(part, collection.promised())
            download = collection.download(self.output_path, concurrency, self.piktid_conn_id)
            with hook.get_conn() as client:
                client.run(download.run)
            rows = collection.rows(download)
            store.write(part, rows)
            self.log.info("%s", counts := collection.counts(rows))
            download.raise_if_incomplete()
        return counts

    def _pull(self, context: Any, task_id: str | None, key: str) -> list[Any]:
        if task_id is None:
            return []
        ti = context["ti"]
        return ti.xcom_pull(task_ids=task_id, key=key, map_indexes=ti.map_index) or []


class PiktidRefreshSummaryOperator(BaseOperator):
    """
    Sum a refresh up: counts, contact sheet, and the event of its asset.

    :param plan_task_id: The plan.
    :param output_path: The plan's.
    :param fail_on_partial: Fail if a single source of this run has no output. Default: fail if none has any, else
        warn; the next run takes up what is missing.
    :param skip_unchanged: Be skipped if this run brought nothing new, so that no asset event wakes others.
    :param contact_sheet: Write a page and a picture with before and after. Needs Pillow; left out without it.
    :param browse_url: Address under which people open ``output_path`` in a browser, for the link to the sheet.
    :return: Counts of sources and outputs, credits, and URIs of catalogue and sheet; also the extra of the event.
    :raises PiktidPartialResultError: See ``fail_on_partial``.
    """

    template_fields: Sequence[str] = ("output_path", "browse_url")
    operator_extra_links = (PiktidContactSheetLink(),)
    ui_color = "#ece6ff"

    def __init__(
        self,
        *,
        plan_task_id: str,
        output_path: str,
        fail_on_partial: bool = False,
        skip_unchanged: bool = True,
        contact_sheet: bool = True,
        browse_url: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan_task_id = plan_task_id
        self.output_path = output_path
        self.fail_on_partial = fail_on_partial
        self.skip_unchanged = skip_unchanged
        self.contact_sheet = contact_sheet
        self.browse_url = browse_url

    def execute(self, context: Any) -> dict[str, Any]:
        with fail_fast_if_permanent():
            planned = context["ti"].xcom_pull(task_ids=self.plan_task_id, key="summary", map_indexes=-1)
            if planned and planned["dry_run"]:
                raise AirflowSkipException("Nothing was done: the plan was a dry run.")
            run = RunSummary(storage.locate(self.output_path), planned, self.plan_task_id)
            sheet = run.write_sheet(self.log) if self.contact_sheet and run.rows else None
            CurrentTask(context).push(SHEET_URL_KEY, self._address(run.folder, sheet) if sheet else "")
            told = run.told()
            self.log.info("%s", told)
            CurrentTask(context).push("summary", told)
            run.compact()
            run.judge(fail_on_partial=self.fail_on_partial, log=self.log)
            if self.skip_unchanged and run.is_unchanged:
                raise AirflowSkipException("Nothing new: no event for those that wait for one.")
            for outlet in self.outlets:
                context["outlet_events"][outlet].extra = event_extra(told)
        return told

    def _address(self, folder: Location, sheet: Location) -> str:
        if not self.browse_url:
            return sheet.uri
        return f"{self.browse_url.rstrip('/')}/{sheet.path[len(folder.path.rstrip('/')) + 1 :]}"

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Tell OpenLineage what was read and written; asked for by its provider, if that is installed."""
        from airflow_provider_piktid.refresh.lineage import refresh_lineage

        told = task_instance.xcom_pull(task_ids=self.task_id, key="summary", map_indexes=-1)
        return refresh_lineage(told)


def _is_true(value: Any) -> bool:
    """Read a switch that may be text, as templates give it."""
    return value if isinstance(value, bool) else str(value).strip().lower() in ("true", "1", "yes")
