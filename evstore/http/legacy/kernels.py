"""/kernels as the single-directory server had it (jupyter-surface.md B45 to B48)."""

from __future__ import annotations

from aiohttp import web

from evstore.core.errors import NotFound
from evstore.core.notebooks import versions
from evstore.http.legacy.site import entry_id
from evstore.http.proxy import host_of, scheme_of
from evstore.http.reply import json_reply, no_content
from evstore.http.save_request import off_loop
from evstore.http.services import services
from evstore.processes.kernels.kernel import Kernel


async def list_all(request: web.Request) -> web.Response:
    """GET /kernels: the ids of the running kernels."""
    return json_reply([kernel.id for kernel in services(request).kernels.all()])


async def start(request: web.Request) -> web.Response:
    """POST /kernels?notebook=: the kernel of a notebook, the running one or a new one; without it, one for nobody."""
    app = services(request)
    notebook = request.query.get("notebook")
    if not notebook:
        return _started(request, await app.kernels.start())
    entry = (await app.old_notebooks.find(entry_id(notebook))).entry
    body = await app.store.body(entry.digest)
    wanted = await off_loop(len(body), lambda: versions.kernel_name(body))
    session = await app.sessions.open(entry.path, name=entry.name, type="notebook", kernel_name=wanted)
    return _started(request, session.kernel)


async def delete(request: web.Request) -> web.Response:
    """DELETE /kernels/{id}: returns when the process has ended."""
    await _kernel(request).stop()
    return no_content()


async def act(request: web.Request) -> web.Response:
    """POST /kernels/{id}/{action}: restart, interrupt, or kill, as the chart of its URLs called the end."""
    kernel, action = _kernel(request), request.match_info["action"]
    match action:
        case "restart":
            await kernel.restart()
            return _started(request, kernel)
        case "interrupt":
            await kernel.interrupt()
        case "kill":
            await kernel.stop()
        case _:
            raise NotFound(f"Kernels know no {action!r:.40}: they can restart, interrupt and kill.")
    return no_content()


def _kernel(request: web.Request) -> Kernel:
    return services(request).kernels.get(request.match_info["kernel_id"])


def _started(request: web.Request, kernel: Kernel) -> web.Response:
    """Where its websockets are: clients put their own address of /kernels after `ws_url`."""
    config = services(request).config
    scheme = "wss" if scheme_of(request, config.trust_proxy) == "https" else "ws"
    host = host_of(request, config.trust_proxy) or f"{config.host}:{config.port}"
    data = {"ws_url": f"{scheme}://{host}", "kernel_id": kernel.id}
    return json_reply(data, headers={"Location": config.url(kernel.id)})
