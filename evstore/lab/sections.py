"""`/api/config`: what extensions keep for themselves, a JSON object a section, where Jupyter keeps it."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (jupyter_server is typed in part)

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from jupyter_server.config_manager import BaseJSONConfigManager, recursive_update
from jupyter_server.services.config.manager import ConfigManager

from evstore.lab.folders import written_whole

Section = dict[str, Any]


class Sections:
    """The sections in the user's folder, over the defaults that packages install beside them."""

    def __init__(self, folder: Path, defaults: list[Path]) -> None:
        self._folder = folder
        self._all = ConfigManager(read_config_path=[str(folder), *map(str, defaults)])
        self._own = BaseJSONConfigManager(config_dir=str(folder))
        self._turn = threading.Lock()

    def get(self, name: str) -> Section:
        """The section, `{}` if nobody wrote it yet."""
        return self._all.get(name)

    def replace(self, name: str, section: Section) -> None:
        """Write the whole section."""
        with written_whole(self._folder) as target:
            (target / f"{name}.json").write_text(json.dumps(section, indent=2), encoding="utf-8")

    def update(self, name: str, changes: Section) -> Section:
        """Merge `changes` into the section: null deletes a key, and what is left empty disappears."""
        with self._turn:
            section: Section = self._own.get(name)
            recursive_update(section, changes)
            self.replace(name, section)
            return section
