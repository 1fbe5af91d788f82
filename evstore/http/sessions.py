"""Sessions: list, open, look at, change, end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast
from urllib.parse import quote

from aiohttp import web

from evstore.core.errors import Invalid
from evstore.http.kernels import kernel_model, string_field, text_field
from evstore.http.reply import json_object, json_reply, no_content
from evstore.http.services import services
from evstore.processes.kernels.environment import requested
from evstore.services.sessions import Change, Session


def session_model(session: Session) -> dict[str, Any]:
    """Jupyter's session model; `notebook` is what old clients look at."""
    model = {
        "id": session.id,
        "path": session.path,
        "name": session.name,
        "type": session.type,
        "kernel": kernel_model(session.kernel),
    }
    if session.type == "notebook":
        model["notebook"] = {"path": session.path, "name": session.name}
    return model


async def list_all(request: web.Request) -> web.Response:
    """GET /api/sessions."""
    return json_reply([session_model(session) for session in services(request).sessions.all()])


async def open_session(request: web.Request) -> web.Response:
    """POST /api/sessions: the session of a path. 201 also when it runs already: then it is that one."""
    data = await json_object(request, required=True)
    change = _change(data, "")
    if change.path is None:
        raise Invalid("Missing field in JSON data: path")
    if change.type is None:
        raise Invalid("Missing field in JSON data: type")
    session = await services(request).sessions.open(
        change.path,
        name=change.name or "",
        type=change.type,
        kernel_id=change.kernel_id,
        kernel_name=change.kernel_name,
        variables=requested(data.get("env"), services(request).config.kernel_env),
    )
    location = services(request).config.url(f"api/sessions/{quote(session.id)}")
    return json_reply(session_model(session), status=201, headers={"Location": location})


async def get(request: web.Request) -> web.Response:
    """GET /api/sessions/{id}."""
    return json_reply(session_model(services(request).sessions.get(request.match_info["session_id"])))


async def patch(request: web.Request) -> web.Response:
    """PATCH /api/sessions/{id}: any of path, name, type and kernel."""
    data = await json_object(request, required=True)
    sessions = services(request).sessions
    before = sessions.get(request.match_info["session_id"])
    change = _change(data, before.path)
    requested(data.get("env"))  # for POST, which starts a kernel; here it only must be what it is there
    session = await sessions.change(before.id, change)
    return json_reply(session_model(session))


async def delete(request: web.Request) -> web.Response:
    """DELETE /api/sessions/{id}: its kernel is shut down."""
    await services(request).sessions.delete(request.match_info["session_id"])
    return no_content()


def _change(data: dict[str, Any], path: str) -> Change:
    """What the body of POST and PATCH says, also in the forms of old clients. `path` is the session's so far."""
    kernel = _object_field(data, "kernel")
    change = Change(
        path=string_field(data, "path"),
        name=string_field(data, "name"),
        type=text_field(data, "type"),
        kernel_id=text_field(kernel, "id"),
        kernel_name=text_field(kernel, "name"),
    )
    if (old_path := _old_path(_object_field(data, "notebook"), path)) is None:
        return change
    name = data.get("name", old_path.rpartition("/")[2])
    return replace(change, path=old_path, name=name, type="notebook")


def _old_path(notebook: dict[str, Any], before: str) -> str | None:
    """The path that the object `notebook` means.

    In IPython 2 `name` is the notebook's and `path` its folder's; in IPython 3, and whatever came after it,
    `path` is the notebook's, and a `name` beside it repeats the end of it.
    """
    name, path = text_field(notebook, "name"), string_field(notebook, "path")
    if name is None:
        return path or None
    if path is None:
        path = before.rpartition("/")[0]
    elif path.rpartition("/")[2] == name:
        return path
    folder = path.strip("/")
    return f"{folder}/{name}" if folder else name


def _object_field(data: dict[str, Any], name: str) -> dict[str, Any]:
    value = data.get(name)
    if value is not None and not isinstance(value, dict):
        raise Invalid(f"The field {name!r} must be an object, not {repr(value)[:100]}.")
    return cast("dict[str, Any]", value or {})
