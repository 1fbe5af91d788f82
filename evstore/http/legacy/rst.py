"""/rstservice/render: reStructuredText as a page, as the cells of IPython's first notebooks needed it (B50)."""

from __future__ import annotations

from aiohttp import web

from evstore.http.cancel_on_disconnect import cancel_on_disconnect
from evstore.http.files import sandboxed
from evstore.http.reply import read_at_most
from evstore.http.services import services
from evstore.processes.rst.renderer import MAX_TEXT


async def render(request: web.Request) -> web.Response:
    """POST /rstservice/render: the body is the text. The page stands in a sandbox: its links may be anybody's."""
    app = services(request)
    text = (await read_at_most(request, MAX_TEXT)).strip()
    page = await cancel_on_disconnect(request, app.rst.render(text))
    headers = {"Content-Security-Policy": sandboxed(app.config.base_url)}
    return web.Response(body=page, content_type="text/html", charset="utf-8", headers=headers)
