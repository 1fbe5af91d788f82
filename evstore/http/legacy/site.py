"""The single-directory server: a list of notebooks, each by its id (jupyter-surface.md B32 to B42).

A notebook's id is its entry's: it stays when the notebook is renamed or moved. The list has the notebooks of the
served folder itself, as that server knew no others; by its id, a notebook in a folder below can be had as well.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from aiohttp import web

from evstore.core import naming, notebooks
from evstore.core.entry import Entry
from evstore.core.errors import Invalid, NotFound
from evstore.core.events import EntryId, format_id
from evstore.core.notebooks import versions
from evstore.core.paths import ContentPath
from evstore.http import contents_reply, notebook7
from evstore.http.cancel_on_disconnect import cancel_on_disconnect
from evstore.http.contents import offset_header
from evstore.http.convert import render
from evstore.http.files import attachment
from evstore.http.legacy.notebooks import asked_version, content_to_save, given_name
from evstore.http.redirect import redirect
from evstore.http.reply import author, json_reply, no_content
from evstore.http.routing import wants_page
from evstore.http.save_request import Preconditions, off_loop, read_body
from evstore.http.services import Services, services
from evstore.lab.apps import NOTEBOOK
from evstore.log import bodies
from evstore.processes.convert.jobs import Job
from evstore.services.contents import SaveRequest
from evstore.services.legacy_notebooks import EXTENSION, is_notebook

ID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
FORMATS = ("json", "py")


def entry_id(text: str) -> EntryId:
    """The id that `text` spells. Raises NotFound."""
    if not re.fullmatch(ID, text):
        raise NotFound(f"Notebook does not exist: {text[:60]}")
    return EntryId(bytes.fromhex(text.replace("-", "")))


# -- /notebooks --------------------------------------------------------------------------


async def list_all(request: web.Request) -> web.StreamResponse:
    """GET /notebooks: for those who ask for JSON, name, id and kernel of each; for browsers, the page with the files."""
    app = services(request)
    if wants_page(request):
        return await notebook7.notebooks_page(request)
    listing = await app.contents.list(ContentPath(""))
    kernels = {session.path: session.kernel.id for session in app.sessions.all()}
    shown = [
        one for one in listing.members if one.versioned and is_notebook(one) and not naming.unlisted(one.name)
    ]
    return json_reply(
        [
            {
                "name": one.name.removesuffix(EXTENSION),
                "notebook_id": format_id(one.id),
                "kernel_id": kernels.get(one.path),
            }
            for one in shown
        ],
        headers={"Vary": "Accept"},
    )


async def create(request: web.Request) -> web.Response:
    """POST /notebooks?format=&name=: a new notebook, from the body if there is one; its id is the answer."""
    app, form = services(request), _format_sent(request)
    raw = await read_body(request, app.config.max_body_size)
    if not raw.strip():
        entry = await _new(app, request)
    else:
        content = await off_loop(len(raw), lambda: _read(raw, form))
        name = given_name(request.query.get("name") or _own_name(content))
        wish, _ = await content_to_save(app, content, len(raw), Preconditions.of(request))
        entry = await app.old_notebooks.create(ContentPath(""), name, wish, author(request))
    headers = offset_header(app) | {"Location": app.config.url(format_id(entry.id))}
    return json_reply(format_id(entry.id), headers=headers)


async def get(request: web.Request) -> web.Response:
    """GET /notebooks/{id}?format=&nbformat=: the notebook's file to download, or a script with its cells."""
    app, form = services(request), _format(request)
    version = asked_version(request)
    entry = (await app.old_notebooks.find(_asked(request))).entry
    body = await app.store.body(entry.digest)
    name = entry.name.removesuffix(EXTENSION)
    if form == "py":
        data = await off_loop(len(body), lambda: versions.to_py(body))
        return _download(entry, f"{name}.py", "application/x-python", data)
    data = await off_loop(len(body), lambda: versions.file_json(body, version=version))
    return _download(entry, entry.name, "application/json", data)


async def put(request: web.Request) -> web.Response:
    """PUT /notebooks/{id}?format=&name=: save the body, which is the notebook itself, and rename it."""
    app, form, entry = services(request), _format_sent(request), _asked(request)
    raw = await read_body(request, app.config.max_body_size)
    if not raw.strip():
        raise Invalid("No notebook JSON data provided")
    content = await off_loop(len(raw), lambda: _read(raw, form))
    wish, _ = await content_to_save(app, content, len(raw), Preconditions.of(request))
    name = given_name(request.query.get("name"))
    await app.old_notebooks.save_by_id(entry, name, wish, author(request))
    return no_content(offset_header(app))


async def delete(request: web.Request) -> web.Response:
    """DELETE /notebooks/{id}: out of the tree; undelete brings it back, with this id."""
    app = services(request)
    await app.old_notebooks.delete_by_id(_asked(request), author(request))
    return no_content(offset_header(app))


# -- pages -------------------------------------------------------------------------------


async def page(request: web.Request) -> web.Response:
    """GET /{id}: to the notebook's page, wherever it is by now."""
    app = services(request)
    found = await app.old_notebooks.find(_asked(request))
    return redirect(page_of(app, found.entry))


async def new(request: web.Request) -> web.Response:
    """GET /new: a new notebook for the default kernel, and to its page."""
    app = services(request)
    return redirect(page_of(app, await _new(app, request)))


async def copy(request: web.Request) -> web.Response:
    """GET /{id}/copy: a copy beside the notebook, and to its page."""
    app = services(request)
    made = await app.old_notebooks.copy_by_id(_asked(request), author(request))
    return redirect(page_of(app, made))


async def print_page(request: web.Request) -> web.Response:
    """GET /{id}/print: the notebook as HTML, in a sandbox like every file."""
    app = services(request)
    entry = (await app.old_notebooks.find(_asked(request))).entry
    body = await app.store.body(entry.digest)
    job = Job(format="html", body=body, name=entry.name, modified=entry.modified)
    converted = await cancel_on_disconnect(request, app.converter.convert(job))
    return render(request, converted, download=False)


def page_of(app: Services, entry: Entry) -> str:
    """The address of a notebook's page in the front end that this server opens."""
    folder = "notebooks" if app.config.app == NOTEBOOK.name else "lab/tree"
    return app.config.url(f"{folder}/{quote(entry.path, safe='/~')}")


# -- parts -------------------------------------------------------------------------------


def _asked(request: web.Request) -> EntryId:
    return entry_id(request.match_info["id"])


def _format(request: web.Request) -> str:
    form = request.query.get("format") or "json"
    if form not in FORMATS:
        raise Invalid(f"format={form!r:.40}: notebooks are given as json or py.")
    return form


def _format_sent(request: web.Request) -> str:
    """The format of the body. As anything can be read as a script, it must not be said to be something else."""
    form = _format(request)
    if form == "py" and request.content_type == "application/json":
        raise Invalid(
            "format=py says that the body is a Python script, and its Content-Type that it is JSON."
        )
    return form


def _read(raw: bytearray, form: str) -> Any:
    """What a request's body holds, most likely a notebook. Raises Invalid."""
    if form == "py":
        return versions.from_py(bytes(raw))
    try:
        return notebooks.parse(raw)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"The request's body is not JSON: {error!s:.200}.") from None


def _own_name(content: Any) -> str | None:
    """The name that a notebook of version 2 or 3 gives itself; later ones have none but their file's."""
    try:
        name: object = content["metadata"]["name"]
    except (LookupError, TypeError):
        return None
    return name if isinstance(name, str) and name else None


async def _new(app: Services, request: web.Request) -> Entry:
    specs = await app.kernelspecs.all()
    name = app.kernelspecs.default_among(specs)
    body = versions.empty_for(name, specs[name].spec) if name in specs else notebooks.empty()
    wish = SaveRequest(body=bodies.prepare(body, app.store.known, notebook=True))
    return await app.old_notebooks.create(ContentPath(""), None, wish, author(request))


def _download(entry: Entry, name: str, mimetype: str, data: bytes) -> web.Response:
    headers = {
        "Content-Type": mimetype,
        "Content-Disposition": attachment(name, plain=True),
        "Last-Modified": contents_reply.headers_of(entry)["Last-Modified"],
        "Cache-Control": "no-cache",
    }
    return web.Response(body=data, headers=headers)
