"""The routes of the old surface; `evstore/http/app.py` includes them in the table of all.

Each native route of /api/notebooks answers with a redirect instead when `--legacy-notebooks` says so.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from aiohttp import web

from evstore.http.old import checkpoints, notebooks
from evstore.http.redirect import without_token
from evstore.http.routing import Handler, Route
from evstore.http.services import services

PATH = "{path:(?s:/.*)?}"
CHECKPOINT = PATH + "/checkpoints/{checkpoint:[^/]+}"
REDIRECTS = {"redirect": 302, "redirect308": 308}


def native(handler: Handler) -> Handler:
    """`handler`, unless the operator wants /api/notebooks to lead to /api/contents.

    302 is what jupyter_server answers, and makes a GET of everything; 308 keeps verb and body.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        config = services(request).config
        status = REDIRECTS.get(config.legacy_notebooks)
        if status is None:
            return await handler(request)
        rest = request.path.removeprefix(unquote(config.url("api/notebooks"))).strip("/")
        query = without_token(request).partition("?")[2] if status == 308 else ""
        location = config.url(f"api/contents/{quote(rest, safe='/~')}") + (f"?{query}" if query else "")
        return web.Response(status=status, headers={"Location": location})

    return answer


ROUTES: tuple[Route, ...] = (
    # IPython 2
    Route("GET", "/api/notebooks" + PATH + "/checkpoints", native(checkpoints.get), "contents"),
    Route("POST", "/api/notebooks" + PATH + "/checkpoints", native(checkpoints.post), "contents"),
    Route("POST", "/api/notebooks" + CHECKPOINT, native(checkpoints.restore), "contents"),
    Route("DELETE", "/api/notebooks" + CHECKPOINT, native(checkpoints.delete), "contents"),
    Route("GET", "/api/notebooks" + PATH, native(notebooks.get), "contents"),
    Route("POST", "/api/notebooks" + PATH, native(notebooks.post), "contents"),
    Route("PUT", "/api/notebooks" + PATH, native(notebooks.put), "contents"),
    Route("PATCH", "/api/notebooks" + PATH, native(notebooks.patch), "contents"),
    Route("DELETE", "/api/notebooks" + PATH, native(notebooks.delete), "contents"),
)
