"""Sessions: list, open, look at, change, end."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import quote

from aiohttp import web

from evstore.errors import Invalid
from evstore.http.kernels import kernel_model, text_field
from evstore.http.reply import json_object, json_reply, no_content
from evstore.http.services import services
from evstore.sessions import Change, Session


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
    change = _change(data)
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
    )
    location = services(request).config.url(f"api/sessions/{quote(session.id)}")
    return json_reply(session_model(session), status=201, headers={"Location": location})


async def get(request: web.Request) -> web.Response:
    """GET /api/sessions/{id}."""
    return json_reply(session_model(services(request).sessions.get(request.match_info["session_id"])))


async def patch(request: web.Request) -> web.Response:
    """PATCH /api/sessions/{id}: any of path, name, type and kernel."""
    change = _change(await json_object(request, required=True))
    session = await services(request).sessions.change(request.match_info["session_id"], change)
    return json_reply(session_model(session))


async def delete(request: web.Request) -> web.Response:
    """DELETE /api/sessions/{id}: its kernel is shut down."""
    await services(request).sessions.delete(request.match_info["session_id"])
    return no_content()


def _change(data: dict[str, Any]) -> Change:
    """What the body of POST and PATCH says, also in the form that it had until IPython 3."""
    old = _object_field(data, "notebook")
    if old:
        data = data | {"type": "notebook"}
        path = text_field(old, "path") if "path" in old else text_field(old, "name")
        data = data | ({"path": path} if path is not None else {})
    kernel = _object_field(data, "kernel")
    return Change(
        path=text_field(data, "path"),
        name=text_field(data, "name"),
        type=text_field(data, "type"),
        kernel_id=text_field(kernel, "id"),
        kernel_name=text_field(kernel, "name"),
    )


def _object_field(data: dict[str, Any], name: str) -> dict[str, Any]:
    value = data.get(name)
    if value is not None and not isinstance(value, dict):
        raise Invalid(f"The field {name!r} must be an object, not {value!r}.")
    return cast("dict[str, Any]", value or {})
