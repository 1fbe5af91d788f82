"""What a client gets to read: an entry and its bytes -> a reply, kept until something happens."""

from __future__ import annotations

from dataclasses import replace
from email.utils import formatdate

import orjson
from aiohttp import web

from evstore.core import naming, notebooks
from evstore.core.entry import Entry
from evstore.core.errors import Invalid
from evstore.core.paths import ContentPath
from evstore.http import models
from evstore.http.cache import LISTING, Reply
from evstore.http.conditions import fleeting
from evstore.http.paths import readable
from evstore.http.reply import flag, moment
from evstore.http.save_request import TRUSTED, off_loop
from evstore.http.services import Services, services
from evstore.services.contents import EntrySnapshot

KEYS = ("type", "format", "content", "hash")  # the parts of a query that make another reply


async def respond(request: web.Request, raw: str) -> web.Response:
    """The model of what is at `path`, from the cache when nothing has happened since."""
    query = request.query
    app, path = services(request), readable(raw)
    key = (path, *(query.get(name) for name in KEYS))
    past = "at" in query
    reply = None if past else app.replies.get(key)
    if reply is None or (reply.mark is not None and reply.mark != app.contents.change_token(path)):
        mark = app.contents.change_token(path)
        reply, offset, tags = await _make_reply(app, request, path)
        if not past and offset == app.store.offset:
            app.replies.put(key, replace(reply, mark=mark), tags)
    etag = reply.headers.get("ETag")
    if etag is not None and request.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers=reply.headers)
    return web.Response(body=reply.body, content_type="application/json", headers=reply.headers)


async def _make_reply(
    app: Services, request: web.Request, path: ContentPath
) -> tuple[Reply, int, tuple[bytes, ...]]:
    """The reply, the offset as of which it is true, and what it shows (the cache's tags)."""
    asked = request.query.get("type")
    asked = asked if asked in (None, "file", "notebook", "directory") else "file"
    format = request.query.get("format")
    if format not in (None, "text", "base64"):
        raise Invalid(f"Format {format!r} is invalid")
    with_content = flag(request, "content", default=True)
    with_hash = flag(request, "hash", default=False)
    at = moment(request)
    found = await app.contents.get(path, at)
    entry, as_of = found.entry, None if at is None else found.offset
    kind = models.type_of(entry, asked)
    if not with_content:
        entry = await app.contents.with_digest(entry) if with_hash else entry
        model = models.without_content(entry, kind, with_hash=with_hash, as_of=as_of)
        return _plain(entry, model), found.offset, _tags(entry)
    if kind == "directory":
        return await _listing(app, found, as_of)
    reply = await _with_body(app, found, kind, format, with_hash=with_hash, as_of=as_of)
    return reply, found.offset, _tags(entry)


async def _listing(
    app: Services, found: EntrySnapshot, as_of: int | None
) -> tuple[Reply, int, tuple[bytes, ...]]:
    listing = await app.contents.list(found.entry.path, as_of)

    def render() -> Reply:
        members = [
            models.without_content(member, models.type_of(member, None), as_of=as_of)
            for member in listing.members
            if not naming.unlisted(member.name)
        ]
        model = models.contents(listing.entry, "directory", content=members, format="json", as_of=as_of)
        return _plain(listing.entry, model)

    reply = await off_loop(500 * len(listing.members), render)
    return reply, listing.offset, (LISTING,)


async def _with_body(
    app: Services, found: EntrySnapshot, kind: str, format: str | None, *, with_hash: bool, as_of: int | None
) -> Reply:
    """The model with its content, which is spliced in as the JSON that it is already."""
    entry, body = await app.contents.read(found.entry)
    size = entry.size or 0

    def render() -> Reply:
        if kind == "notebook":
            content, message = notebooks.to_json(body, trusted=found.trusted)
            format_, mimetype = "json", None
        else:
            content, format_ = models.file_content(entry.path, body, format)
            message = None
            mimetype = models.guess_mimetype(entry, kind)
            mimetype = mimetype or ("text/plain" if format_ == "text" else "application/octet-stream")
        model = models.contents(
            entry,
            kind,
            format=format_,
            mimetype=mimetype,
            with_hash=with_hash,
            message=message,
            as_of=as_of,
        )
        del model["content"]
        return Reply(
            b'%b,"content":%b}' % (orjson.dumps(model)[:-1], content),
            headers_of(entry, trusted=found.trusted),
        )

    return await off_loop(size, render)


def _plain(entry: Entry, model: models.Model) -> Reply:
    return Reply(orjson.dumps(model), headers_of(entry))


def headers_of(entry: Entry, *, trusted: bool = False) -> dict[str, str]:
    """When it was changed last, and the tag that a conditional save gives back."""
    headers = {"Last-Modified": formatdate(entry.modified / 1_000_000, usegmt=True)}
    if not entry.is_directory:
        # what is read of a trusted notebook says so in its cells
        mark = TRUSTED if trusted else "" if entry.has_strong_etag else fleeting()
        headers["ETag"] = f'"{entry.etag}{mark}"'
    return headers


def _tags(entry: Entry) -> tuple[bytes, ...]:
    if entry.is_directory:
        return (LISTING,)
    return (entry.id, entry.digest) if entry.digest else (entry.id,)
