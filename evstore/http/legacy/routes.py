"""The routes of the old surface; `evstore/http/app.py` includes them in the table of all.

Each native route of /api/notebooks answers with a redirect instead when `--legacy-notebooks` says so.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from aiohttp import web

from evstore.http.legacy import checkpoints, kernels, notebooks, rst, site, sockets
from evstore.http.redirect import without_token
from evstore.http.routing import Access, Handler, Route
from evstore.http.services import services

PATH = "{path:(?s:/.*)?}"
CHECKPOINT = PATH + "/checkpoints/{checkpoint:[^/]+}"
ID = "{id:" + site.ID + "}"  # a UUID, so that no other name is taken for one
CHANNEL = "/{channel:iopub|shell|stdin}"
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
    Route("GET", "/api/notebooks" + PATH, native(notebooks.get), "contents", reads_content=True),
    Route("POST", "/api/notebooks" + PATH, native(notebooks.post), "contents"),
    Route("PUT", "/api/notebooks" + PATH, native(notebooks.put), "contents"),
    Route("PATCH", "/api/notebooks" + PATH, native(notebooks.patch), "contents"),
    Route("DELETE", "/api/notebooks" + PATH, native(notebooks.delete), "contents"),
    # The single-directory server
    Route("GET", "/notebooks", site.list_all, "contents", Access.EITHER),
    Route("POST", "/notebooks", site.create, "contents"),
    Route("GET", "/notebooks/" + ID, site.get, "contents", reads_content=True),
    Route("PUT", "/notebooks/{id:[^/]+}", site.put, "contents"),  # what is no id has a page, but no more
    Route("DELETE", "/notebooks/{id:[^/]+}", site.delete, "contents"),
    Route("GET", "/" + ID, site.page, "contents", Access.PAGE),
    Route("GET", "/new", site.new, "contents", Access.PAGE, changes=True),
    Route("GET", "/" + ID + "/copy", site.copy, "contents", Access.PAGE, changes=True),
    Route("GET", "/" + ID + "/print", site.print_page, "nbconvert", Access.PAGE, reads_content=True),
    Route("POST", "/rstservice/render", rst.render, "nbconvert"),
    Route("GET", "/kernels", kernels.list_all, "kernels"),
    Route("POST", "/kernels", kernels.start, "kernels"),
    Route("DELETE", "/kernels/{kernel_id}", kernels.delete, "kernels"),
    Route("POST", "/kernels/{kernel_id}/{action}", kernels.act, "kernels", execute=True),
    Route("GET", "/kernels/{kernel_id}" + CHANNEL, sockets.channel, "kernels", execute=True),
    Route("GET", "/api/kernels/{kernel_id}" + CHANNEL, sockets.channel, "kernels", execute=True),
)
