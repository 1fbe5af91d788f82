"""Notebook 7: its pages, and the files that are its own. All else it shares with JupyterLab (`lab.py`, `labapi.py`).

A page finds out from its address what it shows; what is decided here, as notebook/app.py does, is only
whether there is a page of that kind for a path, or another one. Notebook asks for a path percent-encoded as a
whole (`/notebooks/folder%2Fa.ipynb`), which means the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from aiohttp import web

from evstore.core.errors import NotFound, Unavailable
from evstore.core.paths import ContentPath
from evstore.http.lab import find_in, not_installed, render
from evstore.http.paths import readable
from evstore.http.redirect import redirect, without_slashes
from evstore.http.services import services
from evstore.http.static import OWN, file_response
from evstore.lab.apps import NOTEBOOK

if TYPE_CHECKING:
    from evstore.lab.lab import Notebook


async def tree_page(request: web.Request) -> web.Response:
    """GET /tree/{path}: the page of a directory; a notebook's and any other file's address is another one."""
    path = readable(request.match_info["path"])
    entry = (await services(request).contents.get(path)).entry
    if entry.is_directory:
        return await _page(request, "tree", treePath=path)
    return _to(request, "notebooks" if path.name.endswith(".ipynb") else "files", path)


async def notebooks_page(request: web.Request) -> web.Response:
    """GET /notebooks/{path}: the page of a notebook; a directory's is /tree.

    A notebook that does not exist has a page too: it says so, and is where one lands whose notebook was just renamed.
    """
    path = readable(request.match_info.get("path", ""))
    entry = await services(request).contents.exists(path)
    if entry is not None and entry.is_directory:
        return _to(request, "tree", path)
    if request.path.endswith("/"):
        return without_slashes(request)
    return await _page(request, "notebooks")


async def edit_page(request: web.Request) -> web.Response:
    """GET /edit/{path}: the page of a text file."""
    return await _page(request, "edit")


async def console_page(request: web.Request) -> web.Response:
    """GET /consoles/{path}: the page of a console."""
    return await _page(request, "consoles")


async def terminal_page(request: web.Request) -> web.Response:
    """GET /terminals/{name}: the page of a terminal."""
    return await _page(request, "terminals")


async def bundle(request: web.Request) -> web.StreamResponse:
    """GET /static/notebook/...: Notebook's scripts and styles, and our icon where its console looks for one."""
    notebook = await _notebook(request)
    return file_response(find_in((notebook.static, OWN), request.match_info["path"]))


async def custom(request: web.Request) -> web.StreamResponse:
    """GET /custom/...: the user's own custom.css, and the pictures and fonts that it names; no scripts."""
    path = request.match_info["path"]
    if path.endswith(".js"):
        raise NotFound("Scripts in the folder custom belong to the old Notebook, and are not served.")
    notebook = await _notebook(request)
    return file_response(find_in(notebook.custom, path))


async def _page(request: web.Request, name: str, **of_address: str) -> web.Response:
    service = services(request)
    if not service.lab.has(NOTEBOOK):
        return not_installed(request, NOTEBOOK)
    notebook = await _notebook(request)
    return await render(request, notebook.pages, f"{name}.html", **of_address)


async def _notebook(request: web.Request) -> Notebook:
    loader = services(request).lab
    notebook = (await loader.get()).notebook if loader.has(NOTEBOOK) else None
    if notebook is None:
        raise Unavailable(f"{NOTEBOOK.title} is not installed here; this installs it: {NOTEBOOK.install}")
    return notebook


def _to(request: web.Request, page: str, path: ContentPath) -> web.Response:
    """A redirect to another page about the same path."""
    return redirect(services(request).config.url(f"{page}/{quote(path)}".rstrip("/")))
