"""The websocket of a kernel: its four channels, in both framings, for one client.

Everything that is no websocket is in `evstore/processes/kernels/pump.py`. Close codes: 1000 when the kernel
is gone for good, 1012 when the server stops, 4001 when the same session has connected again,
1003 and 1007 for frames that no kernel client sends, 1013 for a client that sends too much.
"""

from __future__ import annotations

import uuid

from aiohttp import web

from evstore.http.kernel_websocket import SocketLink, attend, kernel_socket
from evstore.http.services import SERVICES, services
from evstore.http.sockets import accept
from evstore.processes.kernels import wire


async def channels(request: web.Request) -> web.StreamResponse:
    """GET /api/kernels/{id}/channels: until the client leaves, the kernel ends or the server stops."""
    kernel = services(request).kernels.get(request.match_info["kernel_id"])
    socket = kernel_socket(wire.V1)
    await accept(request, socket)
    link = SocketLink(request, socket)
    client = kernel.connect(request.query.get("session_id") or uuid.uuid4().hex, link)

    def take(data: str | bytes) -> None:
        message = link.decode(data)
        wire.check(message)
        client.receive(message)

    await attend(socket, link, take, lambda: kernel.disconnect(client, link, for_good=link.has_left))
    return socket


async def close(app: web.Application) -> None:
    """The server stops: stop the kernels, and tell their pages to come back later."""
    await app[SERVICES].kernels.close()
