"""JupyterLab's extension manager and plugin manager, and what is asked along with them (jupyter-surface.md 2.4).

Reading is always possible, and so is switching extensions and plugins off and on for oneself. What brings in
foreign code, installing, has to be allowed when the server is started.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from aiohttp import web

from evstore.core.errors import Invalid, NotFound, Unavailable, Unprocessable
from evstore.http.proxy import host_of, scheme_of
from evstore.http.reply import flag, json_object, json_reply
from evstore.http.services import services

if TYPE_CHECKING:
    from evstore.lab.lab import Lab

PER_PAGE, MAX_PER_PAGE = 30, 100  # as in JupyterLab
LISTING = "@jupyterlab/extensionmanager-extension/listings.json"
LISTED: dict[str, list[str]] = {
    "blocked_extensions_uris": [],
    "allowed_extensions_uris": [],
    "blocked_extensions": [],
    "allowed_extensions": [],
}
BUILD = "This server does not build JupyterLab; `jupyter lab build` does, and a reload shows the result."


async def _lab(request: web.Request) -> Lab:
    return await services(request).lab.get()


async def extensions(request: web.Request) -> web.Response:
    """GET /lab/api/extensions?query=&page=&per_page=&refresh=: the installed ones, or what a search finds."""
    query = request.query.get("query")
    page = _number(request, "page", 1)
    per_page = min(_number(request, "per_page", PER_PAGE), MAX_PER_PAGE)
    refresh = flag(request, "refresh", default=False)
    manager = (await _lab(request)).extensions
    if query is None:
        found, last = await manager.installed(refresh=refresh), 1
    else:
        found, last = await manager.available(query, page, per_page, refresh=refresh)
    links = _links(request, query, page, per_page, last)
    return json_reply(found, headers={"Link": links})


async def change_extension(request: web.Request) -> web.Response:
    """POST /lab/api/extensions `{"cmd", "extension_name", "extension_version"?}`: 201 when it is done."""
    body = await json_object(request, required=True)
    command, name = _command(body, "extension_name", ("install", "uninstall", "enable", "disable"))
    version = body.get("extension_version")
    if version is not None and not isinstance(version, str):
        raise Invalid("extension_version must be a string.")
    manager = (await _lab(request)).extensions
    if command == "install":
        result = await manager.install(name, version)
    elif command == "uninstall":
        result = await manager.uninstall(name)
    else:
        result = await manager.switch(name, on=command == "enable")
    return json_reply(result, status=201)


async def plugins(request: web.Request) -> web.Response:
    """GET /lab/api/plugins: which ones are locked."""
    lab = await _lab(request)
    return json_reply(await asyncio.to_thread(lab.plugins.locks))


async def change_plugin(request: web.Request) -> web.Response:
    """POST /lab/api/plugins `{"cmd": "enable" or "disable", "plugin_name"}`: 201 when it is done."""
    body = await json_object(request, required=True)
    command, name = _command(body, "plugin_name", ("enable", "disable"))
    lab = await _lab(request)
    return json_reply(await asyncio.to_thread(lab.plugins.switch, name, on=command == "enable"), status=201)


async def listing(request: web.Request) -> web.Response:
    """GET /lab/api/listings/...: no extension is blocked or singled out."""
    if request.match_info["path"] != LISTING:
        raise NotFound("There is no such listing.")
    return json_reply(LISTED)


async def build(request: web.Request) -> web.Response:
    """GET /lab/api/build: nothing to build; the bundle is the package's."""
    return json_reply({"status": "stable", "message": ""})


async def start_build(request: web.Request) -> web.Response:
    """POST /lab/api/build: 501. It takes Node.js and gigabytes, and extensions come built since JupyterLab 3."""
    raise Unavailable(BUILD)


async def cancel_build(request: web.Request) -> web.Response:
    """DELETE /lab/api/build: 404, for none runs."""
    raise NotFound(f"No build is running. {BUILD}")


async def news(request: web.Request) -> web.Response:
    """GET /lab/api/news: the server asks nobody on the internet."""
    return json_reply({"news": []})


async def update(request: web.Request) -> web.Response:
    """GET /lab/api/update: nor whether there is a newer JupyterLab."""
    return json_reply({"notification": None})


def _command(body: dict[str, Any], key: str, commands: tuple[str, ...]) -> tuple[str, str]:
    """What is to be done, and to what. Raises Unprocessable (422), as JupyterLab."""
    command, name = body.get("cmd"), body.get(key)
    if command not in commands or not isinstance(name, str) or not name:
        raise Unprocessable(f"cmd must be one of {', '.join(commands)}, and {key} a name.")
    return command, name


def _number(request: web.Request, name: str, default: int) -> int:
    """The query parameter `name`, from 1 on. Raises Invalid."""
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise Invalid(f"{name}={text!r:.40}: must be a number from 1 on.")
    return max(1, int(text))


def _links(request: web.Request, query: str | None, page: int, per_page: int, last: int) -> str:
    """The Link header (RFC 8288) of one page of `last`: absolute addresses, of which JupyterLab takes the page's number."""
    proxied = services(request).config.trust_proxy
    address = f"{scheme_of(request, proxied)}://{host_of(request, proxied)}{request.rel_url.raw_path}"
    pages = {"last": last, "prev": page - 1, "next": page + 1, "first": 1}
    asked = {"per_page": per_page} | ({} if query is None else {"query": query})
    return ", ".join(
        f'<{address}?{urlencode({"page": number} | asked)}>; rel="{relation}"'
        for relation, number in pages.items()
        if 1 <= number <= last
    )
