# SPDX-License-Identifier: Apache-2.0
"""``make ui``: every example DAG ends well when it is clicked, also if all are clicked at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import EXAMPLE_DAGS, REPOSITORY
from tests.support.rest import AirflowRest, quoted
from tests.support.stack import free_port

pytestmark = [pytest.mark.slow, pytest.mark.stack]

CHROMIUM = Path("/usr/bin/chromium")
#: Without these it looks for Google's hosts at every start.
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
REFRESH, SUMMARY = "example_piktid_refresh", "piktid_refresh.summary"
#: This one asks a person.
APPROVAL = "example_piktid_approval"
#: For a machine that is busy; the start takes half a minute, the runs take one to two minutes.
SECONDS = 900.0


class Demo(AirflowRest):
    """A running ``demo ui``."""

    request_timeout = 120.0

    def __init__(self, process: subprocess.Popen[str], url: str, folder: Path) -> None:
        super().__init__(url)
        self._process = process
        self.folder = folder

    def check(self) -> None:
        assert self._process.poll() is None, "the demo ended by itself"

    def click(self, dag_id: str) -> str:
        """Trigger a DAG as the button does, which also switches it on; return the run's id."""
        self.call("PATCH", f"dags/{dag_id}", {"is_paused": False})
        return self.trigger(dag_id)

    def approve(self, run_id: str) -> None:
        """
        Press the button of the question that a run asks, when it has come to it.

        Not before the scheduler has seen the task's process end: Airflow would count a task that goes on before that as
        failed.
        """
        path = f"dags/{APPROVAL}/dagRuns/{quoted(run_id)}"
        questions = f"{path}/hitlDetails?response_received=false"
        self.wait(lambda: bool(self.get(questions)["hitl_details"]), "the question", seconds=SECONDS)
        log, ended = (
            self.folder.parent / "airflow.log",
            f"TaskInstance Finished: dag_id={APPROVAL}, task_id=approve,",
        )
        self.wait(lambda: ended in log.read_text(), "the process of the question to end", seconds=SECONDS)
        answer = {"chosen_options": ["Approve"], "params_input": {}}
        self.call("PATCH", f"{path}/taskInstances/approve/-1/hitlDetails", answer)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder, port = tmp_path_factory.mktemp("ui"), free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    process = subprocess.Popen(
        [sys.executable, "-m", "airflow_provider_piktid.demo", "ui", "--dags", str(EXAMPLE_DAGS)],
        cwd=folder,
        env=kept | {"PYTHONPATH": str(REPOSITORY), "PIKTID_UI_PORT": str(port), "HOME": str(folder)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        printed = []
        for line in process.stdout:
            printed.append(line)
            if line.startswith("stop:"):
                break
        else:
            pytest.fail("".join(printed))
        yield Demo(process, f"http://127.0.0.1:{port}", folder / ".piktid-ui" / "data")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        process.stdout.close()


@pytest.fixture(scope="module")
def states(demo: Demo) -> dict[str, str]:
    """The states in which the runs of all examples ended, after they were started at the same moment."""
    names = sorted(
        f"example_piktid_{path.stem.removeprefix('example_')}" for path in EXAMPLE_DAGS.glob("*.py")
    )
    demo.wait(
        lambda: {dag["dag_id"] for dag in demo.get("dags")["dags"]} >= set(names),
        "the examples",
        seconds=SECONDS,
    )
    with ThreadPoolExecutor(len(names)) as pool:
        runs = dict(zip(names, pool.map(demo.click, names), strict=True))
    demo.approve(runs[APPROVAL])
    return {dag_id: demo.wait_for_run(dag_id, run_id, seconds=SECONDS) for dag_id, run_id in runs.items()}


def test_every_example_succeeds_when_all_are_clicked_at_once(states: dict[str, str]) -> None:
    """No parameter has to be set, nothing is missing, and SQLite refuses no request."""
    assert set(states.values()) == {"success"}, states


def test_examples_write_outputs_where_their_docs_say(demo: Demo, states: dict[str, str]) -> None:
    """The folders of the default parameters have outputs."""
    expected = {"swapped": 3, "repaired": 3, "generated": 3, "anna": 3, "mapped": 6, "rescued": 1}
    expected |= {"created/drafts": 3, "created/swapped": 3, "styled": 2, "published": 3}
    found = {name: len([*(demo.folder / name).rglob("*.jpg")]) for name in expected}
    assert found == expected


def test_contact_sheet_opens_with_one_click(demo: Demo, states: dict[str, str], tmp_path: Path) -> None:
    """In Chromium, the button of the summary opens the sheet of a bucket; its pictures are there."""
    browser_kit = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright")
    if not CHROMIUM.exists():
        pytest.skip("needs Chromium, Debian's package chromium")
    (run,) = [run for run in demo.get(f"dags/{REFRESH}/dagRuns")["dag_runs"] if run["run_type"] == "manual"]
    with browser_kit.sync_playwright() as kit:
        browser = kit.chromium.launch(executable_path=str(CHROMIUM), args=SWITCHES)
        page = browser.new_page()
        page.set_default_timeout(SECONDS * 1000)
        page.goto(f"{demo.url}/dags/{REFRESH}/runs/{quoted(run['dag_run_id'])}/tasks/{SUMMARY}/details")
        page.get_by_role("link", name="Contact sheet").first.click()
        page.wait_for_selector("figure img")
        drawn = page.eval_on_selector_all("img", "pictures => pictures.map(picture => picture.naturalWidth)")
        page.screenshot(path=tmp_path / "sheet.png")
        browser.close()
    assert len(drawn) == 6
    assert all(drawn)
