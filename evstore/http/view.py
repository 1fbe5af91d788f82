"""/view/{path}: a page around a file that runs in a sandbox: its scripts can't use the user's session."""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

from evstore.core.errors import NotFound
from evstore.http.pages import page
from evstore.http.paths import readable
from evstore.http.reply import moment
from evstore.http.services import services


async def get(request: web.Request) -> web.Response:
    """GET /view/{path}?at="""
    app = services(request)
    path = readable(request.match_info["path"])
    entry = (await app.contents.get(path, moment(request))).entry
    if entry.is_directory:
        raise NotFound(f"File does not exist: {path}")
    address = app.config.url(f"files/{quote(path, safe='/~')}")
    if "at" in request.query:
        address += f"?at={quote(request.query['at'], safe='')}"
    response = page("view", base_url=app.config.base_url, title=entry.name, address=address)
    response.headers["Content-Type"] = "text/html; charset=UTF-8"  # letter by letter as Jupyter
    return response
