"""Kernels: list, start, look at, interrupt, restart, shut down."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from aiohttp import web

from evstore.core.errors import Invalid, NotFound
from evstore.http.reply import json_object, json_reply, no_content
from evstore.http.services import services
from evstore.processes.kernels.environment import requested
from evstore.processes.kernels.kernel import Kernel


def kernel_model(kernel: Kernel) -> dict[str, Any]:
    """Jupyter's kernel model."""
    return {
        "id": kernel.id,
        "name": kernel.name,
        "last_activity": kernel.last_activity.isoformat().replace("+00:00", "Z"),
        "execution_state": kernel.state,
        "connections": kernel.connections,
    }


def string_field(data: dict[str, Any], name: str) -> str | None:
    """The string in a JSON object's field; None when it is missing or null. Raises Invalid."""
    value = data.get(name)
    if value is not None and not isinstance(value, str):
        raise Invalid(f"The field {name!r} must be a string, not {repr(value)[:100]}.")
    return value


def text_field(data: dict[str, Any], name: str) -> str | None:
    """As `string_field`, and None when the string is empty."""
    return string_field(data, name) or None


async def list_all(request: web.Request) -> web.Response:
    """GET /api/kernels."""
    return json_reply([kernel_model(kernel) for kernel in services(request).kernels.all()])


async def start(request: web.Request) -> web.Response:
    """POST /api/kernels: `name`, `path` (where it runs), `kernel_id` and `env` are all optional."""
    data = await json_object(request)
    kernel = await services(request).kernels.start(
        text_field(data, "name"),
        path=string_field(data, "path"),
        kernel_id=text_field(data, "kernel_id"),
        variables=requested(data.get("env"), services(request).config.kernel_env),
    )
    location = services(request).config.url(f"api/kernels/{quote(kernel.id)}")
    return json_reply(kernel_model(kernel), status=201, headers={"Location": location})


async def get(request: web.Request) -> web.Response:
    """GET /api/kernels/{id}."""
    return json_reply(kernel_model(_kernel(request)))


async def delete(request: web.Request) -> web.Response:
    """DELETE /api/kernels/{id}: returns when the process has ended."""
    kernel = _kernel(request)
    if not await kernel.stop():  # somebody else was faster
        raise NotFound(f"Kernel does not exist: {kernel.id}")
    return no_content()


async def interrupt(request: web.Request) -> web.Response:
    """POST /api/kernels/{id}/interrupt."""
    await _kernel(request).interrupt()
    return no_content()


async def restart(request: web.Request) -> web.Response:
    """POST /api/kernels/{id}/restart: returns when the new process runs; its clients wait until it answers."""
    kernel = _kernel(request)
    await kernel.restart()
    return json_reply(kernel_model(kernel))


def _kernel(request: web.Request) -> Kernel:
    return services(request).kernels.get(request.match_info["kernel_id"])
