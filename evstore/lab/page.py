"""The pages that start a front end: its own templates with the configuration that its scripts read."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (jupyterlab comes without types)

from __future__ import annotations

import json
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from jupyter_server import version_info

from evstore.config import Config
from evstore.lab.apps import NOTEBOOK, App
from evstore.lab.extensions import manager_metadata
from evstore.lab.plugins import Plugins

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


class Pages:
    """The pages of one front end, rendered anew for each visit, for extensions come and go."""

    def __init__(self, app: App, templates: Path, plugins: Plugins, config: Config) -> None:
        self._app = app
        self._plugins = plugins
        self._config = config
        self._loads = count()
        self._version = version(app.packages[-1])
        self._environment = Environment(loader=FileSystemLoader(templates), autoescape=True)

    def html(self, template: str, untracked: list[str], **of_address: str) -> str:
        """One page. `of_address`: what the address says (`mode`, `workspace`, `treePath`, `notFoundUrl`)."""
        page_config = self.config() | {"untracked_message_types": untracked} | of_address
        return self._environment.get_template(template).render(
            page_config=page_config,
            base_url=self._config.base_url,
            ws_url="",
            custom_css=self._app is NOTEBOOK,  # JupyterLab has none unless asked to, as in Jupyter
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
            "fullStaticUrl": url(f"static/{self._app.name}"),
            "frontendUrl": self._config.base_url,
            "appName": self._app.title,
            "appNamespace": self._app.name,
            "appVersion": self._version,
            "notebookVersion": json.dumps(version_info[:3]),  # the API that we speak; a string of JSON
            "token": "",
            "store_id": next(self._loads),
            "serverRoot": _with_tilde(self._config.folder),
            "preferredPath": "/",
            "terminalsAvailable": self._config.terminals,
            "nbclassic_enabled": False,
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
            "extensionManager": manager_metadata(self._config),
            "news": {"disabled": True},
            "ignorePlugins": [],
            **self._plugins.page_config(),
        }


def _with_tilde(folder: Path) -> str:
    """The folder as the front ends show it."""
    folder = folder.resolve()
    home = Path.home()
    return f"~/{folder.relative_to(home).as_posix()}" if folder.is_relative_to(home) else folder.as_posix()
