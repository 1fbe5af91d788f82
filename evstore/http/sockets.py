"""Opening websockets: the limits, the pings, and the goodbye, the same for all of them."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

from aiohttp import WSCloseCode, web

PING = 30.0  # seconds between pings
MAX_MESSAGE = 64 * 1024 * 1024  # bytes; widgets upload files in one message
RESTART = WSCloseCode.SERVICE_RESTART  # 1012: JupyterLab reconnects; after 1000 and 1001 it never does

SOCKETS: web.AppKey[weakref.WeakSet[web.WebSocketResponse]] = web.AppKey("sockets")


async def open_socket(
    request: web.Request, *, protocols: Sequence[str] = (), max_message: int = MAX_MESSAGE
) -> web.WebSocketResponse:
    """Answer an upgrade request. The socket is pinged, and closed when the server stops.

    `protocols`: the subprotocols that we speak, best first; one is chosen only if it was offered.
    """
    socket = web.WebSocketResponse(
        heartbeat=PING, compress=False, max_msg_size=max_message, protocols=protocols
    )
    await socket.prepare(request)
    request.app[SOCKETS].add(socket)
    return socket


async def close_sockets(app: web.Application) -> None:
    """Say goodbye to all, before the server stops."""
    for socket in set(app[SOCKETS]):
        await socket.close(code=RESTART, message=b"The server is stopping")
