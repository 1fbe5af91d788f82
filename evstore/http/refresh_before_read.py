"""Who reads a file, in whatever form, gets what there is by now: on the disk, and from the notebook's kernel."""

from __future__ import annotations

from aiohttp import web

from evstore.core.events import EntryId
from evstore.core.paths import ContentPath
from evstore.http.paths import readable
from evstore.http.routing import Handler
from evstore.http.services import services


def refresh_before_read(handler: Handler) -> Handler:
    """The handler of a route that shows something by its `path`, or by its `id`: as it is now, unless `at` is asked."""

    async def get(request: web.Request) -> web.StreamResponse:
        app, query = services(request), request.query
        if "at" not in query:
            path = await _path(request)
            await app.store.look(path)
            if query.get("content") != "0":
                app.contents.check_readable(path)
            if app.kernel_output.may_wait and query.get("content") != "0":
                await app.kernel_output.before_reading(path)
        return await handler(request)

    return get


async def _path(request: web.Request) -> ContentPath:
    """The path of what is shown. Raises NotFound."""
    path, named = request.match_info.get("path"), request.match_info.get("id", "")
    if path is not None:
        return readable(path)
    entry = EntryId(bytes.fromhex(named.replace("-", "")))
    return (await services(request).old_notebooks.find(entry)).entry.path
