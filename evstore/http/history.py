"""/api/history: what evstore adds to Jupyter's API. Versions, diffs, restores, the log and its feed."""

from __future__ import annotations

import asyncio
import contextlib
from reprlib import repr as shown
from typing import Any
from uuid import UUID

import orjson
from aiohttp import web

from evstore.core.errors import Invalid, NotFound
from evstore.core.events import EntryId
from evstore.core.paths import ContentPath
from evstore.http import models
from evstore.http.contents import offset_header
from evstore.http.paths import content_path, readable, visible
from evstore.http.reply import author, json_object, json_reply, no_content, parse_moment
from evstore.http.services import Services, services
from evstore.services.history import FAR

PING = 15.0  # seconds between comments on an idle feed, so that proxies keep it open


def _number(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    value = request.query.get(name)
    return default if value is None else _bounded(name, value, low, high)


def _bounded(name: str, value: str, low: int, high: int) -> int:
    # the length first: Python refuses to read numbers of thousands of digits
    if not value.isdecimal() or len(value) > 30 or not low <= int(value) <= high:
        raise Invalid(f"{name}={value!r:.60}: must be a number from {low} to {high}.")
    return int(value)


async def versions(request: web.Request) -> web.Response:
    """GET /api/history/versions/{path}?before=&limit="""
    path = readable(request.match_info["path"])
    before, limit = _number(request, "before", FAR, 1, FAR), _number(request, "limit", 50, 1, 1000)
    found, following = await services(request).history.versions(path, before, limit)
    shown = [models.version(told) for told in found if not told.hidden]
    return json_reply({"versions": shown, "next": following})


async def diff(request: web.Request) -> web.Response:
    """GET /api/history/diff/{path}?from=&to="""
    path = readable(request.match_info["path"])
    start, end = request.query.get("from"), request.query.get("to")
    if start is None:
        raise Invalid("from= is missing: the offset or time of the older version.")
    found = await services(request).history.diff(
        path, parse_moment(start), None if end is None else parse_moment(end)
    )
    return json_reply(found)


async def restore(request: web.Request) -> web.Response:
    """POST /api/history/restore/{path} {"at": ..., "dry_run": false}"""
    app, path = services(request), content_path(request)
    model = await json_object(request, required=True)
    at, dry_run = model.get("at"), model.get("dry_run", False)
    if not isinstance(at, int | str) or isinstance(at, bool):
        raise Invalid("at is missing: the offset or time to go back to.")
    if not isinstance(dry_run, bool):
        raise Invalid("dry_run must be true or false.")
    done = await app.history.restore(path, parse_moment(at), author(request), dry_run=dry_run)
    return json_reply(models.restored(done), headers=offset_header(app))


async def deleted(request: web.Request) -> web.Response:
    """GET /api/history/deleted/{path}?limit="""
    path = readable(request.match_info["path"])
    found = await services(request).history.deleted(path, limit=_number(request, "limit", 1000, 1, 100_000))
    return json_reply({"deleted": [models.deleted(one) for one in found if not one.path.hidden]})


async def undelete(request: web.Request) -> web.Response:
    """POST /api/history/undelete {"entry": ..., "path"?: ...}"""
    app = services(request)
    model = await json_object(request, required=True)
    path = visible(model["path"], "path") if model.get("path") is not None else None
    entry = await app.history.undelete(_entry_id(model.get("entry")), path, author(request))
    return json_reply(models.without_content(entry, models.type_of(entry, None)), headers=offset_header(app))


async def rebuild(request: web.Request) -> web.Response:
    """POST /api/history/rebuild: drop what follows from the log and replay it; writers wait meanwhile."""
    app = services(request)
    await app.store.rebuild()
    return no_content(offset_header(app))


def _entry_id(value: Any) -> EntryId:
    try:
        return EntryId(UUID(value).bytes)
    except (ValueError, AttributeError, TypeError):
        raise Invalid(
            f"entry={shown(value)}: must be an entry's id, as /api/history/deleted lists them."
        ) from None


async def log(request: web.Request) -> web.Response:
    """GET /api/history/log?after=&limit=&path=&actor=&event="""
    query = request.query
    path = ContentPath.parse(query["path"]) if "path" in query else None
    if path is not None and path.hidden:
        raise NotFound(f"No such file or directory: {path}")
    found, head = await services(request).history.log(
        _number(request, "after", 0, 0, FAR),
        _number(request, "limit", 100, 1, 1000),
        path=path,
        actor=query.get("actor"),
        event=query.get("event"),
    )
    return json_reply({"events": [models.logged(told) for told in found], "head": head})


async def feed(request: web.Request) -> web.StreamResponse:
    """GET /api/history/feed?after=: the log as server-sent events (WHATWG HTML, 9.2), then live.

    A client that comes back says where it was in Last-Event-ID, as browsers do.
    """
    app = services(request)
    if last := request.headers.get("Last-Event-ID"):
        after = _bounded("Last-Event-ID", last, 0, FAR)
    else:
        after = _number(request, "after", app.store.offset, 0, FAR)
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    )
    await response.prepare(request)
    if request.method == "HEAD":  # which would follow the log without a word, and keep the connection
        return response
    ends: list[asyncio.Task[Any]] = [
        asyncio.create_task(_send(response, app, after)),
        asyncio.create_task(_ping(response)),  # ends when the client has gone
        asyncio.create_task(app.stop.wait()),
    ]
    try:
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in done:
            await end  # raises what it raised
    finally:
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)
    return response


async def _send(response: web.StreamResponse, app: Services, after: int) -> None:
    with contextlib.suppress(ConnectionError):
        async for page in app.store.feed(after):
            for told in await app.history.tell(page):
                if told.hidden:
                    continue
                text = orjson.dumps(models.logged(told))
                await response.write(b"id: %d\ndata: %b\n\n" % (told.recorded.offset, text))


async def _ping(response: web.StreamResponse) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            await asyncio.sleep(PING)
            await response.write(b": still here\n\n")
