"""Who reads a notebook, in whatever form, gets what its kernel has put out so far: it is written there first."""

from __future__ import annotations

from aiohttp import web

from evstore.events import EntryId
from evstore.http.paths import readable
from evstore.http.routing import Handler
from evstore.http.services import services
from evstore.paths import ContentPath


def current(handler: Handler) -> Handler:
    """The handler of a route that shows a notebook by its `path`, or by its `id`: as it is now, unless `at` is asked."""

    async def get(request: web.Request) -> web.StreamResponse:
        output, query = services(request).kernel_output, request.query
        if output.may_wait and "at" not in query and query.get("content") != "0":
            await output.before_reading(await _path(request))
        return await handler(request)

    return get


async def _path(request: web.Request) -> ContentPath:
    """The path of what is shown. Raises NotFound."""
    path, named = request.match_info.get("path"), request.match_info.get("id", "")
    if path is not None:
        return readable(path)
    entry = EntryId(bytes.fromhex(named.replace("-", "")))
    return (await services(request).old_notebooks.find(entry)).entry.path
