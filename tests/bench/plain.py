# SPDX-License-Identifier: Apache-2.0
"""The limit of transfers here: eight plain httpx streams at once, without checks, names, records or retries."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

from tests.bench.process import Meter

STREAMS = 8
HEADERS = {"Authorization": "Bearer piktid-emulator"}


def download(base: str, jobs: list[str], folder: str) -> dict[str, Any]:
    """Write every result of the jobs to a file, as it arrives."""
    import httpx

    async def main() -> int:
        gate = asyncio.Semaphore(STREAMS)

        async def links(job_id: str) -> list[str]:
            async with gate:
                answer = await client.get(f"{base}/jobs/{job_id}/results", headers=HEADERS)
            return [result["url"] for result in answer.json()["results"]]

        async def save(number: int, link: str) -> None:
            async with gate, client.stream("GET", link) as response:
                response.raise_for_status()
                with (Path(folder) / f"{number:04d}.jpg").open("wb") as out:
                    async for chunk in response.aiter_raw():
                        out.write(chunk)

        async with httpx.AsyncClient(timeout=60) as client:
            found = [link for job in await asyncio.gather(*map(links, jobs)) for link in job]
            await asyncio.gather(*(save(number, link) for number, link in enumerate(found)))
        return len(found)

    with Meter() as meter:
        files = asyncio.run(main())
    return meter.report(files=files)


def upload(base: str, folder: str) -> dict[str, Any]:
    """Upload every file of a folder; links are requested while other files are being sent."""
    import httpx

    name = uuid.uuid4().hex

    async def main() -> None:
        tickets, puts = asyncio.Semaphore(2 * STREAMS), asyncio.Semaphore(STREAMS)

        async def send(path: Path) -> None:
            async with tickets:
                body = {"project_name": name, "filename": path.name}
                ticket = (await client.post(f"{base}/upload", headers=HEADERS, json=body)).json()
                headers = {"Content-Type": ticket["content_type"]}
                async with puts:
                    answer = await client.put(
                        ticket["upload_url"], headers=headers, content=path.read_bytes()
                    )
                answer.raise_for_status()

        async with httpx.AsyncClient(timeout=60) as client:
            await client.post(f"{base}/project", headers=HEADERS, json={"project_name": name})
            await asyncio.gather(*map(send, sorted(Path(folder).iterdir())))

    with Meter() as meter:
        asyncio.run(main())
    return meter.report()
