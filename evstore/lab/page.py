"""The page that starts JupyterLab: its own index.html with the configuration that its scripts read."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (jupyterlab comes without types)

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from jupyter_server import version_info
from jupyterlab import __version__
from jupyterlab_server.config import get_page_config

from evstore.config import Config
from evstore.lab.about import MANAGER
from evstore.lab.folders import Folders

URLS = {
    "appUrl": "lab",
    "labextensionsUrl": "lab/extensions",
    "licensesUrl": "lab/api/licenses",
    "listingsUrl": "lab/api/listings",
    "settingsUrl": "lab/api/settings",
    "themesUrl": "lab/api/themes",
    "translationsApiUrl": "lab/api/translations",
    "treeUrl": "lab/tree",
    "workspacesApiUrl": "lab/api/workspaces",
}


# nbdime brings this one along; its other half is an extension of jupyter_server, and not here.
WITHOUT_SERVER = frozenset(("nbdime-jupyterlab",))
# It would ask whether it may fetch news, and this server asks nobody on the internet.
DISABLED = ["@jupyterlab/apputils-extension:announcements"]


class Page:
    """index.html, rendered anew for each visit, for extensions come and go."""

    def __init__(self, folders: Folders, config: Config) -> None:
        self._folders = folders
        self._config = config
        self._loads = count()
        environment = Environment(loader=FileSystemLoader(folders.static), autoescape=True)
        self._template = environment.get_template("index.html")

    def html(self, untracked: list[str], **of_address: str) -> str:
        """The page. `of_address`: what the address says (`mode`, `workspace`, `treePath`, `notFoundUrl`)."""
        page_config = self.config() | {"untracked_message_types": untracked} | of_address
        return self._template.render(
            page_config=page_config, base_url=self._config.base_url, ws_url="", custom_css=False
        )

    def config(self) -> dict[str, Any]:
        """The page config but for what depends on the address.

        There is no token in it: the cookie lets the page in, and a script that got
        into the page finds nothing to take away (CVE-2026-40171).
        """
        url = self._config.url
        return {
            **{key: f"/{path}" for key, path in URLS.items()},
            **{f"full{key[0].upper()}{key[1:]}": url(path) for key, path in URLS.items()},
            "fullStaticUrl": url("static/lab"),
            "appName": "JupyterLab",
            "appNamespace": "lab",
            "appVersion": __version__,
            "notebookVersion": json.dumps(version_info[:3]),  # the API that we speak; a string of JSON
            "token": "",
            "store_id": next(self._loads),
            "serverRoot": _with_tilde(self._config.folder),
            "preferredPath": "/",
            "terminalsAvailable": False,
            "allow_hidden_files": False,
            "delete_to_trash": True,  # what is deleted can be brought back
            "quitButton": True,
            "notebookStartsKernel": True,
            "copyAbsolutePath": False,
            "cacheFiles": False,
            "devMode": False,
            "exposeAppInBrowser": False,
            "buildAvailable": False,
            "buildCheck": False,
            "extensionManager": MANAGER,
            "news": {"disabled": True},
            "ignorePlugins": [],
            **self._installed(),
        }

    def _installed(self) -> dict[str, Any]:
        """The federated extensions, and what they or the user's configuration switch on and off."""
        found = get_page_config(self._folders.labextensions_path, str(self._folders.app_settings))
        extensions = found["federated_extensions"]
        return found | {
            "federated_extensions": [each for each in extensions if each["name"] not in WITHOUT_SERVER],
            "disabledExtensions": found["disabledExtensions"] + DISABLED,
        }


def _with_tilde(folder: Path) -> str:
    """The folder as JupyterLab shows it."""
    folder = folder.resolve()
    home = Path.home()
    return f"~/{folder.relative_to(home).as_posix()}" if folder.is_relative_to(home) else folder.as_posix()
