# SPDX-License-Identifier: Apache-2.0
"""Run the example of generated persons once, on a real photograph, and check what came out."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from airflow_provider_piktid.demo import batch
from airflow_provider_piktid.demo.stage import DemoError, airflow, airflow_environment, print_end, service

DAG_ID = "example_piktid_generate_person"
KEYWORDS = 3


def run(dags: Path, images: Path | None, output: Path) -> int:
    """Run the DAG; 0 if every person and keyword has a picture that differs from the photograph."""
    batch.WORK.mkdir(exist_ok=True)
    photograph = own_photograph(images) if images is not None else two_persons(batch.WORK / "persons.jpg")
    target = output / "persons"
    # Results of an earlier run would hide that this one gave none.
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="airflow-", dir=batch.WORK) as home, service() as connection:
        print(f"image:     {photograph}")
        environment = airflow_environment(Path(home), dags) | connection
        log = batch.WORK / "airflow-person.log"
        log.unlink(missing_ok=True)
        params = {
            "image": str(photograph.resolve()),
            "output_path": str(target.resolve()),
            "persons": "all" if images is not None else "[0, 1]",
        }
        print(f"airflow:   running {DAG_ID}, log in {log}; the first request goes 15 s ahead of the others")
        airflow(["db", "migrate"], environment, log)
        airflow(["dags", "test", DAG_ID, "--conf", json.dumps(params)], environment, log)
        return report(target, photograph, log, persons=None if images is not None else 2)


def own_photograph(images: Path) -> Path:
    """Take the first photograph of a folder, or the file itself."""
    if images.is_file():
        return images
    found = sorted(path for path in images.rglob("*") if path.suffix.lower() in (*batch.SUFFIXES, ".webp"))
    if not found:
        raise DemoError(f"there is no photograph in {images}")
    return found[0]


def two_persons(path: Path) -> Path:
    """Make a photograph of two persons out of the one that scikit-image ships."""
    from PIL import Image
    from skimage import data

    person = Image.fromarray(data.astronaut())
    picture = Image.new("RGB", (person.width * 2, person.height))
    picture.paste(person, (0, 0))
    picture.paste(person.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (person.width, 0))
    picture.save(path, quality=92)
    return path


def report(target: Path, photograph: Path, log: Path, *, persons: int | None) -> int:
    """Print where everything is; 1 if anything is missing or shows nothing new."""
    files = sorted(path for path in target.glob("*_person*") if path.is_file())
    print(f"results:   {target}")
    for path in files:
        print(f"           {path.name}  {path.stat().st_size / 1000:.0f} kB")
    same = [path.name for path in files if not differs(path, photograph)]
    wanted = persons * KEYWORDS if persons else KEYWORDS
    if same or len(files) < wanted or (persons and len(files) != wanted) or len(files) % KEYWORDS:
        print_end(log)
        raise DemoError(
            f"{len(files)} of {wanted} results"
            + (f"; not different from the photograph: {', '.join(same)}" if same else "")
        )
    return 0


def differs(result: Path, photograph: Path) -> bool:
    """Whether two pictures differ visibly somewhere."""
    from PIL import Image, ImageChops

    with Image.open(result) as first, Image.open(photograph) as second:
        small = [picture.convert("RGB").resize((256, 256)) for picture in (first, second)]
    return any(ImageChops.difference(*small).convert("L").histogram()[32:])
