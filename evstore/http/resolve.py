"""/api/resolvePath: where a path leads that a program printed, in a traceback for example.

Two scopes, as in jupyter_server: `server`, a path below the served folder, and `kernel`, a file
as the kernel sees it from its own folder.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from aiohttp import web

from evstore.core.errors import Invalid, NotFound
from evstore.core.paths import ContentPath
from evstore.http.reply import json_reply
from evstore.http.services import services


async def resolve(request: web.Request) -> web.Response:
    """GET /api/resolvePath?path=&kernel=: `{"resolved": [{scope, path}], "unresolved"?: [...]}`."""
    path = request.query.get("path")
    if not path:
        raise Invalid("Tell which path to resolve: ?path=...")
    service = services(request)
    resolved: list[dict[str, str]] = []
    reply: dict[str, Any] = {"resolved": resolved}
    below = api_path(path, service.config.folder)
    if below is not None and not below.hidden and await service.contents.exists(below):
        resolved.append({"scope": "server", "path": below})
    if kernel_id := request.query.get("kernel"):
        kernel = service.kernels.find(kernel_id)
        if kernel is None:
            reason = f"Kernel {kernel_id} could not be found"
            reply["unresolved"] = [{"scope": "kernel", "reason": reason}]
        elif service.config.gateway is not None:
            reason = f"Kernel {kernel_id} runs at a gateway, where files can't be looked at"
            reply["unresolved"] = [{"scope": "kernel", "reason": reason}]
        elif (found := await asyncio.to_thread(on_disk, path, kernel.folder)) is not None:
            resolved.append({"scope": "kernel", "path": found})
    return json_reply(reply)


def api_path(path: str, folder: Path) -> ContentPath | None:
    """`path` as a path below the served `folder`; None when it leads elsewhere."""
    try:
        expanded = os.path.expanduser(path)
    except ValueError:  # a name that no user can have
        return None
    root = os.path.abspath(folder)
    if os.path.isabs(expanded):
        normal = os.path.normpath(expanded)
        if normal == root or normal.startswith(root + os.sep):
            expanded = normal[len(root) :]
        elif expanded != path:  # somewhere else in the home folder
            return None
    try:
        return ContentPath.parse(expanded.replace(os.sep, "/"))
    except NotFound:
        return None


def on_disk(path: str, folder: Path) -> str | None:
    """The file that `path` means for a program that runs in `folder`, if there is one."""
    try:
        file = (folder / os.path.expanduser(path)).resolve()
        return file.as_posix() if file.exists() else None
    except (OSError, ValueError):  # a name that no file can have
        return None
