"""The paths that a request is about: what may be read, what may be written. Hidden names are neither."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from evstore.core.errors import Invalid, NotFound
from evstore.core.paths import ContentPath


def content_path(request: web.Request) -> ContentPath:
    """The path that a request wants to change. Raises Invalid for hidden ones."""
    return visible(request.match_info["path"], "path")


def readable(raw: str) -> ContentPath:
    """A path that a request wants to read. Raises NotFound for hidden ones: for readers they don't exist."""
    path = ContentPath.parse(raw)
    if path.hidden:
        raise NotFound(f"No such file or directory: {path}")
    return path


def visible(raw: Any, what: str) -> ContentPath:
    """A path out of a request's body. Raises Invalid for a hidden one, or when it is no string."""
    if not isinstance(raw, str):
        raise Invalid(f"{what} must be a path.")
    path = ContentPath.parse(raw)
    if path.hidden:
        raise Invalid(f"{path}: hidden files and directories are not served.")
    return path
