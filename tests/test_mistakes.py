# SPDX-License-Identifier: Apache-2.0
"""What a newcomer does wrong, and what the error must say: one line that names what to change."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_piktid.exceptions import PiktidError
from airflow_provider_piktid.hooks.piktid import PiktidHook
from airflow_provider_piktid.operators.download import PiktidDownloadOperator
from airflow_provider_piktid.operators.generate_person import PiktidGeneratePersonOperator
from airflow_provider_piktid.operators.identity import (
    PiktidCreateIdentityOperator,
    PiktidPromoteIdentityOperator,
    PiktidUploadIdentityOperator,
)
from airflow_provider_piktid.operators.model_swap import PiktidModelSwapOperator
from airflow_provider_piktid.operators.packshot import PiktidPackshotOperator
from airflow_provider_piktid.operators.preset import PiktidExtractPresetOperator
from airflow_provider_piktid.operators.recolor import PiktidGarmentRecolorOperator
from airflow_provider_piktid.operators.refresh import PiktidPlanRefreshOperator
from airflow_provider_piktid.operators.regenerate import PiktidRegenerateOperator
from airflow_provider_piktid.operators.upload import PiktidUploadImagesOperator
from airflow_provider_piktid.sensors.job import PiktidJobSensor
from airflow_provider_piktid.testing.pictures import write_picture
from airflow_provider_piktid.testing.service import PiktidEmulator
from tests.support.s3 import bucket_in, s3_server
from tests.support.tasks import TaskRun

TOKEN = "token-5f1c9e"
NOBODY = "http://127.0.0.1:9"
PACKSHOTS = {"instructions": [{"style": "free"}]}


@dataclass
class Newcomer:
    """Somebody with an emulator, a folder with one image, and a connection."""

    server: PiktidEmulator
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    request: pytest.FixtureRequest

    def connect(self, **fields: Any) -> Newcomer:
        """Set the connection: its fields, which replace the right ones."""
        right = {"conn_type": "piktid", "host": self.server.url, "password": TOKEN}
        self.monkeypatch.setenv("AIRFLOW_CONN_PIKTID_DEFAULT", json.dumps(right | fields))
        return self

    @property
    def shoot(self) -> str:
        return str(self.folder / "shoot")

    @property
    def no_bucket(self) -> str:
        """A bucket that does not exist, of an S3 server that does."""
        pytest.importorskip("s3fs")
        with bucket_in(self.request.getfixturevalue("s3"), self.monkeypatch) as bucket:
            return bucket.partition("@")[0] + "@nowhere/shoot"

    def write(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return str(path)

    def run(self, operator: type, **arguments: Any) -> Any:
        return TaskRun(lambda: operator(task_id="task", **arguments)).run()

    def upload(self, images: Any = None, **arguments: Any) -> dict[str, Any]:
        named = {"images": self.shoot if images is None else images, "project_name": "spring"}
        return dict(self.run(PiktidUploadImagesOperator, **(named | arguments)))

    def swap(self, **arguments: Any) -> Any:
        """Swap what was uploaded; nothing that the argument names is uploaded."""
        uploaded = self.upload() if {"images", "project_id"} - arguments.keys() else {}
        right = {
            "identity_code": "PiktidSummer",
            "project_id": uploaded.get("project_id"),
            "images": uploaded.get("file_ids"),
            "lost_reply_grace": 0.3,
        }
        return self.run(PiktidModelSwapOperator, **(right | arguments))

    def download(self, **arguments: Any) -> Any:
        right = {"job_ids": ["none"], "output_path": str(self.folder / "out")}
        return self.run(PiktidDownloadOperator, **(right | arguments))

    def plan(self, **arguments: Any) -> Any:
        right = {
            "source": self.shoot,
            "output_path": str(self.folder / "out"),
            "identity_code": "PiktidSummer",
        }
        return self.run(PiktidPlanRefreshOperator, **(right | arguments))

    def person(self, **arguments: Any) -> Any:
        right = {
            "image": f"{self.shoot}/front.jpg",
            "keywords": ["Oceania"],
            "output_path": str(self.folder / "out"),
        }
        return self.run(PiktidGeneratePersonOperator, **(right | arguments))


pytestmark = pytest.mark.piktid_emulator(token=TOKEN)


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 server."""
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def newcomer(
    piktid_emulator: PiktidEmulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Newcomer:
    """A newcomer who has made no mistake yet."""
    write_picture(tmp_path / "shoot" / "front.jpg")
    newcomer = Newcomer(piktid_emulator, tmp_path, monkeypatch, request)
    newcomer.connect()
    return newcomer


def no_connection(n: Newcomer) -> None:
    n.monkeypatch.delenv("AIRFLOW_CONN_PIKTID_DEFAULT")
    n.upload()


def connection(
    what: Callable[[Newcomer], Any] = lambda n: n.upload(), **fields: Any
) -> Callable[[Newcomer], Any]:
    """Return the mistake of connecting with these fields, seen by what is done with the connection."""

    def mistake(n: Newcomer) -> None:
        n.connect(**fields)
        what(n)

    return mistake


def text_named_jpg(n: Newcomer) -> None:
    n.write("shoot/notes.jpg", b"front: take again")
    n.upload()


def several_faces(n: Newcomer) -> None:
    write_picture(n.folder / "shoot" / "back.jpg")
    n.run(PiktidUploadIdentityOperator, image=n.shoot)


def file_as_output(n: Newcomer) -> None:
    n.download(output_path=n.write("out", b""), job_ids=n.swap())


def creation(**arguments: Any) -> Callable[[Newcomer], Any]:
    """Create an identity from a brief of one draft, with these arguments."""
    right = {"instructions": [{"prompt": "a person"}]}
    return lambda n: n.run(PiktidCreateIdentityOperator, **(right | arguments))


def promotion(**arguments: Any) -> Callable[[Newcomer], Any]:
    """Promote one of two drafts, with these arguments."""

    def mistake(n: Newcomer) -> Any:
        brief = [{"prompt": "a person", "num_variations": 2}]
        job_ids = n.run(PiktidCreateIdentityOperator, instructions=brief)
        return n.run(PiktidPromoteIdentityOperator, **({"job_ids": job_ids, "draft": 0} | arguments))

    return mistake


def preset(**arguments: Any) -> Callable[[Newcomer], Any]:
    """Extract a preset from the uploaded image, with these arguments."""
    return lambda n: n.run(
        PiktidExtractPresetOperator, **({"file_id": n.upload()["file_ids"][0]} | arguments)
    )


def without_credits(n: Newcomer) -> None:
    n.server.state.credits.balance = 0
    n.swap()


def unknown_job(n: Newcomer) -> None:
    # A new job has half a minute to appear.
    n.monkeypatch.setattr("airflow_provider_piktid.sensors.job.LOST_SECONDS", 0.0)
    n.run(PiktidJobSensor, job_id="job-id-from-the-dashboard")


#: The mistake, and words of the error.
MISTAKES: dict[str, tuple[Callable[[Newcomer], Any], list[str]]] = {
    # The connection.
    "no connection": (no_connection, ["piktid_default", "piktid_conn_id"]),
    "connection of another service": (
        connection(conn_type="aws", login="key", password="secret"),
        ["piktid_default", "'aws'", "'piktid'"],
    ),
    "typing error in the connection id": (
        lambda n: n.upload(piktid_conn_id="piktid_defualt"),
        ["piktid_defualt", "piktid_conn_id"],
    ),
    "token in the login": (connection(login="token", password=""), ["piktid_default", "password", "login"]),
    "token in the extra": (
        connection(password="", extra={"token": "x"}),
        ["piktid_default", "'token'", "password"],
    ),
    "token with its scheme": (
        connection(password=f"Bearer {TOKEN}"),
        ["piktid_default", "password", "'Bearer'"],
    ),
    "wrong token": (connection(password="old"), ["piktid_default", "token"]),
    "v1 login for v2": (
        connection(lambda n: n.swap(project_id="p", images=["f"]), login="me@example.com", password="p"),
        ["piktid_default", "v1", "API token", "password"],
    ),
    "v1 login without its password": (
        connection(lambda n: n.person(), login="me@example.com", password=""),
        ["piktid_default", "password"],
    ),
    "wrong v1 password": (
        connection(lambda n: n.person(), login="me@example.com", password="wrong"),
        ["piktid_default", "login"],
    ),
    "host with a path": (
        lambda n: n.connect(host=n.server.url + "/docs").upload(),
        ["piktid_default", "host", "path"],
    ),
    "host without http": (
        lambda n: n.connect(host=n.server.url.removeprefix("http://")).upload(),
        ["piktid_default", "host", "http://"],
    ),
    "nobody at the host": (
        connection(lambda n: PiktidHook().get_conn().run(_ask), host=NOBODY),
        ["piktid_default", "127.0.0.1", "host"],
    ),
    "host is no address": (connection(host="ftp://files"), ["piktid_default", "host", "https://"]),
    "text for a number": (connection(extra={"timeout": "long"}), ["piktid_default", "'timeout'", "number"]),
    "zero for a limit": (connection(extra={"jobs_per_minute": 0}), ["piktid_default", "'jobs_per_minute'"]),
    # What is uploaded.
    "folder that is not there": (lambda n: n.upload("/data/shoots"), ["/data/shoots", "`images`"]),
    "home folder of the shell": (lambda n: n.upload("~/shoots"), ["`images`", "~"]),
    "glob in the wrong case": (lambda n: n.upload(f"{n.shoot}/*.JPG"), ["*.JPG", "case", "front.jpg"]),
    "folder without images": (
        lambda n: (n.write("texts/notes.txt", b""), n.upload(str(n.folder / "texts"))),
        ["texts", ".jpg", "`exclude`"],
    ),
    "everything excluded": (lambda n: n.upload(exclude="*.jpg"), ["1 excluded", "`exclude`"]),
    "text file named .jpg": (text_named_jpg, ["notes.jpg", "image"]),
    "text file by its name": (lambda n: n.upload(n.write("notes.txt", b"hello")), ["notes.txt", "image"]),
    "several paths in one text": (
        lambda n: n.upload(f"{n.shoot}/front.jpg, {n.shoot}/back.jpg"),
        ["`images`", "list"],
    ),
    "empty list of images": (lambda n: n.upload([]), ["images", "empty"]),
    "no images": (lambda n: n.upload(""), ["`images`", "empty"]),
    "images of a task that returned nothing": (
        lambda n: n.run(PiktidUploadImagesOperator, images=None, project_name="spring"),
        ["`images`", "None"],
    ),
    "number as images": (lambda n: n.upload(5), ["`images`", "5"]),
    "store without a connection": (lambda n: n.upload("s3://nobody@shoot/"), ["nobody", "`images`"]),
    "bucket that is not there": (lambda n: n.upload(n.no_bucket), ["nowhere", "`images`"]),
    "output in a bucket that is not there": (
        lambda n: n.download(output_path=n.no_bucket),
        ["nowhere", "output_path"],
    ),
    "unknown store": (lambda n: n.upload("s4://shoot/"), ["s4", "provider"]),
    "project without a name": (lambda n: n.upload(project_name=" "), ["project_name"]),
    "more images than allowed": (lambda n: n.upload(max_images=0), ["max_images", "1 images"]),
    "text as a limit": (lambda n: n.upload(max_images="ten"), ["max_images", "'ten'"]),
    # What is swapped.
    "one file id as images": (lambda n: n.swap(images="f1", project_id="p"), ["`images`", "list"]),
    "wrong XCom key for images": (
        lambda n: n.swap(images=None, project_id="p"),
        ["`images`", "None", 'upload.output["file_ids"]'],
    ),
    "file_ids forgotten": (
        lambda n: n.swap(images=(up := n.upload()), project_id=up["project_id"]),
        ["`images`", 'upload.output["file_ids"]'],
    ),
    "paths instead of file ids": (
        lambda n: n.swap(images=[f"{n.shoot}/front.jpg"]),
        ["front.jpg", "PiktidUploadImagesOperator"],
    ),
    "name of the project instead of its id": (
        lambda n: n.swap(project_id="spring"),
        ["`project_id`", "name"],
    ),
    "no project": (lambda n: n.swap(project_id=None), ["project_id", 'upload.output["project_id"]']),
    "typing error in the identity": (
        lambda n: n.swap(identity_code="PiktidSumer"),
        ["'PiktidSumer'", "`identity_code`", "PiktidSummer"],
    ),
    "no identity": (lambda n: n.swap(identity_code=""), ["identity_code"]),
    "unknown engine": (lambda n: n.swap(model="onda2"), ["model", "onda", "'onda2'"]),
    "too many variations": (lambda n: n.swap(num_variations=5), ["num_variations", "4"]),
    "variations in words": (lambda n: n.swap(num_variations="two"), ["num_variations", "'two'"]),
    "argument among the options": (
        lambda n: n.swap(swap_options={"model": "onda"}),
        ["swap_options", "model"],
    ),
    "text as a timeout": (lambda n: n.swap(timeout="1h"), ["timeout", "'1h'"]),
    "polling too often": (lambda n: n.swap(poll_interval=1), ["poll_interval", "3"]),
    "unknown choice": (lambda n: n.swap(on_lost_reply="retry"), ["on_lost_reply", "resubmit"]),
    "limit of images": (lambda n: n.swap(max_images=0), ["max_images"]),
    "limit of credits": (lambda n: n.swap(max_credits=0.5), ["max_credits", "0.5"]),
    "no credits": (
        without_credits,
        ["piktid_default", "credits"],
    ),
    "reuse without a place": (lambda n: n.swap(reuse=True), ["reuse", "`state_path`"]),
    # Identities that PiktID creates, and presets.
    "brief of nobody": (creation(instructions=[{}]), ["instructions[0]", "appearance", "prompt"]),
    "brief as text": (creation(instructions="a woman"), ["instructions", "list of mappings"]),
    "eleven briefs": (creation(instructions=[{"prompt": "a"}] * 11), ["11", "10"]),
    "typing error in a brief": (
        creation(instructions=[{"hair": {"colour": "red"}}]),
        ["instructions[0].hair", "'colour'", "'color'"],
    ),
    "nine drafts": (creation(instructions=[{"prompt": "a", "num_variations": 9}]), ["num_variations", "8"]),
    "four input assets": (
        creation(instructions=[{"prompt": "a", "input_assets": ["f"] * 4}]),
        ["input_assets", "3"],
    ),
    "unknown input asset": (
        creation(instructions=[{"prompt": "a", "input_assets": ["f"]}]),
        ["piktid_default", "input_assets.0", "Unknown file_id"],
    ),
    "yes to a promotion": (creation(promote=True), ["promote", "0", "True"]),
    "promotion of more drafts than asked for": (creation(promote=1), ["promote=1", "ask for 1"]),
    "promotion without a wait": (
        creation(promote=0, wait_for_completion=False),
        ["wait_for_completion", "PiktidPromoteIdentityOperator"],
    ),
    "budget without the promotion": (creation(promote=0, max_credits=50), ["max_credits=50", "55"]),
    "draft that does not exist": (promotion(draft=2), ["no draft 2", "there are 2", "`draft`"]),
    "draft by a word": (promotion(draft="first"), ["draft", "'first'", "0"]),
    "no drafts": (promotion(job_ids=[]), ["job_ids"]),
    "name of another identity": (
        lambda n: (promotion(name="Anna")(n), promotion(name="Anna", draft=1)(n)),
        ["piktid_default", "`name`"],
    ),
    "all files for a preset": (preset(file_id=["f1"]), ["file_id", "one file id"]),
    "unknown preset": (preset(preset_type="poster"), ["preset_type", "flat_2_model", "'poster'"]),
    # What is downloaded.
    "no jobs": (lambda n: n.download(job_ids=None), ["job_ids", "swap.output"]),
    "job of another account": (lambda n: n.download(job_ids=["job_1"]), ["job_1", "`job_ids`"]),
    "file ids as images of the download": (
        lambda n: n.download(job_ids=["job_1"], images=["f1"]),
        ["`images`", 'upload.output["images"]'],
    ),
    "whole upload as images of the download": (
        lambda n: n.download(job_ids=["job_1"], images=n.upload()),
        ["`images`", 'upload.output["images"]'],
    ),
    "no output path": (lambda n: n.download(output_path=""), ["output_path"]),
    "output on a missing connection": (
        lambda n: n.download(output_path="s3://nobody@out/"),
        ["nobody", "output_path", "connection"],
    ),
    "output path is a file": (file_as_output, ["output_path", "/out"]),
    # A refresh.
    "output within the source": (
        lambda n: n.plan(output_path=f"{n.shoot}/out"),
        ["`source`", "`output_path`"],
    ),
    "refresh without an image": (lambda n: n.plan(max_images=0), ["max_images", "dry_run"]),
    "source that is not there": (lambda n: n.plan(source="/data/shoots"), ["/data/shoots", "`source`"]),
    "identity of a refresh missing": (lambda n: n.plan(identity_code=None), ["identity_code", "Nothing was"]),
    "reference picture by its file id": (
        lambda n: n.plan(job_type=PiktidGarmentRecolorOperator.job_type, options={"reference_image": "id"}),
        ["reference_image", "file ids", "in words"],
    ),
    "packshots without a style": (
        lambda n: n.plan(job_type=PiktidPackshotOperator.job_type, options={"instructions": [{}]}),
        ["instructions[0]", "'style'"],
    ),
    "groups of a swap": (lambda n: n.plan(group_by="folder"), ["group_by", "model swap"]),
    "glob to group by": (
        lambda n: n.plan(job_type=PiktidPackshotOperator.job_type, options=PACKSHOTS, group_by="*.jpg"),
        ["group_by='*.jpg'", "regular expression"],
    ),
    "no folder to group by": (
        lambda n: n.plan(job_type=PiktidPackshotOperator.job_type, options=PACKSHOTS, group_by="folder"),
        ["shoot", "belong to no group", "front.jpg"],
    ),
    "word as a switch": (lambda n: n.plan(dry_run="maybe"), ["dry_run", "'maybe'"]),
    # Other operators.
    "folder as an identity": (several_faces, ["shoot", "one"]),
    "identity without a file": (
        lambda n: n.run(PiktidUploadIdentityOperator, image="/data/anna.jpg"),
        ["/data/anna.jpg", "`image`"],
    ),
    "unknown place of a person": (lambda n: n.person(keywords=["Oceanien"]), ["'Oceanien'", "Oceania"]),
    "person that is not in the picture": (lambda n: n.person(persons=[7]), ["persons", "7"]),
    "word for persons": (lambda n: n.person(persons="both"), ["persons", "'both'", "largest"]),
    "picture of a person missing": (
        lambda n: n.person(image="/data/street.jpg"),
        ["/data/street.jpg", "`image`"],
    ),
    "no picture of a person": (lambda n: n.person(image=None), ["image", "id_image"]),
    "unknown job to wait for": (
        unknown_job,
        ["job-id-from-the-dashboard", "`job_id`"],
    ),
    "all jobs in one sensor": (
        lambda n: n.run(PiktidJobSensor, job_id=["job_1", "job_2"]),
        ["`job_id`", "expand(job_id=swap.output)"],
    ),
    "output of the upload as jobs": (lambda n: n.download(job_ids=n.upload()), ["job_ids", "`swap.output`"]),
    "regenerate nothing": (
        lambda n: n.run(PiktidRegenerateOperator, job_ids=None, max_images=1),
        ["job_ids", "swap.output"],
    ),
    "webhook without https": (
        lambda n: PiktidHook().register_webhook("http://example.com/piktid/webhook"),
        ["https", "http://example.com"],
    ),
}


async def _ask(client: Any) -> Any:
    return await client.get_identity("PiktidSummer")


@pytest.mark.parametrize("name", MISTAKES)
def test_error_says_what_to_change(newcomer: Newcomer, name: str) -> None:
    """The error of a newcomer's mistake has one line, and names the connection, parameter or file to change."""
    mistake, words = MISTAKES[name]
    with pytest.raises((AirflowFailException, PiktidError)) as caught:
        mistake(newcomer)
    message = str(caught.value)
    assert [word for word in words if word not in message] == [], message
    assert "\n" not in message
    assert TOKEN not in message


def test_unknown_identity_is_named_without_a_list(newcomer: Newcomer) -> None:
    """If PiktID does not list the identities, the error names the one that does not exist all the same."""
    newcomer.server.fail("identities", "status", code=400)
    with pytest.raises(AirflowFailException, match=r"no identity 'PiktidSumer' in this account\. Correct"):
        newcomer.swap(identity_code="PiktidSumer")
    newcomer.server.assert_failures_happened()
