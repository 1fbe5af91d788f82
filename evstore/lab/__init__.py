"""JupyterLab: its page, files, settings and workspaces, through jupyterlab's and jupyterlab_server's functions.

Both come with the extra `lab`, and importing them takes a second. So nothing here is imported
before somebody asks for it: `LabLoader` does it then, in a thread.
"""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from evstore.config import Config
from evstore.errors import Unavailable

if TYPE_CHECKING:
    from evstore.lab.lab import Lab

INSTALL = f"{sys.executable} -m pip install jupyterlab ipykernel"


class LabLoader:
    """Imports JupyterLab when it is first needed."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._turn = asyncio.Lock()
        self._lab: Lab | None = None
        self.installed = all(find_spec(name) for name in ("jupyterlab", "jupyterlab_server"))

    async def get(self) -> Lab:
        """JupyterLab. Raises Unavailable when it is not installed."""
        if self._lab is None:
            if not self.installed:
                raise Unavailable(f"JupyterLab is not installed here; this installs it: {INSTALL}")
            async with self._turn:
                self._lab = self._lab or await asyncio.to_thread(self._load)
        return self._lab

    def _load(self) -> Lab:
        return import_module("evstore.lab.lab").Lab(self._config)
