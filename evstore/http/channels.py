"""The websocket of a kernel: its four channels, in both framings, for one client.

Everything that is no websocket is in `evstore/kernels/pump.py`. Close codes: 1000 when the kernel
is gone for good, 1012 when the server stops, 4001 when the same session has connected again,
1003 and 1007 for frames that no kernel client sends, 1013 for a client that sends too much.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid

from aiohttp import WSMsgType, web

from evstore.errors import Invalid
from evstore.http.link import SocketLink
from evstore.http.services import SERVICES, services
from evstore.http.sockets import MAX_MESSAGE
from evstore.kernels import wire
from evstore.kernels.client import Client

logger = logging.getLogger(__name__)


async def channels(request: web.Request) -> web.StreamResponse:
    """GET /api/kernels/{id}/channels: until the client leaves, the kernel ends or the server stops."""
    kernel = services(request).kernels.get(request.match_info["kernel_id"])
    # Frames wait for room whatever their size (writer_limit), and pongs are seen by us, not by aiohttp
    socket = web.WebSocketResponse(
        protocols=(wire.V1,), compress=False, max_msg_size=MAX_MESSAGE, autoping=False, writer_limit=0
    )
    if not socket.can_prepare(request):
        raise Invalid("This address is for websockets.")
    await socket.prepare(request)
    link = SocketLink(request, socket)
    client = kernel.connect(request.query.get("session_id") or uuid.uuid4().hex, link)
    receiving = asyncio.create_task(_receive(socket, link, client))
    pinging = asyncio.create_task(link.keep_alive())
    try:
        await asyncio.wait((receiving, link.closing), return_when=asyncio.FIRST_COMPLETED)
    finally:
        kernel.disconnect(client, link)
        pinging.cancel()
        receiving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await receiving
        await link.say_goodbye()
    return socket


async def close_kernels(app: web.Application) -> None:
    """The server stops: stop the kernels, and tell their pages to come back later."""
    await app[SERVICES].kernels.close()


async def _receive(socket: web.WebSocketResponse, link: SocketLink, client: Client) -> None:
    """Pass on what the client sends, until it leaves."""
    while not link.closing.done():
        frame = await socket.receive()
        link.heard()
        match frame.type:
            case WSMsgType.TEXT | WSMsgType.BINARY:
                _pass_on(frame.data, link, client)
            case WSMsgType.PING:
                with contextlib.suppress(ConnectionError):
                    await socket.pong(frame.data)
            case WSMsgType.PONG:
                link.confirmed(bytes(frame.data))
            case WSMsgType.CLOSE:
                link.has_left = True
                return
            case _:  # the connection is gone, or what came was no websocket frame
                return


def _pass_on(data: str | bytes, link: SocketLink, client: Client) -> None:
    try:
        message = link.decode(data)
        wire.check(message)
    except wire.BadFrame as error:
        logger.warning("Bad frame on a kernel's websocket: %s", ascii(error.message)[1:300])
        if error.code is not None:
            link.close(error.code, error.message)
    else:
        client.receive(message)
