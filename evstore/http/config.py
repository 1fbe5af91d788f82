"""/api/config: what extensions keep for themselves (jupyter-surface.md 2.5)."""

from __future__ import annotations

import asyncio

from aiohttp import web

from evstore.http.reply import json_object, json_reply, no_content
from evstore.http.services import services


async def get(request: web.Request) -> web.Response:
    """GET /api/config/{name}"""
    sections = services(request).sections
    return json_reply(await asyncio.to_thread(sections.get, request.match_info["name"]))


async def put(request: web.Request) -> web.Response:
    """PUT /api/config/{name}: replace the section."""
    data = await json_object(request, required=True)
    await asyncio.to_thread(services(request).sections.replace, request.match_info["name"], data)
    return no_content()


async def patch(request: web.Request) -> web.Response:
    """PATCH /api/config/{name}: merge, null deletes; answers the user's section, without the defaults."""
    changes = await json_object(request, required=True)
    sections = services(request).sections
    return json_reply(await asyncio.to_thread(sections.update, request.match_info["name"], changes))
