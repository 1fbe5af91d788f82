"""Static files: our own few, and whatever else lies in folders that ship with a package.

A path is checked name by name and once more after links are resolved, so that nothing outside
of the folder is ever served (CVE-2024-35178, S26).
"""

from __future__ import annotations

import re
from pathlib import Path

from aiohttp import web

from evstore.core.errors import NotFound

OWN = Path(__file__).parent / "assets"
_HASHED = re.compile(r"(?:^|[.-])[0-9a-f]{16,}\.")  # a name that changes with its content
_TYPES = {  # systems disagree on these
    ".css": "text/css",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}


async def favicon(request: web.Request) -> web.StreamResponse:
    """GET /favicon.ico: what browsers ask for on their own."""
    return file_response(OWN / "favicons" / "favicon.ico")


async def own_file(request: web.Request) -> web.StreamResponse:
    """GET /static/...: the icons, and the look of our own pages."""
    return file_response(find_file(OWN, request.match_info["path"]))


def find_file(folder: Path, path: str) -> Path:
    """The file at `path` below `folder`. Raises NotFound unless it is a regular file in there."""
    check_names(path)
    found = folder / path
    if not found.is_file() or not found.resolve().is_relative_to(folder.resolve()):
        raise NotFound(f"No such file: {path!r}")
    return found


def check_names(path: str) -> None:
    """Raise NotFound unless `path` can only lead downwards."""
    if any(name in ("", ".", "..") for name in path.split("/")) or re.search(r"[\\:\0]", path):
        raise NotFound(f"No such file: {path!r}")


def file_response(path: Path) -> web.FileResponse:
    """The file, to be kept for good when its name holds a hash, else asked about each time."""
    hashed = _HASHED.search(path.name)
    response = web.FileResponse(path)
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if hashed else "no-cache"
    if kind := _TYPES.get(path.suffix):
        response.content_type = kind
    return response
