# SPDX-License-Identifier: Apache-2.0
"""A refresh from bucket to bucket, against a local S3 server."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from PIL import Image

from airflow_provider_piktid.emulator import EmulatorServer
from airflow_provider_piktid.files import storage
from airflow_provider_piktid.files.walk import sizes_below
from airflow_provider_piktid.refresh import read_rows
from tests.support.batch import JPEG, jobs
from tests.support.fixtures import Start
from tests.support.refresh import Nights
from tests.support.s3 import SECRET, bucket_in, connection_id_of, connection_to, put, s3_server

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The URL of a local S3 server."""
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A new bucket for each test."""
    with bucket_in(endpoint, monkeypatch) as uri:
        yield uri


@pytest.fixture
def nights(server: EmulatorServer, bucket: str) -> Nights:
    """A refresh from ``in/`` to ``out/``."""
    return Nights(f"{bucket}/in", f"{bucket}/out")


def jpeg(color: str = "orange", size: tuple[int, int] = (32, 24)) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", size, color).save(content, "JPEG")
    return content.getvalue()


def numbered(content: bytes, number: int, more: bytes = b"") -> bytes:
    """Return an image with other bytes for each number, and the same size."""
    return content + number.to_bytes(4, "big") + more + b"\xff\xd9"


def bought(server: EmulatorServer) -> int:
    return sum(len(job["images"]) for job in jobs(server))


def outputs(nights: Nights) -> list[str]:
    found = sizes_below(storage.locate(nights.output))
    return sorted(name for name in found if not name.startswith("_piktid/"))


def test_three_runs_with_etags(server: EmulatorServer, nights: Nights, bucket: str) -> None:
    """The first run buys every object, the second nothing, and the third the object whose content changed."""
    for name, color in (("shirts/a.jpg", "orange"), ("shirts/b.jpg", "red"), ("shoes/a.jpg", "blue")):
        put(f"{bucket}/in/{name}", jpeg(color))

    assert nights.run().planned["new"] == 3
    assert outputs(nights) == ["shirts/a_0_v0.jpg", "shirts/b_0_v0.jpg", "shoes/a_0_v0.jpg"]

    put(f"{bucket}/in/shirts/a.jpg", jpeg("orange"))
    second = nights.run()
    assert (second.planned["unchanged"], bought(server)) == (3, 3)

    put(f"{bucket}/in/shirts/a.jpg", jpeg("teal"))
    third = nights.run()
    assert (third.planned["changed"], bought(server)) == (1, 4)
    assert third.event is not None
    assert third.event["catalogue"] == f"{bucket}/out/_piktid/catalogue"
    page = storage.locate(third.told["contact_sheet"])
    assert page.fs.cat_file(page.path).count(b"<figure") == 1


def test_new_etag_of_equal_content_is_not_a_change(
    server: EmulatorServer, nights: Nights, bucket: str
) -> None:
    """A new ETag with equal content is not a change, and the catalogue stores the new ETag."""
    content = jpeg() + bytes(6 * 1024 * 1024) + b"\xff\xd9"
    put(f"{bucket}/in/big.jpg", content)
    nights.run()
    place = storage.locate(f"{bucket}/in/big.jpg")
    before = place.fs.info(place.path)["ETag"]
    with place.fs.open(place.path, "wb", block_size=5 * 1024 * 1024) as file:
        file.write(content)
    place.fs.invalidate_cache()
    assert place.fs.info(place.path)["ETag"] != before

    second = nights.run()

    assert (second.planned["unchanged"], bought(server)) == (1, 1)
    assert read_rows(nights.output)[0]["source_version"] == place.fs.info(place.path)["ETag"].strip('"')


def test_many_objects_and_large_ones(start: Start, nights: Nights, bucket: str) -> None:
    """60 small and three large objects each have one output and are unchanged in the next run."""
    server = start(credits=5000, active_jobs=0, extra={"jobs_per_minute": 1000, "active_jobs": 200})
    place = storage.locate(f"{bucket}/in")
    place.fs.pipe({place.join(f"{n % 10}/p{n}.jpg").path: numbered(JPEG, n) for n in range(60)})
    large = numbered(jpeg(), 0, bytes(9_000_000))
    for number in range(3):
        put(f"{bucket}/in/large-{number}.jpg", numbered(jpeg(), number, bytes(9_000_000)))

    first = nights.run(images_per_batch=63)

    assert first.errors == []
    assert len(outputs(nights)) == len(read_rows(nights.output)) == 63
    assert {len(job["images"]) for job in jobs(server)} == {10, 3}
    sizes = {row["relative"]: row["size"] for row in read_rows(nights.output)}
    assert sizes["large-0.jpg"] == len(large)
    assert nights.run().planned["unchanged"] == 63


@pytest.mark.parametrize(
    "names",
    [
        [
            "with space.jpg",
            "ümläut-名.jpg",
            "a#b.jpg",
            "a?b=c&d.jpg",
            "100%.jpg",
            "a%20b.jpg",
            "a[1].jpg",
            "a+b.jpg",
        ],
        ["Same.jpg", "same.jpg", "same.png"],
        ["n" * 1000 + ".jpg", "n" * 999 + ".jpg"],
    ],
    ids=["special characters", "similar", "long"],
)
def test_every_key_has_its_own_output(
    server: EmulatorServer, nights: Nights, bucket: str, names: list[str]
) -> None:
    """Every object has its own output, whatever its key, and is unchanged in the next run."""
    for number, name in enumerate(names):
        put(f"{bucket}/in/{name}", jpeg(f"rgb(90, {30 * number}, 90)"))

    first = nights.run(images_per_batch=2)

    assert first.errors == []
    assert len({name.lower() for name in outputs(nights)}) == len(names)
    assert (nights.run().planned["unchanged"], bought(server)) == (len(names), len(names))


def test_output_prefix_that_starts_like_the_source_is_not_listed(server: EmulatorServer, bucket: str) -> None:
    """The source ``in`` does not list objects below the output ``in-swapped``."""
    put(f"{bucket}/in/a.jpg", jpeg())
    nights = Nights(f"{bucket}/in", f"{bucket}/in-swapped")

    nights.run()

    assert (nights.run().planned["listed"], bought(server)) == (1, 1)


@pytest.mark.parametrize(
    ("source", "output", "words"),
    [
        ("", "out", "must not overlap"),
        ("in", "in/out", "must not overlap"),
        ("none", "out", "does not exist"),
    ],
    ids=["whole bucket", "output in source", "no such prefix"],
)
def test_invalid_source_or_output_fails_without_a_secret(
    server: EmulatorServer, bucket: str, source: str, output: str, words: str
) -> None:
    """Overlapping and missing prefixes fail the plan, and the error contains no secret."""
    put(f"{bucket}/in/a.jpg", jpeg())

    with pytest.raises(AirflowFailException, match=words) as caught:
        Nights(f"{bucket}/{source}", f"{bucket}/{output}").begin()

    assert SECRET not in str(caught.value)


def test_overlap_is_found_across_connections(
    server: EmulatorServer, bucket: str, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The overlap of ``source`` and ``output_path`` is found if they use different connections."""
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(connection_to(endpoint)))
    put(f"{bucket}/in/a.jpg", jpeg())

    with pytest.raises(AirflowFailException, match="must not overlap"):
        Nights(f"{bucket}/in", f"{bucket}/in/out".replace(connection_id_of(endpoint), "other")).begin()


def test_run_leaves_no_local_files(
    server: EmulatorServer, nights: Nights, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """A run leaves no files in the local temporary directory."""
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    put(f"{bucket}/in/a.jpg", jpeg())

    nights.run()

    assert list(tmp_path.iterdir()) == []


def test_renamed_object_is_copied_within_the_bucket(
    server: EmulatorServer, nights: Nights, bucket: str
) -> None:
    """A renamed object keeps its output under the new name, without a purchase."""
    put(f"{bucket}/in/a b#1.jpg", jpeg())
    nights.run()
    before = storage.locate(f"{nights.output}/a b#1_0_v0.jpg")
    content = before.fs.cat_file(before.path)
    place = storage.locate(f"{bucket}/in")
    place.fs.mv(place.join("a b#1.jpg").path, place.join("shirts/ü?.jpg").path)

    night = nights.run(prune=True)

    assert (night.planned["reused"], bought(server), outputs(nights)) == (1, 1, ["shirts/ü?_0_v0.jpg"])
    after = storage.locate(f"{nights.output}/shirts/ü?_0_v0.jpg")
    assert after.fs.cat_file(after.path) == content
