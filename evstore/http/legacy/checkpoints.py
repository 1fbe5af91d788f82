"""/api/notebooks/.../checkpoints as IPython 2 had them (jupyter-surface.md A13 to A16)."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from aiohttp import web

from evstore.core.errors import NotFound
from evstore.core.paths import ContentPath
from evstore.http import models
from evstore.http.contents import offset_header
from evstore.http.legacy.notebooks import location
from evstore.http.paths import readable, visible
from evstore.http.reply import author, json_reply, no_content
from evstore.http.services import services


async def get(request: web.Request) -> web.Response:
    """The checkpoints of a notebook, oldest first."""
    found = await services(request).checkpoints.list(readable(request.match_info["path"]))
    return json_reply([models.checkpoint(one) for one in found])


async def post(request: web.Request) -> web.Response:
    """Mark what the notebook holds now."""
    app, path = services(request), await _notebook(request)
    made = await app.checkpoints.create(path, author(request))
    headers = offset_header(app) | {"Location": location(app, path, f"/checkpoints/{made.offset}")}
    return json_reply(models.checkpoint(made), status=201, headers=headers)


async def restore(request: web.Request) -> web.Response:
    """Give the notebook what it held at that offset, a checkpoint's or any other."""
    app, path = services(request), await _notebook(request)
    with _in_old_words(request, path) as offset:
        await app.checkpoints.restore(path, offset, author(request))
    return no_content(offset_header(app))


async def delete(request: web.Request) -> web.Response:
    """Unmark; what it held stays in the history."""
    app, path = services(request), await _notebook(request)
    with _in_old_words(request, path) as offset:
        await app.checkpoints.delete(path, offset, author(request))
    return no_content(offset_header(app))


async def _notebook(request: web.Request) -> ContentPath:
    path = visible(request.match_info["path"], "path")
    return (await services(request).old_notebooks.get(path)).entry.path


@contextmanager
def _in_old_words(request: web.Request, path: ContentPath) -> Generator[int]:
    """The offset that the address names; that there is none is said as IPython said it."""
    text = request.match_info["checkpoint"]
    missing = NotFound(f"Notebook checkpoint does not exist: {path.name}-{text}")
    if not text.isdecimal() or not text.isascii() or len(text) > 18:
        raise missing
    try:
        yield int(text)
    except NotFound:
        raise missing from None
