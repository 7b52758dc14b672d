# SPDX-License-Identifier: Apache-2.0
"""The account's data in the v2 API."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

from ..blobs import content_type_of
from ..core import Core
from .delivery import Webhooks
from .entities import Identity, Project, StoredFile, ZipLink
from .ledger import Jobs
from .notification_store import V2Notifications
from .runner import Runner
from .tokens import Tokens

DEFAULT_IDENTITIES = ("PiktidSummer", "PiktidPremium")


class V2:
    """
    Projects, files, identities, jobs, notifications, webhook and tokens of the account.

    :param core: Shared with v1.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self.notifications = V2Notifications(core)
        self.webhooks = Webhooks(core)
        self.notifications.listeners.append(self.webhooks.deliver)
        self.tokens = Tokens(core)
        self.jobs = Jobs(core)
        self.runner = Runner(core, self.jobs, self.notifications)
        self.clear()

    def clear(self) -> None:
        """Remove everything but the default identities."""
        self.projects: dict[str, Project] = {}
        self.files: dict[str, StoredFile] = {}
        self.identities: dict[str, Identity] = {}
        self.zips: dict[str, ZipLink] = {}
        #: Number of a promoted draft to the code of its identity.
        self.promoted: dict[int, str] = {}
        #: Extracted presets with their prices, as JSON values, oldest first.
        self.presets: list[dict[str, Any]] = []
        self._numbers = itertools.count(7)
        self.notifications.clear()
        self.webhooks.clear()
        self.tokens.clear()
        self.jobs.clear()
        now = self._core.clock.time()
        for code in DEFAULT_IDENTITIES:
            self.identities[code] = Identity(code, code, now, now, visibility="default", created_by="piktid")

    def close(self) -> None:
        """Close the open streams."""
        self.notifications.close()

    def add_project(self, name: str) -> Project:
        """Create a project."""
        project = Project(f"prj-{uuid.uuid4().hex[:16]}", next(self._numbers), name, self._core.clock.time())
        self.projects[project.key] = project
        return project

    def project_named(self, name: str) -> Project | None:
        """Return the project with this name."""
        return next((p for p in self.projects.values() if p.name == name), None)

    def find_project(self, key: str) -> Project | None:
        """Return the project with this string id; the integer id is not accepted."""
        return self.projects.get(key)

    def add_file(self, filename: str, project: Project | None) -> StoredFile:
        """Create an upload without content."""
        now = self._core.clock.time()
        expires = now + self._core.settings.upload_link_seconds
        file = StoredFile(str(uuid.uuid4()), filename, content_type_of(filename), now, expires, project)
        self.files[file.file_id] = file
        return file

    def identity_named(self, name: str) -> Identity | None:
        """Return the account's own identity with this name."""
        return next(
            (i for i in self.identities.values() if i.visibility == "private" and i.name == name), None
        )
