"""/api/contents: Jupyter's contents API, status by status (jupyter-surface.md 2.1 and 6)."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import quote

import orjson
from aiohttp import web

from evstore import notebooks
from evstore.contents import Found, Save
from evstore.entry import Entry
from evstore.errors import Invalid, NotFound
from evstore.events import EntryId, Kind
from evstore.http import models
from evstore.http.cache import LISTING, Reply
from evstore.http.incoming import Preconditions, file_bytes, off_loop, parse_model, to_save
from evstore.http.reply import author, flag, json_object, moment, no_content
from evstore.http.services import Services, services
from evstore.ingest import ingest
from evstore.log import bodies
from evstore.log.log import wall_clock
from evstore.paths import ContentPath
from evstore.uploads import LAST

KEYS = ("type", "format", "content", "hash")


def content_path(request: web.Request) -> ContentPath:
    """The path that a request wants to change. Raises Invalid for hidden ones."""
    return visible(request.match_info["path"], "path")


def readable(raw: str) -> ContentPath:
    """A path that a request wants to read. Raises NotFound for hidden ones: for readers they don't exist."""
    path = ContentPath.parse(raw)
    if path.hidden:
        raise NotFound(f"No such file or directory: {path}")
    return path


def visible(raw: Any, what: str) -> ContentPath:
    """A path out of a request's body. Raises Invalid for a hidden one, or when it is no string."""
    if not isinstance(raw, str):
        raise Invalid(f"{what} must be a path.")
    path = ContentPath.parse(raw)
    if path.hidden:
        raise Invalid(f"{path}: hidden files and directories are not served.")
    return path


# -- GET -----------------------------------------------------------------------------


async def get(request: web.Request) -> web.Response:
    """GET /api/contents/{path}?type=&format=&content=&hash=&at="""
    return await show(request, request.match_info["path"])


async def show(request: web.Request, path: str) -> web.Response:
    """The model of what is at `path`, from the cache when nothing has happened since."""
    query = request.query
    key = (path, *(query.get(name) for name in KEYS))
    app = services(request)
    past = "at" in query
    reply = None if past else app.replies.get(key)
    if reply is None:
        reply, offset, tags = await _make_reply(app, request, path)
        if not past and offset == app.store.offset:
            app.replies.put(key, reply, tags)
    etag = reply.headers.get("ETag")
    if etag is not None and request.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers=reply.headers)
    return web.Response(body=reply.body, content_type="application/json", headers=reply.headers)


async def _make_reply(app: Services, request: web.Request, raw: str) -> tuple[Reply, int, tuple[bytes, ...]]:
    """The reply, the offset as of which it is true, and what it shows (the cache's tags)."""
    asked = request.query.get("type")
    asked = asked if asked in (None, "file", "notebook", "directory") else "file"
    format = request.query.get("format")
    if format not in (None, "text", "base64"):
        raise Invalid(f"Format {format!r} is invalid")
    with_content = flag(request, "content", default=True)
    with_hash = flag(request, "hash", default=False)
    path, at = readable(raw), moment(request)
    found = await app.contents.get(path, at)
    entry, as_of = found.entry, None if at is None else found.offset
    kind = models.type_of(entry, asked)
    if not with_content:
        model = models.without_content(entry, kind, with_hash=with_hash, as_of=as_of)
        return _plain(entry, model), found.offset, _tags(entry)
    if kind == "directory":
        return await _listing(app, found, as_of)
    reply = await _with_body(app, found, kind, format, with_hash=with_hash, as_of=as_of)
    return reply, found.offset, _tags(entry)


async def _listing(app: Services, found: Found, as_of: int | None) -> tuple[Reply, int, tuple[bytes, ...]]:
    listing = await app.contents.list(found.entry.path, as_of)

    def render() -> Reply:
        members = [
            models.without_content(member, models.type_of(member, None), as_of=as_of)
            for member in listing.members
            if not unlisted(member.name)
        ]
        model = models.contents(listing.entry, "directory", content=members, format="json", as_of=as_of)
        return _plain(listing.entry, model)

    reply = await off_loop(500 * len(listing.members), render)
    return reply, listing.offset, (LISTING,)


def unlisted(name: str) -> bool:
    """Whether a name is left out of listings."""
    return (
        name.startswith(".")
        or name == "__pycache__"
        or any(fnmatch.fnmatchcase(name, pattern) for pattern in models.HIDDEN_GLOBS)
    )


async def _with_body(
    app: Services, found: Found, kind: str, format: str | None, *, with_hash: bool, as_of: int | None
) -> Reply:
    """The model with its content, which is spliced in as the JSON that it is already."""
    entry = found.entry
    body = await app.store.body(entry.digest)
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
        return Reply(b'%b,"content":%b}' % (orjson.dumps(model)[:-1], content), _headers(entry))

    return await off_loop(size, render)


def _plain(entry: Entry, model: models.Model) -> Reply:
    return Reply(orjson.dumps(model), _headers(entry))


def _headers(entry: Entry) -> dict[str, str]:
    headers = {"Last-Modified": formatdate(entry.modified / 1_000_000, usegmt=True)}
    if not entry.is_directory:
        headers["ETag"] = f'"{entry.digest.hex() if entry.digest else ""}"'
    return headers


def _tags(entry: Entry) -> tuple[bytes, ...]:
    if entry.is_directory:
        return (LISTING,)
    return (entry.id, entry.digest) if entry.digest else (entry.id,)


# -- PUT -----------------------------------------------------------------------------


async def put(request: web.Request) -> web.Response:
    """PUT /api/contents/{path}: save, create, upload a chunk, or copy (`copy_from`) to that path."""
    app, path = services(request), content_path(request)
    raw = await request.read()
    model = await off_loop(len(raw), lambda: parse_model(raw))
    if not path:
        raise Invalid("The served folder itself can't be saved.")
    if "path" in model:
        visible(model["path"], "path")
    if source := model.get("copy_from"):
        entry = await app.contents.copy(visible(source, "copy_from"), path, author(request), exact=True)
        return _written(request, entry, status=201)
    if model.get("type") == "directory":
        saved = await app.contents.create_directory(path, author(request))
        return _written(request, saved.entry, status=201)
    if "chunk" in model:
        return await _put_chunk(request, app, path, model)
    if "content" not in model or model["content"] is None or "type" not in model:
        return await _put_new(request, app, path, model)
    preconditions = Preconditions.of(request)
    incoming = await off_loop(
        len(raw),
        lambda: to_save(
            model,
            cells=app.cells,
            known=app.store.known,
            preconditions=preconditions,
            notebook_name=path.name.endswith(".ipynb"),
        ),
    )
    saved = await app.contents.save(path, incoming.wish, author(request))
    return _written(request, saved.entry, status=201 if saved.created else 200, message=incoming.message)


async def _put_new(
    request: web.Request, app: Services, path: ContentPath, model: Mapping[str, Any]
) -> web.Response:
    """A PUT without type or content makes something new and empty, and never empties what exists."""
    occupant = await app.contents.exists(path)
    if not model and occupant is not None and occupant.is_directory:
        return await _untitled(request, app, path, {})
    if occupant is not None and "type" not in model:
        raise Invalid(f"No file type provided: {path} exists, so a save must say type and content.")
    if occupant is not None:
        raise Invalid(f"No file content provided for {path}, which exists.")
    kind = model.get("type") or ("notebook" if path.name.endswith(".ipynb") else "file")
    if kind not in ("notebook", "file"):
        raise Invalid(f"Unhandled contents type: {kind}")
    if model.get("content") is not None:
        raise Invalid("No file type provided.")
    body = bodies.prepare(
        notebooks.empty() if kind == "notebook" else b"", app.store.known, notebook=kind == "notebook"
    )
    saved = await app.contents.save(path, Save(body=body, absent=True), author(request))
    return _written(request, saved.entry, status=201)


async def _put_chunk(
    request: web.Request, app: Services, path: ContentPath, model: Mapping[str, Any]
) -> web.Response:
    """One piece of a large upload; the log gets its event with the last one."""
    number = model["chunk"]
    if "type" not in model:
        raise Invalid("No file type provided")
    if model["type"] != "file":
        raise Invalid(f'File type "{model["type"]}" is not supported for large file transfer')
    if not isinstance(number, int) or isinstance(number, bool) or (number < 1 and number != LAST):
        raise Invalid(f"chunk={number!r}: must be 1, 2, 3, ... or -1 for the last one.")
    if "content" not in model:
        raise Invalid("No file content provided")
    occupant, parent = await app.contents.exists(path), await app.contents.exists(path.parent)
    if parent is None or not parent.is_directory:
        raise NotFound(f"No such directory: {path.parent}")
    content = model["content"]
    data = await off_loop(len(str(content)), lambda: file_bytes(content, model.get("format")))
    by = author(request)
    upload = await app.uploads.add(by.actor, path, number, data)
    if number != LAST:
        return _written(request, _arriving(path, parent, upload.size), status=200 if occupant else 201)
    with upload.file as file:
        body = await ingest(app.store, file, upload.size, by, notebook=path.name.endswith(".ipynb"))
        saved = await app.contents.save(path, Save(body=body), by)
    return _written(request, saved.entry, status=201 if saved.created else 200)


def _arriving(path: ContentPath, parent: Entry, size: int) -> Entry:
    """A file of which some pieces have come: what the uploader is told until the last one."""
    now = wall_clock()
    return Entry(
        id=EntryId(b""),
        parent=parent.id,
        name=path.name,
        path=path,
        kind=Kind.FILE,
        created=now,
        modified=now,
        size=size,
    )


# -- POST, PATCH, DELETE ---------------------------------------------------------------


async def post(request: web.Request) -> web.Response:
    """POST /api/contents/{directory}: something untitled, or a copy, under a name that the server picks."""
    app, path = services(request), content_path(request)
    model = await json_object(request)
    occupant = await app.contents.exists(path)
    if occupant is not None and not occupant.is_directory:
        raise Invalid("Cannot POST to files, use PUT instead.")
    if source := model.get("copy_from"):
        entry = await app.contents.copy(visible(source, "copy_from"), path, author(request))
        return _written(request, entry, status=201)
    return await _untitled(request, app, path, model)


async def _untitled(
    request: web.Request, app: Services, path: ContentPath, model: Mapping[str, Any]
) -> web.Response:
    extension = model.get("ext") or ""
    if not isinstance(extension, str):
        raise Invalid("ext must be a string such as '.py'.")
    kind = model.get("type") or ("notebook" if extension == ".ipynb" else "file")
    if kind not in ("notebook", "file", "directory"):
        raise Invalid(f"Unexpected model type: {kind!r}")
    body = None
    if kind != "directory":
        content = notebooks.empty() if kind == "notebook" else b""
        body = bodies.prepare(content, app.store.known, notebook=kind == "notebook")
    entry = await app.contents.create_untitled(path, kind, extension, body, author(request))
    return _written(request, entry, status=201)


async def patch(request: web.Request) -> web.Response:
    """PATCH /api/contents/{path} {"path": new}: rename or move."""
    app, path = services(request), content_path(request)
    model = await json_object(request, required=True)
    to = visible(model["path"], "path") if "path" in model else path
    entry = await app.contents.move(path, to, author(request))
    return _written(request, entry, status=200)


async def delete(request: web.Request) -> web.Response:
    """DELETE /api/contents/{path}: out of the tree, with all below it; undelete brings it back."""
    app, path = services(request), content_path(request)
    await app.contents.delete(path, author(request))
    return no_content(offset_header(app))


async def trust(request: web.Request) -> web.Response:
    """POST /api/contents/{path}/trust: the user vouches for the notebook's outputs."""
    app, path = services(request), content_path(request)
    await app.contents.trust(path, author(request))
    return web.Response(status=201, headers=offset_header(app))


# -- answers ---------------------------------------------------------------------------


def offset_header(app: Services) -> dict[str, str]:
    """Where the log ends after a write."""
    return {"Evstore-Offset": str(app.store.offset)}


def location(app: Services, path: ContentPath, tail: str = "") -> str:
    return app.config.url(f"api/contents/{quote(path, safe='/~')}{tail}")


def _written(request: web.Request, entry: Entry, *, status: int, message: str | None = None) -> web.Response:
    """The answer to a write: the model without content, where it is, and where the log ends."""
    app = services(request)
    model = models.without_content(entry, models.type_of(entry, None))
    if message is not None:
        model["message"] = message
    headers = _headers(entry) | offset_header(app) | {"Location": location(app, entry.path)}
    return web.Response(
        status=status, body=orjson.dumps(model), content_type="application/json", headers=headers
    )
