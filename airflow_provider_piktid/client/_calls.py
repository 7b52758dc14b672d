# SPDX-License-Identifier: Apache-2.0
"""What the calls of the v2 client have in common: one model, or a listing page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final, TypeVar

from pydantic import BaseModel

from airflow_provider_piktid.client import _build as build
from airflow_provider_piktid.client._http import AsyncClient
from airflow_provider_piktid.client._parse import Answer, as_model, as_models, has_next_page
from airflow_provider_piktid.exceptions import PiktidConflictError
from airflow_provider_piktid.models import Project, PromotedIdentity

M = TypeVar("M", bound=BaseModel)

MAX_PAGES: Final = 10_000


class ApiCalls(AsyncClient):
    """A client whose answers are models."""

    async def _find_project(self, name: str) -> Project | None:
        async for project in self._pages(build.list_projects, Project, "projects"):
            if project.project_name == name:
                return project
        return None

    async def _model(self, request: build.Request, model: type[M], **defaults: object) -> M:
        return await self._http.call(request, lambda answer: as_model(answer, model, **defaults))

    async def _pages(
        self, request: Callable[[int], build.Request], model: type[M], key: str
    ) -> AsyncIterator[M]:
        """List page by page; stop if the server repeats the same page."""
        last = b""
        for page in range(1, MAX_PAGES + 1):

            def parse(answer: Answer, page: int = page) -> tuple[list[M], bool, bytes]:
                items = as_models(answer, model, key)
                more = has_next_page(answer, page, len(items), build.PAGE_SIZE)
                return items, more, answer.content

            items, more, content = await self._http.call(request(page), parse)
            if content == last:
                return
            for item in items:
                yield item
            if not more:
                return
            last = content


def existing_project(conflict: PiktidConflictError, name: str) -> Project | None:
    """Return the project that a 409 names by its text id; job requests do not take its number."""
    body = conflict.body or {}
    for key in (body.get("project_key"), body.get("project_id")):
        if isinstance(key, str) and key:
            return Project(project_id=key, project_name=name)
    return None


def nothing(answer: Answer) -> None:
    """Accept any success, whatever its body."""


def promoted_before(conflict: PiktidConflictError) -> PromotedIdentity | None:
    """
    Return the identity of a draft that a 409 says was promoted before.

    Only ``identity_code`` says so: a 409 about a name that is taken may name another identity under another key.
    """
    code = (conflict.body or {}).get("identity_code")
    if not isinstance(code, str) or not code.strip():
        return None
    return PromotedIdentity(identity_code=code, promoted_before=True)
