"""Who reads a notebook, in whatever form, gets what its kernel has put out so far: it is written there first."""

from __future__ import annotations

from aiohttp import web

from evstore.events import EntryId
from evstore.http.paths import readable
from evstore.http.routing import Handler
from evstore.http.services import services


def current(handler: Handler) -> Handler:
    """The handler of a route that shows a notebook by its `path`, or by its `id`: as it is now, unless `at` is asked."""

    async def get(request: web.Request) -> web.StreamResponse:
        app, query = services(request), request.query
        if app.kernel_output.is_waiting and "at" not in query and query.get("content") != "0":
            named = request.match_info.get("id")
            path = readable(request.match_info["path"]) if named is None else None
            if named is not None:
                entry = EntryId(bytes.fromhex(named.replace("-", "")))
                path = (await app.old_notebooks.find(entry)).entry.path
            if path is not None:
                await app.kernel_output.before_reading(path)
        return await handler(request)

    return get
