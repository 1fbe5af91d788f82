"""What JupyterLab tells about itself: licenses, and the extensions that are installed. Read-only."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (jupyterlab comes without types)

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jupyterlab.commands import AppOptions
from jupyterlab.extensions.readonly import ReadOnlyExtensionManager
from jupyterlab_server.config import get_federated_extensions
from jupyterlab_server.licenses_handler import LicensesManager

from evstore.lab.folders import Folders

MANAGER = {"name": "read-only", "can_install": False, "install_path": None}


class About:
    """Slow to make (half a second for the extensions), and asked for rarely."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    def extensions(self) -> list[dict[str, Any]]:
        """The installed extensions, as the extension manager lists them."""
        folders = self._folders
        options: Any = AppOptions(app_dir=str(folders.app), labextensions_path=folders.labextensions_path)
        listing = ReadOnlyExtensionManager(options).list_extensions(None)
        found, _ = asyncio.run(listing)
        return [asdict(extension) for extension in found]

    def licenses(self, report_format: str, bundles: str, full_text: bool) -> tuple[str, str]:
        """The licenses of all that runs in the browser: the report and its MIME type.

        `report_format`: json, csv or markdown; `bundles`: a regular expression. Raises ValueError.
        """
        return _Licenses(self._folders).report(report_format, bundles, full_text)


class _Licenses(LicensesManager):
    """jupyterlab_server's, told where our folders are: it would ask its server application."""

    def __init__(self, folders: Folders) -> None:
        super().__init__()
        self._folders = folders

    @property
    def federated_extensions(self) -> dict[str, Any]:
        return get_federated_extensions(self._folders.labextensions_path)

    def app_static_info(self) -> tuple[Path | None, str | None]:
        static = self._folders.static
        package = static / "package.json"
        if not package.is_file():
            return None, None
        return static, str(json.loads(package.read_text(encoding="utf-8"))["name"])
