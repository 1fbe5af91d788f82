"""/api/contents/{path}/checkpoints: Jupyter's checkpoints, whose ids are offsets of the log."""

from __future__ import annotations

from aiohttp import web

from evstore.core.errors import NotFound
from evstore.http import contents_reply, models
from evstore.http.contents import location, offset_header
from evstore.http.paths import content_path, readable
from evstore.http.reply import author, json_object, json_reply, no_content
from evstore.http.services import services


async def get(request: web.Request) -> web.Response:
    """The checkpoints of a file, oldest first. A directory that is really called `checkpoints` wins."""
    app, path = services(request), readable(request.match_info["path"])
    found, child = await app.contents.exists(path), path.child("checkpoints")
    if found is not None and found.is_directory and await app.contents.exists(child) is not None:
        return await contents_reply.respond(request, child)
    return json_reply([models.checkpoint(found) for found in await app.checkpoints.list(path)])


async def post(request: web.Request) -> web.Response:
    """Mark what the file holds now; `{"label": ...}` keeps the mark listed for good."""
    app, path = services(request), content_path(request)
    label = (await json_object(request)).get("label")
    found = await app.checkpoints.create(path, author(request), label if isinstance(label, str) else None)
    headers = offset_header(app) | {"Location": location(app, path, f"/checkpoints/{found.offset}")}
    return json_reply(models.checkpoint(found), status=201, headers=headers)


async def restore(request: web.Request) -> web.Response:
    """Give the file the bytes it had at that offset, a checkpoint's or any other."""
    app, path = services(request), content_path(request)
    await app.checkpoints.restore(path, _offset(request), author(request))
    return no_content(offset_header(app))


async def delete(request: web.Request) -> web.Response:
    """Unmark; the contents stay in the history."""
    app, path = services(request), content_path(request)
    await app.checkpoints.delete(path, _offset(request), author(request))
    return no_content(offset_header(app))


def _offset(request: web.Request) -> int:
    text = request.match_info["checkpoint"]
    if not text.isdecimal() or len(text) > 18:
        raise NotFound(f"Checkpoint does not exist: {text} is not an offset.")
    return int(text)
