"""/api/contents: Jupyter's contents API, status by status (jupyter-surface.md 2.1 and 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from reprlib import repr as shown
from typing import Any
from urllib.parse import quote

import orjson
from aiohttp import web

from evstore.core import notebooks
from evstore.core.entry import Entry
from evstore.core.errors import Invalid, NotFound
from evstore.core.events import Digest, EntryId, Kind
from evstore.core.paths import ContentPath
from evstore.http import contents_reply, models
from evstore.http.auth import caller
from evstore.http.paths import content_path, visible
from evstore.http.reply import author, json_object, no_content
from evstore.http.save_request import (
    Preconditions,
    file_attributes,
    file_bytes,
    off_loop,
    parse_model,
    read_body,
    to_save,
)
from evstore.http.services import Services, services
from evstore.log import bodies
from evstore.log.bodies import Body
from evstore.log.log import wall_clock
from evstore.services.contents import SaveRequest
from evstore.services.uploads import LAST
from evstore.store.body_upload import blocks, upload_body


async def get(request: web.Request) -> web.Response:
    """GET /api/contents/{path}?type=&format=&content=&hash=&at="""
    return await contents_reply.respond(request, request.match_info["path"])


async def put(request: web.Request) -> web.Response:
    """PUT /api/contents/{path}: save, create, upload a chunk, or copy (`copy_from`) to that path."""
    app, path = services(request), content_path(request)
    raw = await read_body(request, app.config.max_body_size)
    model = await off_loop(len(raw), lambda: parse_model(raw))
    if not path:
        raise Invalid("The served folder itself can't be saved.")
    if "path" in model:
        visible(model["path"], "path")
    if (source := model.get("copy_from")) not in (None, ""):
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
    kind = model.get("type")
    if kind in (None, ""):
        kind = "notebook" if path.name.endswith(".ipynb") else "file"
    if kind not in ("notebook", "file"):
        raise Invalid(f"Unhandled contents type: {kind}")
    if model.get("content") is not None:
        raise Invalid("No file type provided.")
    body = bodies.prepare(
        notebooks.empty() if kind == "notebook" else b"", app.store.known, notebook=kind == "notebook"
    )
    saved = await app.contents.save(path, SaveRequest(body=body, absent=True), author(request))
    return _written(request, saved.entry, status=201)


async def _put_chunk(
    request: web.Request, app: Services, path: ContentPath, model: Mapping[str, Any]
) -> web.Response:
    """One piece of a large upload; the log gets its event with the last one."""
    number = model["chunk"]
    if "type" not in model:
        raise Invalid("No file type provided")
    if model["type"] != "file":
        kind = shown(model["type"]).strip("'")  # in double quotes, as jupyter_server says it
        raise Invalid(f'File type "{kind}" is not supported for large file transfer')
    if not isinstance(number, int) or isinstance(number, bool) or (number < 1 and number != LAST):
        raise Invalid(f"chunk={shown(number)}: must be 1, 2, 3, ... or -1 for the last one.")
    if "content" not in model:
        raise Invalid("No file content provided")
    occupant, parent = await app.contents.exists(path), await app.contents.exists(path.parent)
    if parent is None or not parent.is_directory:
        raise NotFound(f"No such directory: {path.parent}")
    content, extras = model["content"], file_attributes(model)
    data = await off_loop(len(str(content)), lambda: file_bytes(content, model.get("format")))
    by, who = author(request), caller(request)
    uploader = who.identity.username if who.known else who.actor  # names are no ids: many are called Io
    upload = await app.uploads.add(uploader, path, number, data)
    if number != LAST:
        return _written(request, _arriving(path, parent, upload.size), status=200 if occupant else 201)
    with upload.file as file:
        if parent.versioned and app.contents.has_versions(path, size=upload.size):
            body = await upload_body(app.store, file, upload.size, by, notebook=path.name.endswith(".ipynb"))
            wish = extras.applied(Preconditions.of(request).wish(body))
        else:
            body = Body(Digest(b""), upload.size)
            wish = replace(extras.applied(Preconditions.of(request).wish(body)), pieces=blocks(file))
        saved = await app.contents.save(path, wish, by)
    return _written(request, saved.entry, status=201 if saved.created else 200)


def _arriving(path: ContentPath, parent: Entry, size: int) -> Entry:
    """A file of which some pieces have come: what the uploader is told until the last one."""
    return replace(Entry.new(EntryId(b""), parent.id, path, Kind.FILE, wall_clock()), size=size)


# -- POST, PATCH, DELETE ---------------------------------------------------------------


async def post(request: web.Request) -> web.Response:
    """POST /api/contents/{directory}: something untitled, or a copy, under a name that the server picks."""
    app, path = services(request), content_path(request)
    model = await json_object(request)
    occupant = await app.contents.exists(path)
    if occupant is not None and not occupant.is_directory:
        raise Invalid("Cannot POST to files, use PUT instead.")
    if (source := model.get("copy_from")) not in (None, ""):
        entry = await app.contents.copy(visible(source, "copy_from"), path, author(request))
        return _written(request, entry, status=201)
    return await _untitled(request, app, path, model)


async def _untitled(
    request: web.Request, app: Services, path: ContentPath, model: Mapping[str, Any]
) -> web.Response:
    extension, kind = model.get("ext"), model.get("type")
    if not isinstance(extension, str | None):
        raise Invalid("ext must be a string such as '.py'.")
    if kind in (None, ""):
        kind = "notebook" if extension == ".ipynb" else "file"
    if kind not in ("notebook", "file", "directory"):
        raise Invalid(f"Unexpected model type: {shown(kind)}")
    body = None
    if kind != "directory":
        content = notebooks.empty() if kind == "notebook" else b""
        body = bodies.prepare(content, app.store.known, notebook=kind == "notebook")
    entry = await app.contents.create_untitled(path, kind, extension or "", body, author(request))
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
    headers = contents_reply.headers_of(entry) | offset_header(app) | {"Location": location(app, entry.path)}
    return web.Response(
        status=status, body=orjson.dumps(model), content_type="application/json", headers=headers
    )
