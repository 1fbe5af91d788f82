"""JupyterLab's page and its files. What belongs to its own API stands in `labapi.py`.

The page comes from the `jupyterlab` package; without that, a page says what to install.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from evstore.core.errors import NotFound
from evstore.http.auth import DOORMAN
from evstore.http.pages import page as own_page
from evstore.http.redirect import without_slashes
from evstore.http.services import services
from evstore.http.static import check_names, file_response, find_file
from evstore.lab.apps import LAB, App
from evstore.lab.styles import with_absolute_urls

if TYPE_CHECKING:
    from evstore.lab.page import Pages


async def page(request: web.Request) -> web.StreamResponse:
    """GET /lab, /doc and all below: the page that starts JupyterLab, and finds its way from the address."""
    service = services(request)
    base_url = service.config.base_url
    if not service.lab.has(LAB):
        return not_installed(request, LAB)
    found = request.match_info
    if request.path.endswith("/"):
        return without_slashes(request)
    if found.get("rest", "").startswith(("api/", "extensions/")):
        raise NotFound(f"There is nothing at {request.path}")
    of_address = {
        "mode": "single-document" if request.path.startswith(f"{base_url}doc") else "multiple-document",
        "workspace": found.get("workspace", "default"),
        "treePath": found.get("tree", ""),
    }
    if "rest" in found:
        of_address["notFoundUrl"] = request.path
    lab = await service.lab.get()
    return await render(request, lab.pages, "index.html", **of_address)


async def render(request: web.Request, pages: Pages, template: str, **of_address: str) -> web.Response:
    """A page of a front end, with the cookie that its scripts need."""
    html = await asyncio.to_thread(
        pages.html, template, sorted(services(request).kernels.untracked), **of_address
    )
    request.app[DOORMAN].xsrf(request)
    return web.Response(text=html, content_type="text/html", headers={"Cache-Control": "no-cache"})


def not_installed(request: web.Request, app: App) -> web.Response:
    """The page in its place: what to install."""
    base_url = services(request).config.base_url
    return own_page("noapp", base_url=base_url, status=501, title=app.title, command=app.install)


async def bundle(request: web.Request) -> web.StreamResponse:
    """GET /static/lab/...: JupyterLab's scripts and styles."""
    lab = await services(request).lab.get()
    return file_response(find_file(lab.folders.static, request.match_info["path"]))


async def extension(request: web.Request) -> web.StreamResponse:
    """GET /lab/extensions/...: a file of a federated extension.

    An extension under development is a link to its sources, and what counts is that nothing
    outside of these is served; so its name comes off the path first.
    """
    path = request.match_info["path"]
    check_names(path)
    names = path.split("/")
    depth = 2 if path.startswith("@") else 1
    lab = await services(request).lab.get()
    roots = [root.joinpath(*names[:depth]) for root in lab.folders.extensions]
    return file_response(find_in(roots, "/".join(names[depth:])))


async def theme(request: web.Request) -> web.StreamResponse:
    """GET /lab/api/themes/...: a theme's file; relative addresses in style sheets are made absolute."""
    lab = await services(request).lab.get()
    path = request.match_info["path"]
    found = find_in(await asyncio.to_thread(lab.theme_folders), path)
    if found.suffix != ".css":
        return file_response(found)
    base = services(request).config.url(f"lab/api/themes/{path.rpartition('/')[0]}")
    css = with_absolute_urls(await asyncio.to_thread(found.read_text, "utf-8"), base)
    return web.Response(text=css, content_type="text/css", headers={"Cache-Control": "no-cache"})


def find_in(roots: Iterable[Path], path: str) -> Path:
    """The file in the first of `roots` that has it. Raises NotFound."""
    check_names(path)
    for root in roots:
        if (root / path).is_file():
            return find_file(root, path)
    raise NotFound(f"No such file: {path!r}")
