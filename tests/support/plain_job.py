# SPDX-License-Identifier: Apache-2.0
"""
Start jobs as a script without Airflow does, with httpx alone; print their ids.

Usage: ``plain_job.py URL TOKEN PROJECT COUNT IMAGE``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import httpx


def main(url: str, token: str, project: str, count: int, image: Path) -> None:
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False) as piktid:
        created = piktid.post("/project", json={"project_name": project})
        project_id = created.json()["project_id"]
        ticket = piktid.post("/upload", json={"filename": image.name}).raise_for_status().json()
        headers = {"Content-Type": ticket["content_type"]}
        content = image.read_bytes()
        httpx.put(ticket["upload_url"], content=content, headers=headers, trust_env=False).raise_for_status()
        for _ in range(count):
            body = {
                "identity_code": "PiktidSummer",
                "project_id": project_id,
                "images": [ticket["file_id"]],
                "post_process": False,
            }
            print(piktid.post("/model-swap", json=body).raise_for_status().json()["job_id"], flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), Path(sys.argv[5]))
