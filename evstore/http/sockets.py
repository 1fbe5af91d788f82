"""Opening websockets: the limits, the pings, and the goodbye, the same for all of them."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sequence

from aiohttp import web

from evstore.core.errors import Invalid
from evstore.core.units import MIB
from evstore.processes.ws_close_codes import RESTART

PING = 30.0  # seconds between pings
GOODBYE = 2.0  # seconds that a client has to take what is still being sent, when the server stops
MAX_MESSAGE = 64 * MIB  # bytes; widgets upload files in one message

Sockets = weakref.WeakKeyDictionary[web.WebSocketResponse, asyncio.Transport]
SOCKETS: web.AppKey[Sockets] = web.AppKey("sockets")


async def open_socket(
    request: web.Request, *, protocols: Sequence[str] = (), max_message: int = MAX_MESSAGE
) -> web.WebSocketResponse:
    """Answer an upgrade request. The socket is pinged, and closed when the server stops.

    `protocols`: the subprotocols that we speak, best first; one is chosen only if it was offered.
    Raises Invalid for any other request.
    """
    socket = web.WebSocketResponse(
        heartbeat=PING, compress=False, max_msg_size=max_message, protocols=protocols
    )
    await accept(request, socket)
    if request.transport is not None:
        request.app[SOCKETS][socket] = request.transport
    return socket


async def accept(request: web.Request, socket: web.WebSocketResponse) -> None:
    """Answer an upgrade request with this socket. Raises Invalid for any other request."""
    key = request.headers.get("Sec-WebSocket-Key", "")
    if not key.isascii() or not socket.can_prepare(request):  # aiohttp fails at other keys
        raise Invalid("This address is for websockets.")
    await socket.prepare(request)


async def close_sockets(app: web.Application) -> None:
    """Say goodbye to all, before the server stops. Who takes nothing would keep it from stopping, and is hung up on."""
    transports = dict(app[SOCKETS])
    await asyncio.gather(*(_close(socket, transport) for socket, transport in transports.items()))


async def _close(socket: web.WebSocketResponse, transport: asyncio.Transport) -> None:
    try:
        async with asyncio.timeout(GOODBYE):
            await socket.close(code=RESTART, message=b"The server is stopping")
    except TimeoutError:
        transport.abort()
