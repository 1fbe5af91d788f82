"""JupyterLab and Notebook: their pages, files, settings and workspaces, through Jupyter's own functions.

They come with the extra `lab`, and importing them takes a second. So nothing here is imported
before somebody asks for it: `LabLoader` does it then, in a thread.
"""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import TYPE_CHECKING

from evstore.config import Config
from evstore.core.errors import Unavailable
from evstore.core.notebooks.quick_import import import_quickly
from evstore.lab.apps import APPS, LAB, App

if TYPE_CHECKING:
    from evstore.lab.lab import Lab


class LabLoader:
    """Imports JupyterLab when it is first needed."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._turn = asyncio.Lock()
        self._lab: Lab | None = None
        self.installed = {app.name for app in APPS.values() if is_installed(app)}

    def has(self, app: App) -> bool:
        """Whether this front end is installed."""
        return app.name in self.installed

    async def get(self) -> Lab:
        """What the front ends share. Raises Unavailable when JupyterLab is not installed; Notebook needs it too."""
        if self._lab is None:
            if not self.has(LAB):
                raise Unavailable(f"{LAB.title} is not installed here; this installs it: {LAB.install}")
            async with self._turn:
                self._lab = self._lab or await asyncio.to_thread(self._load)
        return self._lab

    async def close(self) -> None:
        """End what was begun."""
        if self._lab is not None:
            await self._lab.extensions.close()

    def _load(self) -> Lab:
        return import_quickly("evstore.lab.lab").Lab(self._config)


def is_installed(app: App) -> bool:
    """Whether all that this front end consists of can be imported."""
    return all(map(find_spec, app.packages))
