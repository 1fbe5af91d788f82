"""Which extensions a page loads, which plugins are switched off, and which may not be switched from it.

Kept where JupyterLab keeps it for a user, `labconfig/page_config.json`, so that `jupyter labextension list` says the same.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (jupyterlab_server comes without types)

from __future__ import annotations

import json
import logging
import re
import threading
from dataclasses import asdict
from typing import Any, cast

from jupyterlab.extensions.manager import ActionResult
from jupyterlab_server.config import get_federated_extensions, get_page_config, get_static_page_config

from evstore.core.errors import Forbidden, Invalid, NotFound, Unprocessable
from evstore.lab.folders import Folders, written_whole

logger = logging.getLogger(__name__)

# It would ask whether it may fetch news, and this server asks nobody on the internet.
DISABLED = ("@jupyterlab/apputils-extension:announcements",)
FILE = "page_config.json"
KEY = "disabledExtensions"
_NAME = re.compile(r"[!-~]{1,200}")


class Plugins:
    """The switches. All methods read the disk: call them in a thread."""

    def __init__(self, folders: Folders) -> None:
        self._path = folders.labextensions_path
        self._app_settings = str(folders.app_settings)
        self._folder = folders.labconfig
        self._turn = threading.Lock()

    def extensions(self) -> set[str]:
        """The names of the installed extensions."""
        return set(get_federated_extensions(self._path))

    @property
    def without_server(self) -> set[str]:
        """The extensions that could only complain here, as their other half belongs into jupyter_server."""
        return {
            name
            for name, extension in get_federated_extensions(self._path).items()
            if "server" in extension["jupyterlab"].get("discovery", {})
        }

    def page_config(self) -> dict[str, Any]:
        """The federated extensions to load, and what they or any configuration switch on and off."""
        found = get_page_config(self._path, self._app_settings)
        off = dict.fromkeys(found["disabledExtensions"], True) | self._own_switches()
        halves = self.without_server
        return found | {
            "federated_extensions": [
                each for each in found["federated_extensions"] if each["name"] not in halves
            ],
            "disabledExtensions": [*(name for name, disabled in off.items() if disabled), *DISABLED],
        }

    def locks(self) -> dict[str, Any]:
        """What the plugin manager asks for: plugins, and extensions with all of theirs, that stay as they are."""
        configured = get_static_page_config(level="all").get("lockedExtensions", {})
        rules = {name for name, locked in configured.items() if locked}
        return {"lockRules": sorted(rules | self.without_server | set(DISABLED)), "allLocked": False}

    def switch_extension(self, name: str, *, on: bool) -> dict[str, Any]:
        """Enable or disable all plugins of an extension. Raises NotFound, Forbidden, Unprocessable."""
        if name not in self.extensions():
            raise NotFound(f"No such extension is installed: {name!r:.80}")
        return self.switch(name, on=on)

    def switch(self, name: str, *, on: bool) -> dict[str, Any]:
        """Enable or disable a plugin, when the page is loaded the next time. Raises Invalid, Forbidden, Unprocessable."""
        if not _NAME.fullmatch(name):
            raise Invalid("That can't be the name of a plugin.")
        rules = set(self.locks()["lockRules"])
        extensions = {rule.partition(":")[0] for rule in rules}
        if name in rules or name.partition(":")[0] in (rules if ":" in name else extensions):
            raise Forbidden(f"{name} is locked: it can't be switched on or off from the page.")
        with self._turn:
            self._write(name, on)
        return asdict(ActionResult(status="ok", needs_restart=["frontend"]))

    def _write(self, name: str, on: bool) -> None:
        try:
            own = self._own()
        except ValueError:
            raise Unprocessable(f"Your {FILE} can't be read: mend it, or delete it, first.") from None
        text = json.dumps(own | {KEY: _switches(own) | {name: not on}}, indent=2)
        with written_whole(self._folder) as target:
            (target / FILE).write_text(text, encoding="utf-8")

    def _own_switches(self) -> dict[str, bool]:
        """The user's. A file that can't be read counts as missing: the page must start."""
        try:
            return _switches(self._own())
        except ValueError as error:
            logger.warning("%s is left out, for it can't be read: %s", self._folder / FILE, error)
            return {}

    def _own(self) -> dict[str, Any]:
        """What the user's file says. Raises ValueError when that is no object."""
        file = self._folder / FILE
        found: object = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        if not isinstance(found, dict):
            raise ValueError("it is no object")
        return cast(dict[str, Any], found)


def _switches(config: dict[str, Any]) -> dict[str, bool]:
    """What a page config says of names: whether they are disabled."""
    found: object = config.get(KEY)
    return cast(dict[str, bool], found) if isinstance(found, dict) else {}
