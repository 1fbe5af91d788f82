"""The small endpoints that are about the server itself."""

from __future__ import annotations

from importlib.metadata import version as version_of

from aiohttp import web

from evstore.http.reply import json_reply

VERSION = version_of("evstore")


async def version(request: web.Request) -> web.Response:
    """GET /api: the version and nothing more, for anybody who asks."""
    return json_reply({"version": VERSION})
