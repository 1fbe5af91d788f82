"""/api/events: emit an event, and listen to all of them on a websocket. (See `evstore/services/event_publisher.py`.)"""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import web

from evstore.core.errors import TooLarge
from evstore.http.reply import json_object, no_content
from evstore.http.services import services
from evstore.http.sockets import open_socket
from evstore.processes.ws_close_codes import TRY_AGAIN_LATER
from evstore.services.event_publisher import Listener

MAX_EVENT = 256 * 1024  # bytes; events are small, and each is copied and checked on the event loop
MAX_MESSAGE = 64 * 1024  # bytes of what a client sends on the websocket, which nobody reads


async def post(request: web.Request) -> web.Response:
    """POST /api/events {schema_id, version, data, timestamp?}"""
    if (request.content_length or 0) > MAX_EVENT:
        raise TooLarge(f"An event may have {MAX_EVENT} bytes.")
    data = await json_object(request, required=True, limit=MAX_EVENT)
    await services(request).announcer.post(data)
    return no_content()


async def subscribe(request: web.Request) -> web.WebSocketResponse:
    """GET /api/events/subscribe, a websocket: each event as JSON, `schema_id` beside the event's own fields.

    It stays open until the client leaves or the server stops (1012: come back). 1013: the client takes
    so little that events were lost; it should come back and look around.
    """
    async with services(request).announcer.listening() as listener:
        socket = await open_socket(request, max_message=MAX_MESSAGE)
        sending = asyncio.create_task(_send(socket, listener))
        try:
            async for _ in socket:
                continue
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await sending
    return socket


async def _send(socket: web.WebSocketResponse, listener: Listener) -> None:
    while (message := await listener.next()) is not None:
        await socket.send_str(message.decode())
    await socket.close(code=TRY_AGAIN_LATER, message=b"Events were lost")
