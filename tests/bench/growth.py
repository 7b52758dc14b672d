# SPDX-License-Identifier: Apache-2.0
"""A plan among ten thousand to a million objects, on a store that costs nothing, so that only our share is seen."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from tests.bench.process import Meter, in_child
from tests.bench.rows import Row, at_most, told

#: Objects in one folder.
FOLDER = 1000

PLAN_SECONDS, PLAN_MEGABYTES, GROWTH, NIGHT_MEGABYTES = 40.0, 150.0, 1.2, 10.0
SIZE = 123_456

#: A plan sends nothing to PiktID.
NOWHERE = "http://127.0.0.1:9"


class Endless(DirFileSystem):  # type: ignore[misc]
    """A store with made-up folders of sources and outputs; what the package writes is kept on disk."""

    protocol = "endless"
    cachable = False

    def __init__(self, count: int, changed: int, disk: str) -> None:
        super().__init__(path=disk, fs=LocalFileSystem(auto_mkdir=True))
        self.count, self.changed = count, changed

    def _file(self, folder: str, number: int) -> dict[str, Any]:
        if folder == "shop/out":
            return {"size": SIZE, "type": "file"}
        if number < self.changed:
            return {
                "size": len(_content(number)),
                "type": "file",
                "ETag": f'"v2-{number:032x}"',
                "mtime": 2.0,
            }
        return {"size": SIZE + number, "type": "file", "ETag": f'"v1-{number:032x}"', "mtime": 1.0}

    def _is_made_up(self, path: str) -> bool:
        return "_piktid" not in path

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        if not self._is_made_up(path):
            found: bytes = super().cat_file(path, start, end, **options)
            return found
        return _content(_number(path))[start:end]

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if not self._is_made_up(path):
            return super().open(path, mode, **options)
        return io.BytesIO(_content(_number(path)))

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        if self._is_made_up(path):
            return {"name": path, "size": 0, "type": "directory"}
        found: dict[str, Any] = super().info(path, **options)
        return found

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        if not self._is_made_up(path):
            return super().ls(path, detail=detail, **options)
        folders = range(-(-self.count // FOLDER))
        return [{"name": f"{path}/{number:04d}", "size": 0, "type": "directory"} for number in folders]

    def find(self, path: str, **options: Any) -> Any:
        if not self._is_made_up(path):
            return super().find(path, **options)
        root, _, name = path.rpartition("/")
        first = int(name) * FOLDER
        ending = "_0_v1.jpg" if root == "shop/out" else ".jpg"
        return {
            f"{path}/photograph-{number:07d}{ending}": self._file(root, number)
            for number in range(first, min(first + FOLDER, self.count))
        }


def _number(path: str) -> int:
    return int(path.rpartition("-")[2].removesuffix(".jpg"))


def _content(number: int) -> bytes:
    """Return a picture with a comment of its own."""
    from tests.support.batch import JPEG

    return JPEG[:2] + b"\xff\xfe\x00\x06" + number.to_bytes(4, "big") + JPEG[2:]


def run(*, quick: bool = False) -> list[Row]:
    """Measure; ``quick`` ends at a hundred thousand objects."""
    counts = (10_000, 100_000) if quick else (10_000, 100_000, 1_000_000)
    rows: list[Row] = []
    per_object: list[float] = []
    for count in counts:
        with tempfile.TemporaryDirectory() as disk:
            in_child(__name__, "fill", count=count, disk=disk)
            plan = in_child(__name__, "plan", url=NOWHERE, count=count, changed=0, disk=disk)
            night = in_child(__name__, "plan", url=NOWHERE, count=count, changed=100, disk=disk)
        per_object.append(plan["seconds"] / count * 1e6)
        name = f"plan among {count:,} objects"
        what = f"{plan['unchanged']} unchanged, catalogue of {plan['catalogue']:.1f} MB"
        largest = count == 1_000_000
        rows += [
            at_most(name, plan["seconds"], PLAN_SECONDS, "s", what)
            if largest
            else told(name, plan["seconds"], "s", what),
            told(f"{name}, time for each", per_object[-1], "us", what),
            at_most(f"{name}, peak memory above bare Airflow", plan["megabytes"], PLAN_MEGABYTES, "MB", what),
            told(
                f"{name}, 100 changed",
                night["seconds"],
                "s",
                f"{night['images']} to submit, {night['megabytes']:.0f} MB",
            ),
            at_most(
                f"{name}, 100 changed, written",
                night["written"],
                NIGHT_MEGABYTES,
                "MB",
                "plan, rows and merges",
            ),
        ]
    what = ", ".join(f"{seconds:.1f} us" for seconds in per_object)
    return [
        *rows,
        at_most(
            "time for each object, most to fewest objects", per_object[-1] / per_object[0], GROWTH, "x", what
        ),
    ]


# -- in a separate process ----------------------------------------------------------------------------------


def _attach(count: int, changed: int, disk: str) -> None:
    import fsspec
    from airflow.sdk.io import attach

    fsspec.register_implementation("endless", Endless)
    attach("endless", fs=Endless(count, changed, disk))


def fill(count: int, disk: str) -> dict[str, Any]:
    """Write the catalogue of a store in which everything is done."""
    from airflow_provider_piktid.files import storage
    from airflow_provider_piktid.refresh import parts
    from airflow_provider_piktid.refresh.store import CatalogueStore

    _attach(count, 0, disk)
    store = CatalogueStore(storage.locate("endless://shop/out"))
    storage.write_bytes(store.folder.join("part-earlier.jsonl.gz"), parts.pack(_rows(count)))
    return {}


def _rows(count: int) -> Iterator[dict[str, Any]]:
    import hashlib

    from airflow_provider_piktid.refresh.catalogue import plain
    from tests.support.catalogue import row

    for number in range(count):
        name = f"{number // FOLDER:04d}/photograph-{number:07d}"
        digest = hashlib.sha256(name.encode()).hexdigest()
        (written,) = plain(
            [
                row(
                    f"{name}.jpg",
                    source=f"endless://shop/in/{name}.jpg",
                    source_version=f"v1-{number:032x}",
                    source_sha256=digest,
                    source_size=SIZE + number,
                    source_modified=1.0,
                    producer="nightly.plan",
                    run="0" * 16,
                    at=1.0 + number / 1000,
                    file_id=f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}",
                    job_id=f"job_{digest[32:]}",
                    image_index=number % 10,
                    group_index=0,
                    version=1,
                    model_used="onda",
                    file=f"{name}_0_v1.jpg",
                    size=SIZE,
                    sha256=hashlib.sha256(digest.encode()).hexdigest(),
                    credits=1.0,
                    filename=f"photograph-{number:07d}.jpg",
                    project_id="12",
                )
            ]
        )
        yield written


def plan(count: int, changed: int, disk: str) -> dict[str, Any]:
    """Plan in a process that has imported only Airflow before, and carry the plan out."""
    import airflow.sdk  # noqa: F401 - what is there before anything of ours

    _attach(count, changed, disk)
    before = _written(disk)
    with Meter() as meter:
        from tests.support.refresh import Nights

        night = Nights("endless://shop/in", "endless://shop/out").begin()
    after = _written(disk)
    written = sum(size for name, (size, at) in after.items() if before.get(name) != (size, at))
    return meter.report(
        unchanged=night.planned["unchanged"],
        images=night.planned["images"],
        written=written / 1e6,
        catalogue=_catalogue_size(disk),
    )


def _catalogue_size(disk: str) -> float:
    return sum(path.stat().st_size for path in Path(disk).rglob("part-*.jsonl.gz")) / 1e6


def _written(disk: str) -> dict[str, tuple[int, float]]:
    files = (path for path in Path(disk).rglob("*") if path.is_file())
    return {str(path): (path.stat().st_size, path.stat().st_mtime) for path in files}
