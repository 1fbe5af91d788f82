"""Workspaces: the layouts of JupyterLab's windows, one file each."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jupyterlab_server.workspaces_handler import WORKSPACE_EXTENSION, WorkspacesManager, slugify

from evstore.core.errors import Invalid, NotFound
from evstore.lab.folders import written_whole

logger = logging.getLogger(__name__)
Workspace = dict[str, Any]


class Workspaces:
    """The workspaces in one folder. A file that can't be read counts as missing: the page must start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self) -> dict[str, Any]:
        """`{"workspaces": {"ids": [...], "values": [...]}}`."""
        files = sorted(self._folder.glob(f"*{WORKSPACE_EXTENSION}"))
        values = [workspace for path in files if (workspace := _load(path)) is not None]
        return {"workspaces": {"ids": [value["metadata"]["id"] for value in values], "values": values}}

    def one(self, name: str) -> Workspace:
        """The workspace, an empty one if it does not exist."""
        empty = {"data": {}, "metadata": {"id": name if name.startswith("/") else f"/{name}"}}
        return _load(self._folder / (slugify(name) + WORKSPACE_EXTENSION)) or empty

    def save(self, name: str, raw: str) -> None:
        """Keep `raw`, the JSON of a workspace that has `name` as its id. Raises Invalid."""
        try:
            if not isinstance(json.loads(raw)["data"], dict):
                raise ValueError("data must be an object")
            with written_whole(self._folder) as target:
                WorkspacesManager(str(target)).save(name, raw)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise Invalid(f"Not a workspace {name!r}: {error}") from None

    def delete(self, name: str) -> None:
        """Raises NotFound."""
        try:
            WorkspacesManager(str(self._folder)).delete(name)
        except FileNotFoundError as error:
            raise NotFound(str(error)) from None


def _load(path: Path) -> Workspace | None:
    try:
        workspace: Workspace = json.loads(path.read_text(encoding="utf-8"))
        stat = path.stat()
        times = {"last_modified": _iso(stat.st_mtime), "created": _iso(stat.st_ctime)}
        return workspace | {"metadata": {"id": workspace["metadata"]["id"]} | workspace["metadata"] | times}
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        logger.warning("The workspace in %s is left out, for it can't be read: %r", path, error)
        return None


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
