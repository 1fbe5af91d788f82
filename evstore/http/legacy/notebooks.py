"""/api/notebooks as IPython 2 had it, status by status (jupyter-surface.md A.1).

A notebook is named by its parent directory (`path`) and its `name`; an address that ends with `.ipynb` is a
notebook's, any other a directory's. `?nbformat=3` gives the content as clients of that time can read it; what
they send in nbformat 3 is taken as it comes.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import orjson
from aiohttp import web

from evstore.core import naming, notebooks
from evstore.core.entry import Entry
from evstore.core.errors import Invalid, NotFound
from evstore.core.events import format_time
from evstore.core.notebooks import versions
from evstore.core.paths import ContentPath
from evstore.http import contents_reply, models
from evstore.http.contents import offset_header
from evstore.http.paths import readable, visible
from evstore.http.reply import author, json_reply, no_content
from evstore.http.save_request import Preconditions, off_loop, parse_model, read_body, to_save
from evstore.http.services import Services, services
from evstore.log import bodies
from evstore.services.contents import EntrySnapshot, SaveRequest
from evstore.services.legacy_notebooks import EXTENSION, is_notebook, with_extension


async def get(request: web.Request) -> web.Response:
    """GET a directory: its notebooks and directories. GET a notebook: it with its content."""
    app, path = services(request), readable(request.match_info["path"])
    version = asked_version(request) or 4
    if not path.name.endswith(EXTENSION):
        return await _list(app, path)
    if not is_notebook(await app.contents.exists(path)):
        raise NotFound(f"Notebook does not exist: {path}")
    found = await app.contents.get(path)
    entry, body = await app.contents.read(found.entry)
    found = found._replace(entry=entry)
    text = await off_loop(len(body), lambda: _with_content(found, body, version))
    headers = contents_reply.headers_of(found.entry, trusted=found.trusted)
    return web.Response(body=text, content_type="application/json", headers=headers)


async def post(request: web.Request) -> web.Response:
    """POST to a directory: a new notebook, an upload (`content`) or a copy (`copy`, `copy_from`)."""
    app, directory = services(request), _path(request)
    if directory.name.endswith(EXTENSION):
        raise Invalid("Only POST to directories. Use PUT for full names.")
    model, size = await _model(request)
    if source := _copied_from(request, model):
        entry = await app.old_notebooks.copy(_beside(source, directory), directory, None, author(request))
        return _written(request, entry, status=201)
    name = given_name(model.get("name"))
    wish, message = await _wish(app, model, size)
    entry = await app.old_notebooks.create(directory, name, wish, author(request))
    return _written(request, entry, status=201, message=message)


async def put(request: web.Request) -> web.Response:
    """PUT a notebook: save it, and rename it if the body names it otherwise; a new one, also empty or a copy."""
    app, path = services(request), _path(request)
    if not path.name.endswith(EXTENSION):
        raise Invalid("Only PUT to full names. Use POST for directories.")
    model, size = await _model(request)
    if source := _copied_from(request, model):
        from_path = _beside(source, path.parent)
        entry = await app.old_notebooks.copy(from_path, path.parent, path, author(request))
        return _written(request, entry, status=201)
    if model.get("content") is None and await app.contents.exists(path) is not None:
        raise Invalid(f"No notebook JSON data provided for {path}, which exists.")
    conditions = Preconditions.of(request)
    wish, message = await _wish(app, model, size, conditions)
    app.contents.check_parents(path)
    saved = await app.old_notebooks.save(path, _renamed(path, model), wish, author(request))
    moved = saved.created or saved.entry.path != path
    status = 201 if saved.created else 200
    return _written(request, saved.entry, status=status, message=message, with_location=moved)


async def patch(request: web.Request) -> web.Response:
    """PATCH {name?, path?}: rename or move without the content being sent again."""
    app, path = services(request), _notebook_path(request)
    model, size = await _model(request)
    if not size:
        raise Invalid("JSON body missing")
    entry = await app.old_notebooks.rename(path, _renamed(path, model), author(request))
    return _written(request, entry, status=200)


async def delete(request: web.Request) -> web.Response:
    """DELETE a notebook: out of the tree; its history stays, and brings it back."""
    app, path = services(request), _notebook_path(request)
    await app.old_notebooks.delete(path, author(request))
    return no_content(offset_header(app))


# -- what is asked -----------------------------------------------------------------------


def asked_version(request: web.Request) -> int | None:
    """`?nbformat=`: the version in which the client wants notebooks. Raises Invalid for others than 3 and 4."""
    given = request.query.get("nbformat")
    if given is None:
        return None
    if given not in map(str, versions.FORMATS):
        raise Invalid(f"nbformat={given!r:.40}: notebooks are given in nbformat 3 or 4.")
    return int(given)


def given_name(name: object) -> str | None:
    """The name that a client wants for a notebook, None when it leaves that to the server. Raises Invalid."""
    if name is None or name == "":
        return None
    if not isinstance(name, str):
        raise Invalid("name must be a string.")
    visible(name, "name")
    return name


def _path(request: web.Request) -> ContentPath:
    return visible(request.match_info["path"], "path")


def _notebook_path(request: web.Request) -> ContentPath:
    path = _path(request)
    if not path.name.endswith(EXTENSION):
        raise Invalid("Notebook name missing")
    return path


async def _model(request: web.Request) -> tuple[dict[str, Any], int]:
    """The body's object, and its size in bytes; `{}` when there is none."""
    raw = await read_body(request, services(request).config.max_body_size)
    model = await off_loop(len(raw), lambda: parse_model(raw))
    if not isinstance(model.get("path"), str | None):
        raise Invalid("name and path must be strings.")
    if not isinstance(model.get("copy_from"), str | None):
        raise Invalid("copy_from must be the name of a notebook.")
    return model, len(raw)


def _copied_from(request: web.Request, model: dict[str, Any]) -> str | None:
    """What is to be copied: `?copy=`, or `copy_from` in the body."""
    source = request.query.get("copy") or model.get("copy_from") or None
    if source is not None and model.get("content"):
        raise Invalid("Can't upload and copy at the same time.")
    return source


def _beside(source: str, directory: ContentPath) -> ContentPath:
    """The notebook that `copy` names: relative to the directory, or from the root when it begins with a slash."""
    return visible(source if source.startswith("/") else f"{directory}/{source}", "copy_from")


def _renamed(path: ContentPath, model: dict[str, Any]) -> ContentPath:
    """Where the model says that the notebook of this path is to be; what it does not say stays."""
    name, parent = model.get("name"), model.get("path")
    if not isinstance(name, str | None) or not isinstance(parent, str | None):
        raise Invalid("name and path must be strings.")
    if name is not None and ("/" in name or not name):
        raise Invalid(f"{name!r} can't be the name of a notebook.")
    folder = path.parent if parent is None else visible(parent, "path")
    return visible(folder.child(path.name if name is None else with_extension(name)), "name")


async def _wish(
    app: Services, model: dict[str, Any], size: int, conditions: Preconditions | None = None
) -> tuple[SaveRequest, str | None]:
    """The content of the model, or an empty notebook, ready to be stored; and why it is not valid."""
    conditions = conditions or Preconditions(None, False, False)
    if model.get("content") is None:
        return conditions.wish(bodies.prepare(notebooks.empty(), app.store.known, notebook=True)), None
    return await content_to_save(app, model["content"], size, conditions)


async def content_to_save(
    app: Services, content: Any, size: int, conditions: Preconditions
) -> tuple[SaveRequest, str | None]:
    """A notebook of any version as a wish to save it, and why it is not valid. Raises Invalid."""
    incoming = await off_loop(
        size,
        lambda: to_save(
            {"type": "notebook", "content": content},
            cells=app.cells,
            known=app.store.known,
            preconditions=conditions,
            notebook_name=True,
        ),
    )
    return incoming.wish, incoming.message


# -- what is answered --------------------------------------------------------------------


async def _list(app: Services, path: ContentPath) -> web.Response:
    """Index first, then directories, then notebooks, each by name, all without content."""
    found = await app.contents.exists(path)
    if found is None or not found.is_directory:
        raise NotFound(f"No such directory: {path}")
    listing = await app.contents.list(path)

    def rank(entry: Entry) -> int:
        return 0 if entry.name.lower() == "index.ipynb" else 1 if entry.is_directory else 2

    shown = [one for one in listing.members if not naming.unlisted(one.name)]
    shown = sorted((one for one in shown if one.is_directory or is_notebook(one)), key=rank)
    return json_reply([old_model(one) for one in shown])


def old_model(entry: Entry) -> models.Model:
    """The model of IPython 2: its `path` is the parent directory."""
    return {
        "name": entry.name,
        "path": entry.path.parent,
        "type": "directory" if entry.is_directory else "notebook",
        "created": format_time(entry.created),
        "last_modified": format_time(entry.modified),
    }


def _with_content(found: EntrySnapshot, body: bytes, version: int) -> bytes:
    content = versions.content_json(body, trusted=found.trusted, version=version)
    return b'%b,"content":%b}' % (orjson.dumps(old_model(found.entry))[:-1], content)


def location(app: Services, path: ContentPath, tail: str = "") -> str:
    """The address of a notebook, percent-encoded."""
    return app.config.url(f"api/notebooks/{quote(path, safe='/~')}{tail}")


def _written(
    request: web.Request,
    entry: Entry,
    *,
    status: int,
    message: str | None = None,
    with_location: bool = True,
) -> web.Response:
    app = services(request)
    model = old_model(entry) | ({} if message is None else {"message": message})
    headers = contents_reply.headers_of(entry) | offset_header(app)
    if with_location:
        headers["Location"] = location(app, entry.path)
    return json_reply(model, status=status, headers=headers)
