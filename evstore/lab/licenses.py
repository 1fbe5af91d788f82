"""The licenses of all that runs in the browser, as each bundle brings them along."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (jupyterlab_server comes without types)

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyterlab_server.config import get_federated_extensions
from jupyterlab_server.licenses_handler import LicensesManager

from evstore.lab.folders import Folders


class Licenses(LicensesManager):
    """jupyterlab_server's reports, told where our folders are: it would ask its server application.

    A bundle is a front end, by the name in `bundles`, or a federated extension.
    """

    def __init__(self, folders: Folders, bundles: dict[str, Path]) -> None:
        super().__init__()
        self._folders = folders
        self._bundles = bundles

    @property
    def federated_extensions(self) -> dict[str, Any]:
        own = {name: {"ext_path": str(path)} for name, path in self._bundles.items()}
        return own | get_federated_extensions(self._folders.labextensions_path)

    def app_static_info(self) -> tuple[Path | None, str | None]:
        return None, None  # the front ends are among the others, as there may be two
