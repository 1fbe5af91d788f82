"""What JupyterLab asks of its own server below `/lab/api` (jupyter-surface.md 2.4). All in threads.

What is about extensions stands in `extensions.py`.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from aiohttp import web

from evstore.core.errors import Invalid
from evstore.core.units import MIB
from evstore.http.reply import json_object, json_reply, no_content, read_at_most
from evstore.http.services import services

if TYPE_CHECKING:
    from evstore.lab.lab import Lab

MAX_SAVED = 16 * MIB  # bytes of a setting or a workspace
# While a regular expression is matched, everything else waits; these are the ones that may never come to their end.
REPEATS, MAX_REPEATS = re.compile(r"[*+?{]"), 3
REPEATED_GROUP = re.compile(r"\)[*+?{]")
FORMATS = {"json": ".json", "csv": ".csv", "markdown": ".md"}


async def _lab(request: web.Request) -> Lab:
    return await services(request).lab.get()


async def settings(request: web.Request) -> web.Response:
    """GET /lab/api/settings: all of them, or with `?ids_only=true` their ids."""
    lab = await _lab(request)
    if request.query.get("ids_only") == "true":
        return json_reply(await asyncio.to_thread(lab.settings.ids))
    return web.Response(body=await asyncio.to_thread(lab.settings.all), content_type="application/json")


async def setting(request: web.Request) -> web.Response:
    """GET /lab/api/settings/{id}."""
    lab = await _lab(request)
    return json_reply(await asyncio.to_thread(lab.settings.one, request.match_info["name"]))


async def save_setting(request: web.Request) -> web.Response:
    """PUT /lab/api/settings/{id}: `{"raw": "..."}`, JSON5 that is kept word for word."""
    raw = (await json_object(request, required=True)).get("raw")
    if not isinstance(raw, str):
        raise Invalid("Invalid format for JSON payload. Must be in the form {'raw': ...}")
    lab = await _lab(request)
    await asyncio.to_thread(lab.settings.save, request.match_info["name"], raw)
    return no_content()


async def workspaces(request: web.Request) -> web.Response:
    """GET /lab/api/workspaces."""
    lab = await _lab(request)
    return json_reply(await asyncio.to_thread(lab.workspaces.all))


async def workspace(request: web.Request) -> web.Response:
    """GET /lab/api/workspaces/{id}: an empty one if there is none, so that the page starts."""
    lab = await _lab(request)
    return json_reply(await asyncio.to_thread(lab.workspaces.one, request.match_info["name"]))


async def save_workspace(request: web.Request) -> web.Response:
    """PUT /lab/api/workspaces/{id}."""
    raw = await read_at_most(request, MAX_SAVED)
    lab = await _lab(request)
    await asyncio.to_thread(lab.workspaces.save, request.match_info["name"], _text(raw))
    return no_content()


async def delete_workspace(request: web.Request) -> web.Response:
    """DELETE /lab/api/workspaces/{id}."""
    lab = await _lab(request)
    await asyncio.to_thread(lab.workspaces.delete, request.match_info["name"])
    return no_content()


async def translations(request: web.Request) -> web.Response:
    """GET /lab/api/translations: the languages that are installed."""
    lab = await _lab(request)
    return json_reply(await asyncio.to_thread(lab.translations.all))


async def translation(request: web.Request) -> web.Response:
    """GET /lab/api/translations/{locale}: always 200."""
    lab = await _lab(request)
    return json_reply(await asyncio.to_thread(lab.translations.one, request.match_info["locale"]))


async def licenses(request: web.Request) -> web.Response:
    """GET /lab/api/licenses: of all that runs in the browser, as `format` json, csv or markdown."""
    query = request.query
    kind = query.get("format", "json")
    if kind not in FORMATS:
        raise Invalid(f"format={kind!r}: must be one of {', '.join(FORMATS)}.")
    bundles = query.get("bundles", ".*")
    if len(REPEATS.findall(bundles)) > MAX_REPEATS or REPEATED_GROUP.search(bundles):
        raise Invalid(f"bundles={bundles!r:.60} could take for ever to match; a name, or .* will do.")
    try:
        re.compile(bundles)
    except re.error as error:
        raise Invalid(f"bundles={bundles!r} is not a regular expression: {error}.") from None
    full_text = query.get("full_text", "true") not in ("0", "false")
    lab = await _lab(request)
    report, mime = await asyncio.to_thread(lab.licenses.report, kind, bundles, full_text)
    name = f"jupyterlab-licenses{FORMATS[kind]}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'} if "download" in query else None
    return web.Response(text=report, content_type=mime, headers=headers)


def _text(raw: bytes) -> str:
    try:
        return raw.strip().decode()
    except UnicodeDecodeError:
        raise Invalid("The request's body is not UTF-8.") from None
